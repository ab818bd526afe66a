"""Reads checkpoints without trusting them, and saves them atomically."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import TorchCheckpointIO
from typing_extensions import override

from mnist_lightning.errors import CheckpointError
from mnist_lightning.files import replace_file, write_atomically

Checkpoint = dict[str, Any]


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a Lightning checkpoint; no code in it is executed, whoever made it.

    Raises:
        CheckpointError: If the file cannot be read, is damaged, is not a Lightning checkpoint, or
            contains anything but tensors and plain values.
    """
    if not path.exists():
        raise CheckpointError(f"the checkpoint {path} does not exist; choose another --ckpt_path")
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not verify the checksums
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"the checkpoint {path} is damaged; choose another --ckpt_path")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path} ({error.strerror})") from error
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path} is not a checkpoint, or it is truncated") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"the checkpoint {path} was not loaded, because it contains more than tensors and "
            "plain values"
        ) from error
    except (RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError) as error:
        # Raised by torch and by unpickling for files that torch.save did not write.
        raise CheckpointError(f"{path} is not a Lightning checkpoint") from error
    if not (
        isinstance(checkpoint, dict)
        and isinstance(checkpoint.get("state_dict"), dict)
        and isinstance(checkpoint.get("epoch"), int)
    ):
        raise CheckpointError(f"{path} is not a Lightning checkpoint")
    return checkpoint


class RunCheckpointIO(TorchCheckpointIO):
    """Saves checkpoints atomically, and those of the run only once they are committed.

    Lightning 2.6 writes into the system's temporary folder, from where moving is a copy if that is
    on another file system, and ignores an unwritable folder. It also saves the checkpoint of an
    epoch before it logs the epoch's metrics: a run that is killed in between would resume without
    them. So the checkpoints of the run are first written as ``*.ckpt.next``.
    """

    def __init__(self) -> None:
        self.deferred: set[Path] = set()
        """Paths of the run's own checkpoints, which are committed later than they are written."""
        self.uncommitted: dict[Path, None] = {}
        """Those that are written and not yet committed, in the order of writing."""

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Saves a checkpoint; remote locations are left to Lightning.

        Raises:
            CheckpointError: If the file cannot be written; a previous checkpoint stays intact.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        is_deferred = path in self.deferred
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(_next(path) if is_deferred else path, content.getbuffer())
        except OSError as error:
            raise CheckpointError(
                f"cannot write the checkpoint {path} ({error.strerror}); the previous one is intact"
            ) from error
        if is_deferred:
            self.uncommitted[path] = None

    def commit(self) -> None:
        """Replaces each checkpoint of the run by the newly written one."""
        for path in self.uncommitted:
            replace_file(_next(path), path)
        self.uncommitted.clear()


def _next(path: Path) -> Path:
    return path.with_name(path.name + ".next")
