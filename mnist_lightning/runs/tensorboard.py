"""A TensorBoard logger with the epoch as its x axis."""

import io
import logging
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from typing_extensions import override

from mnist_lightning.runs.loggers import epoch_as_step

log = logging.getLogger(__name__)

EVENTS = "events.out.tfevents."


class EpochTensorBoardLogger(TensorBoardLogger):
    """A TensorBoardLogger whose x axis is the number of completed epochs.

    Lightning logs against the optimizer step and adds a curve named ``epoch``. With one point per
    epoch, the epoch is the better axis and that curve is noise. The HPARAMS tab shows the
    hyperparameters that differ between runs first, and the GRAPHS tab shows the network.

    Args:
        save_dir: Folder that contains the folder ``name``; default: the working directory.
        name: Name of the folder that contains the run folders.
        version: Name or number of the run folder; default: the next number.
        log_graph: Whether to log the graph of the model.
        default_hp_metric: Whether to log a placeholder metric, ``hp_metric``.
        uses_epochs: Whether the x axis is the number of epochs, instead of the optimizer step.
        **kwargs: Further arguments of ``TensorBoardLogger``.
    """

    def __init__(
        self,
        save_dir: str | Path = "",
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        log_graph: bool = True,
        default_hp_metric: bool = False,
        uses_epochs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(save_dir, name, version, log_graph, default_hp_metric, **kwargs)
        self.run_hparams: dict[str, Any] = {}
        """Hyperparameters to show instead of those that Lightning logs."""
        self._uses_epochs = uses_epochs
        self._has_hparams = False

    @override
    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs metrics at the epoch that Lightning adds to them, or else at ``step``."""
        self._write_hparams()
        metrics, epoch = epoch_as_step(metrics, step)
        super().log_metrics(metrics, epoch if self._uses_epochs else step)

    @override
    @rank_zero_only
    def finalize(self, status: str) -> None:
        self._write_hparams()
        super().finalize(status)

    def _write_hparams(self) -> None:
        """Writes the hyperparameters for the HPARAMS tab, once and late: a tuner may change them.

        The experiment summary, which lists the columns, is not written, because TensorBoard would
        read it from one run only. Without it, TensorBoard collects the columns from all runs and
        shows those that differ first, then the others by name.
        """
        if self._has_hparams:
            return
        hparams = {
            name: value
            for name, value in (self.run_hparams or self.hparams).items()
            if isinstance(value, bool | int | float | str) and not name.startswith("_")
        }
        if not hparams:
            return
        # Imported late, because commands without logging need not wait for it.
        from torch.utils.tensorboard.summary import hparams as hparams_summaries

        _, session, _ = hparams_summaries(hparams, {})  # type: ignore[no-untyped-call]
        write_summary(self, session)
        self._has_hparams = True

    @override
    @rank_zero_only
    def log_graph(  # type: ignore[override]
        self, model: LightningModule, input_array: Tensor | None = None
    ) -> None:
        """Logs the graph of a model that has an ``example_input_array``, once."""
        example: Any = model.example_input_array if input_array is None else input_array
        if not self._log_graph or example is None:
            return
        weight = next(model.parameters(), None)
        if weight is not None and isinstance(example, Tensor):
            # With precision="bf16-true" and the like, the weights are not float32.
            dtype = weight.dtype if example.is_floating_point() else example.dtype
            example = example.to(weight.device, dtype)
        was_training = model.training
        try:
            # Traced here, because SummaryWriter would trace three times and print what fails.
            with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")  # tracing is deprecated since torch 2.15
                trace: Any = torch.jit.trace  # untyped
                self.experiment.add_graph(trace(model.eval(), example, check_trace=False), example)
        except Exception as error:  # the network may raise anything, and can still be trained
            log.warning("TensorBoard shows no graph, because tracing the network failed: %s", error)
        finally:
            model.train(was_training)
        self._log_graph = False


@rank_zero_only
def purge_after(logger: TensorBoardLogger, step: int) -> None:
    """Makes TensorBoard discard what an interrupted run logged after a step of its x axis."""
    writer = logger.experiment.file_writer
    _sort_last(Path(writer.event_writer._file_name))  # no public name (TensorBoard 2.21)
    writer.add_event(Event(session_log=SessionLog(status=SessionLog.START)), step + 1)


def _sort_last(newest: Path) -> None:
    """Renames event files that sort after the newest one, because a clock was set back.

    TensorBoard reads the event files of a run in the order of their names, which contain the time.
    Points with larger steps that it reads before smaller ones are discarded.
    """
    late = sorted(path for path in newest.parent.glob(f"{EVENTS}*") if path.name > newest.name)
    for index, path in enumerate(late):
        seconds = int(newest.name.removeprefix(EVENTS).partition(".")[0]) - len(late) + index
        rest = path.name.removeprefix(EVENTS).partition(".")[2]
        with suppress(OSError):  # another program may have the file open
            path.rename(path.with_name(f"{EVENTS}{seconds:010d}.{rest}"))


def write_summary(logger: TensorBoardLogger, summary: Summary, step: int | None = None) -> None:
    """Writes a summary, such as an encoded image, into a logger's event file.

    ``SummaryWriter.add_image`` would encode the image again. Its public ``file_writer`` is None
    after the logger was closed at the end of a fit, so the private accessor, which reopens the
    file, is needed (torch 2.14).
    """
    logger.experiment._get_file_writer().add_summary(summary, step)
