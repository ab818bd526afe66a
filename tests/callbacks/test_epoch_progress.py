"""The callback EpochProgress, in a log file and in a terminal."""

import re
import sys
from typing import Any

import pytest
from lightning.pytorch import Trainer

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.callbacks import EpochProgress

LINE = (
    r"Epoch {}/2  train/acc 0\.\d{{4}}  train/loss \d\.\d{{4}}"
    r"  val/acc 0\.\d{{4}}  val/loss \d\.\d{{4}}  \d+\.\d s"
)


def fit(data: MNISTDataModule, max_epochs: int = 2, **kwargs: Any) -> None:
    """Trains and tests a model with a progress bar."""
    trainer = Trainer(
        callbacks=[EpochProgress()],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        limit_train_batches=3,
        log_every_n_steps=1,
        max_epochs=max_epochs,
        **kwargs,
    )
    model = MNISTClassifier()
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)


def screen(out: str) -> list[str]:
    """Returns the lines that a terminal shows after this output."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[A|\r|\n|[^\r\n\x1b]+", out):
        if token == "\x1b[A":  # one line up
            row -= 1
        elif token == "\r":
            column = 0
        elif token == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        else:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + token + line[column + len(token) :]
            column += len(token)
    return [line.strip() for line in lines if line.strip()]


def test_log_file_gets_only_a_line_per_epoch(
    sample: MNISTDataModule, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(sample)
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(LINE.format(1), first)
    assert re.fullmatch(LINE.format(2), second)


def test_does_not_repeat_an_earlier_validation(
    sample: MNISTDataModule, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(sample, check_val_every_n_epoch=2, max_epochs=3)
    lines = capsys.readouterr().out.splitlines()
    assert ["val/loss" in line for line in lines] == [False, True, False]
    assert all("train/loss" in line for line in lines)


def test_terminal_also_gets_a_bar_that_disappears(
    sample: MNISTDataModule,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    fit(sample)
    out = capsys.readouterr().out
    assert "Epoch 1/2:" in out
    assert "100%" in out
    first, second = screen(out)
    assert re.fullmatch(LINE.format(1), first)
    assert re.fullmatch(LINE.format(2), second)


@pytest.mark.parametrize(
    ("hook", "title", "num_sanity_val_steps"),
    [
        ("on_train_batch_end", "Epoch 1/2:", 0),
        ("on_validation_batch_end", "Validation", 0),
        ("on_validation_batch_end", "Sanity Checking", 2),
        ("on_test_batch_end", "Testing", 0),
    ],
)
def test_error_removes_the_bars(
    sample: MNISTDataModule,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    hook: str,
    title: str,
    num_sanity_val_steps: int,
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("failed")

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(MNISTClassifier, hook, fail)
    with pytest.raises(RuntimeError, match="failed"):
        fit(sample, num_sanity_val_steps=num_sanity_val_steps)
    out = capsys.readouterr().out
    assert title in out
    assert not any("%" in line for line in screen(out))
