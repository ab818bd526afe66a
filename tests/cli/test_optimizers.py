"""The options ``--optimizer`` and ``--lr_scheduler``."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import SHORT, config, fail
from events import hparams
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import StepLR

from mnist_lightning import MNISTClassifier
from mnist_lightning.cli import main

TWO_EPOCHS = [*SHORT, "--trainer.max_epochs=2"]
MOMENTUM = ["--optimizer=SGD", "--optimizer.lr=0.1", "--optimizer.momentum=0.9"]
STEPS = ["--lr_scheduler=StepLR", "--lr_scheduler.step_size=1", "--lr_scheduler.gamma=0.5"]


def test_optimizer_replaces_adam(workdir: Path) -> None:
    cli = main(["fit", *SHORT, *MOMENTUM])
    (optimizer,) = cli.trainer.optimizers
    assert type(optimizer) is SGD
    assert (optimizer.defaults["lr"], optimizer.defaults["momentum"]) == (0.1, 0.9)
    assert cli.trainer.lr_scheduler_configs == []
    run = workdir / "lightning_logs" / "version_0"
    saved = config(run)["optimizer"]
    assert saved["class_path"] == "torch.optim.SGD"
    assert saved["init_args"]["momentum"] == 0.9
    shown = hparams(run)
    assert shown["learning_rate"] == 0.1
    assert shown["settings/optimizer"] == "SGD"
    assert shown["settings/optimizer.momentum"] == 0.9


def test_schedule_alone_applies_to_adam(workdir: Path) -> None:
    cli = main(["fit", *TWO_EPOCHS, *STEPS, "--model.learning_rate=0.01"])
    (optimizer,) = cli.trainer.optimizers
    assert type(optimizer) is AdamW
    assert optimizer.defaults["eps"] == 1e-7
    assert isinstance(cli.trainer.lr_scheduler_configs[0].scheduler, StepLR)
    assert optimizer.param_groups[0]["lr"] == 0.01 / 4  # a step after each epoch
    assert hparams(workdir / "lightning_logs" / "version_0")["settings/lr_scheduler"] == "StepLR"


def test_yaml_sets_both(workdir: Path) -> None:
    Path("own.yaml").write_text(
        "optimizer:\n  class_path: torch.optim.RMSprop\n  init_args: {lr: 0.002}\n"
        "lr_scheduler:\n  class_path: torch.optim.lr_scheduler.CosineAnnealingLR\n"
        "  init_args: {T_max: 4}\n"
    )
    cli = main(["fit", "--config=own.yaml", *SHORT])
    (optimizer,) = cli.trainer.optimizers
    assert type(optimizer) is torch.optim.RMSprop
    assert 0 < optimizer.param_groups[0]["lr"] < 0.002


@pytest.mark.parametrize(
    "args",
    [
        ["--lr_scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau"],
        ["--lr_scheduler=ReduceLROnPlateau", "--lr_scheduler.monitor=val/loss"],
    ],
)
def test_plateau_monitors_the_validation_loss(workdir: Path, args: list[str]) -> None:
    patience = ["--lr_scheduler.patience=0", "--lr_scheduler.threshold=100"]
    cli = main(["fit", *TWO_EPOCHS, *args, *patience])
    assert cli.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-5)  # reduced twice


@pytest.mark.slow
def test_sharpness_aware_optimizer_logs_the_loss_at_the_weights(workdir: Path) -> None:
    sam = ["--optimizer=mnist_lightning.sam.SharpnessAwareAdamW", "--optimizer.radius=0.05"]
    adam = ["--optimizer.dict_kwargs.lr=0.001", "--optimizer.dict_kwargs.eps=1e-7"]
    decay = ["--optimizer.dict_kwargs.weight_decay=0.0", "--optimizer.dict_kwargs.fused=true"]
    own = main(["fit", *SHORT, *sam, *adam, *decay]).results
    builtin = main(["fit", *SHORT, "--model.sam_radius=0.05"]).results
    assert own["val/loss"] == builtin["val/loss"]
    curves = [
        Path("lightning_logs", f"version_{i}", "history.csv").read_text().split(",")[9:11]
        for i in (0, 1)
    ]
    assert curves[0] == curves[1]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (
            [*MOMENTUM, "--model.learning_rate=0.2"],
            "--model.learning_rate is 0.2, but has no effect together with --optimizer; use "
            "--optimizer.lr, or leave --model.learning_rate out, whose default is 0.001",
        ),
        ([*MOMENTUM, "--model.learning_rate=0.001"], "--model.learning_rate is 0.001, but has no"),
        ([*MOMENTUM, "--model.sam_radius=0.1"], "--model.sam_radius is 0.1, but has no effect"),
        ([*MOMENTUM, "--model.schedule=one_cycle"], "use --lr_scheduler"),
        ([*STEPS, "--model.schedule=one_cycle"], "use only one of them"),
        ([*MOMENTUM, "--config=fast"], "--model.learning_rate is 0.015, but has no effect"),
        (["--optimizer.lr=0.1"], "--optimizer.lr; it must be an argument of the class, which"),
        (["--optimizer=Sgd"], "'Sgd'; it must be the path of a class, such as torch.optim.SGD"),
        ([*MOMENTUM, "--optimizer.lr=x"], "--optimizer.lr is 'x'; it must be float"),
        (["--optimizer=torch.nn.Linear"], "'torch.nn.Linear'; it must be a subclass of Optimizer"),
        (["--optimizer=SGD", "--optimizer.lr=-1"], "torch.optim.SGD rejected its options: Invalid"),
        (["--optimizer=nets.Mine"], "--optimizer: cannot import nets.Mine: No module named"),
        (["--optimizer=Muon"], "torch.optim.Muon rejected its options: Muon only supports 2D"),
        (["--lr_scheduler=StepLR"], "--lr_scheduler also requires --lr_scheduler.step_size"),
        (
            ["--lr_scheduler=LinearLR", "--lr_scheduler.start_factor=7"],
            "torch.optim.lr_scheduler.LinearLR rejected its options: Starting",
        ),
    ],
)
def test_contradictory_or_invalid_options_are_one_sentence(
    workdir: Path, capsys: pytest.CaptureFixture[str], args: list[str], sentence: str
) -> None:
    code, line = fail(capsys, "fit", *SHORT, *args)
    assert (code, list(workdir.iterdir())) == (2, [])
    assert sentence in line


def test_schedule_that_rejects_a_step_is_one_sentence(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cycle = ["--lr_scheduler=OneCycleLR", "--lr_scheduler.max_lr=0.1"]
    code, line = fail(capsys, "fit", *TWO_EPOCHS, *cycle, "--lr_scheduler.total_steps=7")
    assert code == 2
    assert "torch.optim rejected these options: Tried to step 8 times" in line


def halve(epoch: int) -> float:
    return 0.5**epoch


def test_argument_may_be_a_function(workdir: Path) -> None:
    schedule = ["--lr_scheduler=LambdaLR", f"--lr_scheduler.lr_lambda={__name__}.halve"]
    main(["fit", *TWO_EPOCHS, *schedule])
    cli = main(["fit", "--ckpt_path=last", "--trainer.max_epochs=3"])
    assert cli.trainer.optimizers[0].param_groups[0]["lr"] == 0.001 / 8
    assert cli.results["epochs"] == 3


def test_other_loggers_get_the_optimizer(workdir: Path) -> None:
    main(["fit", *SHORT, *MOMENTUM, "--trainer.logger=CSVLogger"])
    shown = yaml.safe_load(Path("lightning_logs/version_0/hparams.yaml").read_text())
    assert (shown["optimizer"], shown["optimizer.lr"]) == ("SGD", 0.1)


class Scheduled(MNISTClassifier):
    """A model with a schedule of its own."""

    def configure_optimizers(self):  # type: ignore[no-untyped-def]  # noqa: ANN201
        optimizer = AdamW(self.parameters())
        return [optimizer], [StepLR(optimizer, 1)]


def test_schedule_of_a_model_is_not_combined_with_another_one(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fit", *SHORT, *STEPS], model_class=Scheduled)
    assert caught.value.code == 2
    assert "Scheduled.configure_optimizers returns more than an" in capsys.readouterr().err


@pytest.mark.slow
def test_resumed_run_keeps_its_optimizer(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", *SHORT, *MOMENTUM, *STEPS])
    last = ["--ckpt_path=last", "--trainer.max_epochs=2"]
    copy = ["--ckpt_path=best", "--trainer.max_epochs=2", "--trainer.limit_train_batches=5"]
    for args in (last, copy):
        (optimizer,) = main(["fit", *args]).trainer.optimizers
        assert type(optimizer) is SGD
        assert optimizer.param_groups[0]["lr"] == 0.1 / 4
    for args, sentence in (
        (["last", "--optimizer=Adam"], "--optimizer is torch.optim.Adam(lr="),
        (["last", "--model.sam_radius=0.1"], "--model.sam_radius is 0.1, but has no effect"),
        (["last", "--lr_scheduler=null"], "--lr_scheduler is null; a resumed run keeps"),
        (
            ["lightning_logs/version_0/checkpoints/last.ckpt"],
            "--optimizer is null; a resumed run keeps its own, torch.optim.SGD(lr=0.1",
        ),
    ):
        code, line = fail(capsys, "fit", "--ckpt_path", *args)
        assert code == 2
        assert sentence in line


PLATEAU = [
    "--lr_scheduler=ReduceLROnPlateau",
    "--lr_scheduler.monitor=val/acc",
    "--lr_scheduler.patience=0",
    "--lr_scheduler.threshold=9",
]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[*MOMENTUM, *STEPS], PLATEAU])
def test_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    checkpoints = []
    for name, parts in (("once", ["4"]), ("twice", ["2", "4"])):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        for i, epochs in enumerate(parts):
            first = [*SHORT, *options] if i == 0 else ["--ckpt_path=last"]
            main(["fit", *first, f"--trainer.max_epochs={epochs}"])
        path = folder / "lightning_logs" / "version_0" / "checkpoints" / "last.ckpt"
        checkpoints.append(torch.load(path, weights_only=True))
    once, twice = checkpoints
    for name, expected in once["state_dict"].items():
        assert torch.equal(twice["state_dict"][name], expected)
    assert twice["lr_schedulers"] == once["lr_schedulers"]


def test_variables_set_them(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_FIT__LR_SCHEDULER", "CosineAnnealingLR")
    monkeypatch.setenv("PL_FIT__LR_SCHEDULER__T_MAX", "7")
    main(["fit", *SHORT])
    saved = config(workdir / "lightning_logs" / "version_0")["lr_scheduler"]
    assert saved["init_args"]["T_max"] == 7


class WithoutArguments(SGD):
    """An optimizer with a fixed learning rate."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, lr=0.1)


def test_learning_rate_finder_requires_a_learning_rate(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finder = ["--trainer.callbacks+=LearningRateFinder", f"--optimizer={__name__}.WithoutArguments"]
    code, line = fail(capsys, "fit", "--data.source=sample", "--trainer.max_epochs=2", *finder)
    assert code == 2
    assert "LearningRateFinder requires an optimizer with the argument lr" in line


def test_diverged_run_names_the_learning_rate_of_its_optimizer(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = fail(capsys, "fit", *SHORT, "--optimizer=SGD", "--optimizer.lr=1e20")
    assert code == 1
    assert "the learning rate of 1e+20 is too high" in line


def test_gradients_of_sharpness_aware_steps_cannot_be_accumulated(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accumulation = "--trainer.accumulate_grad_batches=2"
    code, line = fail(capsys, "fit", *SHORT, accumulation, "--model.sam_radius=0.05")
    assert code == 2
    assert "sharpness-aware minimization does not support accumulate_grad_batches" in line
