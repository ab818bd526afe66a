"""A Trainer that neither prints nor writes by itself."""

from typing import Any

from lightning.pytorch import Trainer


def quiet_trainer(**kwargs: Any) -> Trainer:
    """Returns a Trainer with these options over quiet defaults."""
    defaults: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 0,
    }
    return Trainer(**defaults | kwargs)
