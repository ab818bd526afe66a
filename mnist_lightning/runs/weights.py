"""Finds the weights that ``--ckpt_path`` names, and loads them into a model."""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule
from safetensors import safe_open

from mnist_lightning.errors import CheckpointError
from mnist_lightning.runs.checkpoints import Checkpoint, read_checkpoint
from mnist_lightning.runs.folder import LOGS, find_runs

log = logging.getLogger(__name__)

PRETRAINED = Path(__file__).parents[1] / "pretrained" / "digits.safetensors"
PRETRAINED_SHA256 = "64d124f985c24b014b93d5f6e9b2dbba07362d6605f73abe450a5d9e9b0ab88b"
# Options that belong to the weights: the network they fit, how they are trained further, and the
# images that are held out.
OPTIONS = {
    "model": (
        "learning_rate",
        "schedule",
        "weight_decay",
        "label_smoothing",
        "sam_radius",
        "dropout",
        "num_classes",
        "batch_norm",
    ),
    "data": ("dataset", "emnist_split", "source", "val_fraction", "split_seed", "batch_size"),
}
HPARAMS = {"model": "hyper_parameters", "data": "datamodule_hyper_parameters"}


@dataclass(frozen=True)
class Weights:
    """Trained weights, and what is known about their training.

    Attributes:
        name: As on the command line: ``best``, ``last``, ``pretrained`` or a path.
        path: The file.
        checkpoint: Its content.
    """

    name: str
    path: Path
    checkpoint: Checkpoint

    @property
    def is_pretrained(self) -> bool:
        """Whether they are shipped with the package."""
        return self.name == "pretrained"

    @property
    def run_folder(self) -> Path:
        """The run that a checkpoint was saved by."""
        return self.path.parent.parent

    @property
    def epochs(self) -> int:
        """Number of epochs the weights were trained for."""
        return int(self.checkpoint["epoch"]) + 1 if self.is_trained else 0

    @property
    def steps(self) -> int | None:
        """Number of optimizer steps; None for weights without training state."""
        return self.checkpoint.get("global_step")

    @property
    def is_trained(self) -> bool:
        """Whether this is not the checkpoint that a run saves before its first step."""
        return self.steps != 0

    @property
    def is_within_epoch(self) -> bool:
        """Whether the checkpoint was saved before its last epoch was complete."""
        try:
            progress = self.checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
            return progress["is_last_batch"] is False
        except (LookupError, TypeError):
            return False

    def options(self) -> dict[str, dict[str, Any]]:
        """Returns the options of ``model`` and ``data`` that belong to the weights.

        Only plain values are read from a checkpoint, so that no class it names is imported. A
        network of the user's own comes from the config of the run, for ``best`` and ``last``.
        """
        options: dict[str, dict[str, Any]] = {}
        for group, names in OPTIONS.items():
            hparams = self._mapping(HPARAMS[group])
            options[group] = {
                name: hparams[name]
                for name in names
                if isinstance(hparams.get(name), int | float | str)
            }
        model = self.run_config().get("model")
        if isinstance(model, dict) and model.get("network"):
            options["model"]["network"] = model["network"]
        return options

    @property
    def validation_metrics(self) -> dict[str, float]:
        """The validation metrics of exactly these weights; empty if they were not validated."""
        return self._mapping("validation_metrics")

    @property
    def plateau_metrics(self) -> dict[str, float]:
        """All metrics, if the checkpoint was saved at the end of an epoch."""
        try:
            progress = self.checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
            is_epoch_end = progress["processed"] == progress["ready"] > 0
        except (LookupError, TypeError):
            return {}
        return self._mapping("metrics") if is_epoch_end else {}

    def optimizer_options(self) -> dict[str, Any]:
        """Returns the options ``optimizer`` and ``lr_scheduler`` of the training."""
        return self._mapping("optimizer_options")

    def _mapping(self, name: str) -> dict[str, Any]:
        """Returns a mapping of the checkpoint, empty if it has none of this name."""
        value = self.checkpoint.get(name)
        return value if isinstance(value, dict) else {}

    def run_config(self) -> dict[str, Any]:
        """Returns the config of the run, for ``best`` and ``last`` only, which are the user's own.

        Without it, the user has to pass classes again, such as a network.
        """
        try:
            text = (self.run_folder / "config.yaml").read_text(encoding="utf-8")
            config = yaml.safe_load(text) if self.name in ("best", "last") else {}
        except (OSError, ValueError, yaml.YAMLError):
            return {}
        return config if isinstance(config, dict) else {}

    def load_into(self, model: LightningModule) -> None:
        """Loads the weights into a model.

        Raises:
            CheckpointError: If they do not match the model's network.
        """
        try:
            model.load_state_dict(self.checkpoint["state_dict"])
        except RuntimeError as error:
            raise CheckpointError(
                f"the checkpoint {self.path} does not match this network; pass the options it was "
                "trained with, for example --config RUN/config.yaml"
            ) from error


def find_weights(name: str, root: Path, allow_untrained: bool = False) -> Weights:
    """Finds and reads the weights that ``--ckpt_path`` names.

    Args:
        name: ``best`` or ``last``, of the newest run that holds an intact checkpoint,
            ``pretrained`` for the weights shipped with the package, or the path of a checkpoint.
        root: The folder with ``lightning_logs``.
        allow_untrained: Whether ``best`` and ``last`` may be the checkpoint that a run saves
            before its first step.

    Raises:
        CheckpointError: If there is none, or the named file is not an intact checkpoint.
    """
    if name == "pretrained":
        return Weights(name, PRETRAINED, read_pretrained())
    if name not in ("best", "last"):
        return Weights(name, Path(name), read_checkpoint(Path(name)))
    for path in _candidates(name, root):
        try:
            weights = Weights(name, path, read_checkpoint(path))
        except CheckpointError as error:
            log.warning("WARNING: %s; looking for another checkpoint", error)
            continue
        if weights.is_trained or allow_untrained:
            return weights
    raise CheckpointError(
        f"--ckpt_path is {name!r}, but no run in {root / LOGS} has a checkpoint; "
        "train with the subcommand fit first, or pass the path of a checkpoint"
    )


def _candidates(name: str, root: Path) -> Iterator[Path]:
    names = ("best", "last") if name == "best" else ("last", "best")
    for run in reversed(find_runs(root)):
        paths = (run / "checkpoints" / f"{candidate}.ckpt" for candidate in names)
        yield from filter(Path.exists, paths)


def read_pretrained() -> Checkpoint:
    """Reads the weights shipped with the package; their model card describes them.

    Returns:
        A checkpoint of ``MNISTClassifier`` without training state.

    Raises:
        CheckpointError: If the file is missing or has the wrong checksum.
    """
    try:
        content = PRETRAINED.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"cannot read {PRETRAINED} ({error.strerror}); reinstall mnist_lightning"
        ) from error
    if hashlib.sha256(content).hexdigest() != PRETRAINED_SHA256:
        raise CheckpointError(f"{PRETRAINED} is damaged; reinstall mnist_lightning")
    with safe_open(PRETRAINED, "pt") as file:
        weights = {f"network.{name}": file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        training: Checkpoint = json.loads(file.metadata()["training"])
        training["hyper_parameters"]["num_classes"] = 10
    return training | {"state_dict": weights}
