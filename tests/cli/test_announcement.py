"""The first lines of a fit, which describe what is trained."""

from pathlib import Path
from typing import Any

import pytest
from command_line import SHORT, slashes
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import BaseFinetuning

from mnist_lightning.cli import main

DATA = "on MNIST sample: 3,200 images for training, 800 for validation"
DIGIT_CNN = f"DigitCNN (37,610 parameters, all trainable) {DATA}"


class TrainHeadOnly(BaseFinetuning):
    """Freezes all layers but the last."""

    def freeze_before_training(self, pl_module: LightningModule) -> None:
        network: Any = pl_module.network
        self.freeze([network.features, network.head[:-1]])

    def finetune_function(self, *args: Any) -> None:
        """Keeps the layers frozen."""


def test_fit_prints_network_data_device_seed_and_run_folder(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *SHORT, "--trainer.accelerator=cpu", "--seed_everything=7"])
    first, second, third, *_ = slashes(capsys.readouterr().out).splitlines()
    assert first == f"Training {DIGIT_CNN}"
    assert second == "Device cpu, seed 7, run folder lightning_logs/version_0"
    assert third.startswith("Epoch 1/1")


def test_own_network_is_named(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = ["--model.network=foreign.TwoLayers", "--model.network.hidden=12"]
    main(["fit", *SHORT, *network, "--data.val_fraction=0.5"])
    assert capsys.readouterr().out.startswith(
        "Training TwoLayers (9,550 parameters, all trainable) on MNIST sample: 2,000 images for "
        "training, 2,000 for validation\n"
    )


def test_layers_that_a_callback_freezes_are_not_counted_as_trainable(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    main(["fit", *SHORT, "--trainer.callbacks=test_announcement.TrainHeadOnly"])
    assert capsys.readouterr().out.startswith(
        f"Training DigitCNN (37,610 parameters, 1,290 of them trainable) {DATA}\n"
    )


@pytest.mark.filterwarnings("ignore:.*barebones")
@pytest.mark.parametrize(
    ("options", "second"),
    [
        (["--trainer.fast_dev_run=true"], "no run folder"),
        (["--trainer.barebones=true"], "no run folder"),
        (["--trainer.logger=false"], "run folder lightning_logs/version_0"),
    ],
)
def test_other_modes_print_the_same_lines(
    workdir: Path, options: list[str], second: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *SHORT[:2], "--trainer.max_epochs=1", "--trainer.accelerator=cpu", *options])
    lines = slashes(capsys.readouterr().out).splitlines()
    assert lines[lines.index(f"Training {DIGIT_CNN}") + 1] == f"Device cpu, seed 0, {second}"


def test_resumed_run_says_after_which_epoch(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=4"])
    first, second, third, *_ = slashes(capsys.readouterr().out).splitlines()
    assert first == f"Resuming after epoch 3: {DIGIT_CNN}"
    assert second.endswith("seed 0, run folder lightning_logs/version_0")
    assert third.startswith("Epoch 4/4")


def test_run_that_was_interrupted_before_its_first_step_is_not_resumed_after_an_epoch(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mnist_lightning.MNISTClassifier.training_step", interrupt)
        with pytest.raises(SystemExit, match="stopped by Ctrl-C"):
            main(["fit", *SHORT])
    capsys.readouterr()
    main(["fit", "--ckpt_path=last"])
    assert capsys.readouterr().out.startswith(f"Training {DIGIT_CNN}\n")
