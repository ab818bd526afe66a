"""A Trainer that by default neither prints nor writes files."""

from typing import Any

from lightning.pytorch import Trainer


def quiet_trainer(**kwargs: Any) -> Trainer:
    """Returns a Trainer with quiet defaults, which the arguments override."""
    defaults: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 0,
    }
    return Trainer(**defaults | kwargs)
