"""TensorBoard with the epoch as its x axis, and with tabs that say something."""

import io
import logging
import warnings
from argparse import Namespace
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.module import _jit_is_scripting
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from typing_extensions import override

log = logging.getLogger(__name__)

COMPARED = ("test/acc", "test/loss", "val/acc", "val/loss")


class EpochTensorBoardLogger(TensorBoardLogger):
    """A TensorBoardLogger whose x axis is the number of finished epochs.

    Lightning logs against the optimizer step and adds a curve named ``epoch`` to find one's way by;
    with a point an epoch, the epoch itself is the better axis and the curve is noise. The tab
    HParams compares runs by their last validation and test figures, without points of its own, and
    the tab Graphs shows the network. Arguments are those of ``TensorBoardLogger``.
    """

    def __init__(
        self,
        save_dir: str | Path,
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        log_graph: bool = True,
        default_hp_metric: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(save_dir, name, version, log_graph, default_hp_metric, **kwargs)
        self.run_hparams: dict[str, Any] = {}
        """What the tab HParams shows, where not all that Lightning gives is meant."""
        self._described = False

    @override
    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes a point for each metric at the epoch that Lightning gives, else at ``step``."""
        metrics = dict(metrics)
        epoch = metrics.pop("epoch", None)
        if epoch is not None:
            # Lightning counts from 0 while it trains, and tests with the number of finished epochs.
            step = int(epoch) + (not any(name.startswith("test") for name in metrics))
        super().log_metrics(metrics, step)

    @override
    @rank_zero_only
    def log_hyperparams(
        self,
        params: dict[str, Any] | Namespace,
        metrics: dict[str, Any] | None = None,
        step: int | None = None,
    ) -> None:
        """Writes the hyperparameters for the tab HParams, once; ``metrics`` as in the base."""
        super().log_hyperparams(params, metrics, step)
        if metrics or self._described:
            return
        shown = {
            name: value
            for name, value in (self.run_hparams or self.hparams).items()
            if isinstance(value, bool | int | float | str) and not name.startswith("_")
        }
        # Where nothing is logged, starting up should not wait for it.
        from torch.utils.tensorboard.summary import hparams

        compared = dict.fromkeys(COMPARED, 0.0)  # only the names are used
        columns, values, _ = hparams(shown, compared)  # type: ignore[no-untyped-call]
        for summary in (columns, values):
            self.experiment._get_file_writer().add_summary(summary)
        self._described = True

    @rank_zero_only
    def forget_after(self, epoch: int) -> None:
        """Has TensorBoard drop what an earlier, broken off attempt logged behind this epoch."""
        start = Event(session_log=SessionLog(status=SessionLog.START))
        self.experiment._get_file_writer().add_event(start, epoch + 1)

    @override
    @rank_zero_only
    def log_graph(  # type: ignore[override]
        self, model: LightningModule, input_array: Tensor | None = None
    ) -> None:
        """Writes the graph of the model, once, where it has an ``example_input_array``."""
        example: Any = model.example_input_array if input_array is None else input_array
        if not self._log_graph or example is None:
            return
        weight = next(model.parameters(), None)
        if weight is not None and isinstance(example, Tensor):
            # In Lightning's true precisions weights are not float32.
            dtype = weight.dtype if example.is_floating_point() else example.dtype
            example = example.to(weight.device, dtype)
        training = model.training
        try:
            # torch 2.15 calls its tracing deprecated, and SummaryWriter prints what goes wrong; it
            # would trace three times, to compare the outputs. The base would hand the example to
            # the hooks of the data module, which expect batches.
            with warnings.catch_warnings(), redirect_stdout(io.StringIO()), _jit_is_scripting():
                warnings.simplefilter("ignore")
                trace: Any = torch.jit.trace  # has no types
                traced = trace(model.eval(), example, check_trace=False)
                self.experiment.add_graph(traced, example)
        except Exception as error:  # whatever the network raises, it may still train
            log.warning("TensorBoard shows no graph: tracing the network failed (%s)", error)
        finally:
            model.train(training)
        self._log_graph = False


def write_summary(logger: TensorBoardLogger, summary: Summary, step: int) -> None:
    """Writes a summary into the logger's event file, also after the logger was closed.

    Lightning closes the logger at the end of a fit. The public ``file_writer`` is then None,
    whereas ``_get_file_writer`` opens a new event file.
    """
    logger.experiment._get_file_writer().add_summary(summary, step)
