"""A fit without a process and without training, for tests of sweeps."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mnist_lightning.callbacks.save_history import read_history
from mnist_lightning.sweeps import run, trial_runner
from mnist_lightning.sweeps.fit_process import FitCommand

EPOCHS = 4


class SimulatedFit:
    """A fit that takes one step of the sweep for each epoch; its accuracy is that of ``score``."""

    score: Callable[[dict[str, str], int], float] = staticmethod(lambda options, epoch: 0.0)
    started: list[tuple[Path, dict[str, str]]]
    steps_left = math.inf
    """Steps until Ctrl-C."""

    def __init__(
        self, folder: Path, command: FitCommand, options: Sequence[str], slot: int
    ) -> None:
        self.folder = folder
        self._options = dict(option.removeprefix("--").split("=") for option in options)
        self._run = folder / "lightning_logs" / "version_0"
        self._run.mkdir(parents=True, exist_ok=True)
        self._epoch = len(read_history(self._run / "history.csv"))  # it resumes
        type(self).started.append((folder, self._options))

    def exit_code(self) -> int | None:
        type(self).steps_left -= 1
        if type(self).steps_left < 0:
            raise KeyboardInterrupt
        self._epoch += 1
        if "fail" in self._options.values():
            return 1
        values = [self.score(self._options, epoch) for epoch in range(1, self._epoch + 1)]
        rows = [f"{i},{i},1.0,{value}" for i, value in enumerate(values, 1)]
        (self._run / "history.csv").write_text("\n".join(["epoch,step,seconds,val/acc", *rows]))
        if self._epoch < EPOCHS:
            return None
        if "empty" in self._options.values():
            return 0
        seed = int(self._options["seed_everything"])
        results = {
            "seed": seed,
            "val/acc": values[-1],
            "val/loss": 1 - values[-1],
            "checkpoint_epoch": EPOCHS,
        }
        if self._options["test_after_fit"] == "true":
            results |= {"test/acc": values[-1] / 2, "test/loss": 1.0}
        (self._run / "results.json").write_text(json.dumps(results))
        return 0

    def describe_failure(self) -> str:
        return "simulated"

    def terminate(self) -> None:
        """Does nothing, because the fit makes no step by itself."""

    def stop(self, deadline: float = 0) -> None:
        """Does nothing, for the same reason."""


def simulate_fits(monkeypatch: pytest.MonkeyPatch) -> type[SimulatedFit]:
    """Simulates all fits of sweeps, without waiting; returns their class."""
    kind = type("Simulated", (SimulatedFit,), {"started": []})
    monkeypatch.setattr(trial_runner, "FitProcess", kind)
    monkeypatch.setattr(run, "FitProcess", kind)
    monkeypatch.setattr(run, "POLL_SECONDS", 0)
    return kind
