"""Which checkpoint is meant, reading it without trusting it, and writing it in one piece."""

import hashlib
import io
import json
import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import TorchCheckpointIO
from safetensors import safe_open
from typing_extensions import override

from mnist_lightning.errors import CheckpointError
from mnist_lightning.files import write_atomically
from mnist_lightning.runs import folder as runs

log = logging.getLogger(__name__)

Checkpoint = dict[str, Any]

NEXT = ".next"  # behind the name of a checkpoint that has not yet taken the place of the last one
PRETRAINED = Path(__file__).parents[1] / "pretrained" / "digits.safetensors"
PRETRAINED_SHA256 = "c002e719d2be6428129d7063a4ab6e7ac193a32b69b42f1ea7cd553ff2b52cd2"


def find(name: str, root: Path, untrained: bool = False) -> tuple[Path, Checkpoint]:
    """Finds the checkpoint that ``--ckpt_path`` names and reads it.

    Args:
        name: ``best`` or ``last``, of the newest run that holds a whole checkpoint, ``pretrained``
            for the weights in this package, or a path.
        root: The folder with ``lightning_logs``.
        untrained: Whether ``best`` and ``last`` may be the checkpoint with which a run begins.

    Returns:
        Its path and content.

    Raises:
        CheckpointError: If there is none, or it is not a whole checkpoint of Lightning.
    """
    if name == "pretrained":
        return PRETRAINED, pretrained()
    if name not in ("best", "last"):
        return Path(name), read(Path(name))
    other = "last" if name == "best" else "best"
    for run in reversed(runs.existing(root)):
        for path in (run / "checkpoints" / f"{name}.ckpt", run / "checkpoints" / f"{other}.ckpt"):
            if path.exists():
                try:
                    checkpoint = read(path)
                except CheckpointError as error:
                    log.warning("WARNING: %s; looking for another one", error)
                    continue
                if untrained or checkpoint.get("global_step") != 0:
                    return path, checkpoint
    raise CheckpointError(
        f"--ckpt_path is {name!r}, but no run below {root / runs.FOLDER} holds a checkpoint; run "
        "'python -m mnist_lightning fit' first, or name a file"
    )


def read(path: Path) -> Checkpoint:
    """Reads a checkpoint of Lightning; nothing in it is run, whoever made it.

    Raises:
        CheckpointError: If the file cannot be read, is damaged, is no checkpoint, or holds more
            than tensors and plain values.
    """
    if not path.exists():
        raise CheckpointError(f"the checkpoint {path} does not exist; name another --ckpt_path")
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load itself does not look at check sums
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"the checkpoint {path} is damaged")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read ({error.strerror})") from error
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path} is no checkpoint, or not a whole one") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"the checkpoint {path} is refused: it holds more than tensors and plain values"
        ) from error
    except (RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError) as error:
        # What unpickling and torch raise on a file that was not made by saving.
        raise CheckpointError(f"{path} is no checkpoint of Lightning") from error
    if not (
        isinstance(checkpoint, dict)
        and isinstance(checkpoint.get("state_dict"), dict)
        and isinstance(checkpoint.get("epoch"), int)
    ):
        raise CheckpointError(f"{path} is no checkpoint of Lightning")
    return checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target, flushes it to disk and renames it into place.

    Lightning writes into the system's folder for temporary files, from where moving is a copy if
    that is another disk, and keeps quiet about a folder that cannot be written (as of 2.6).
    """

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Writes a file; places that are no files are left to Lightning.

        Raises:
            CheckpointError: If it cannot be written; what was there before is then still whole.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(Path(path), content.getbuffer())
        except OSError as error:
            raise CheckpointError(
                f"the checkpoint {str(path).removesuffix(NEXT)} cannot be written "
                f"({error.strerror}); the one that was there before is whole"
            ) from error


def pretrained() -> Checkpoint:
    """Reads the weights in this package, which their model card describes.

    Returns:
        What a checkpoint of ``MNISTClassifier`` holds, without the state of a training.

    Raises:
        CheckpointError: If the file is missing or not as it was shipped.
    """
    try:
        content = PRETRAINED.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{PRETRAINED} cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != PRETRAINED_SHA256:
        raise CheckpointError(f"{PRETRAINED} is damaged; install the package again")
    with safe_open(PRETRAINED, "pt") as file:
        weights = {f"network.{name}": file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        training: Checkpoint = json.loads(file.metadata()["training"])
    return training | {"state_dict": weights}


def settings(checkpoint: Checkpoint) -> dict[str, dict[str, Any]]:
    """Returns the options that belong to the weights, as a config: they are the defaults beside it.

    Only plain values are taken, so nothing that a checkpoint names is imported.
    """
    wanted = {
        "model": (
            "hyper_parameters",
            ("learning_rate", "dropout", "num_classes", "batch_norm"),
        ),
        "data": (
            "datamodule_hyper_parameters",
            ("dataset", "source", "val_fraction", "split_seed"),
        ),
    }
    config: dict[str, dict[str, Any]] = {}
    for group, (key, names) in wanted.items():
        saved = checkpoint.get(key)
        if not isinstance(saved, dict):
            saved = {}
        config[group] = {
            name: saved[name] for name in names if isinstance(saved.get(name), int | float | str)
        }
    return config
