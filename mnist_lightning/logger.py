"""TensorBoard with the epoch as its x axis."""

from collections.abc import Mapping

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override


class EpochTensorBoardLogger(TensorBoardLogger):
    """A TensorBoardLogger whose x axis is the number of finished epochs.

    Lightning logs against the optimizer step and adds a curve named ``epoch`` to find one's way by;
    with a point an epoch, the epoch itself is the better axis and the curve is noise. Arguments are
    those of ``TensorBoardLogger``.
    """

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
