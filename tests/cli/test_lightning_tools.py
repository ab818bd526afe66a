"""Lightning's own tools on the command line: tuners, early stopping, averaging and monitors."""

from pathlib import Path

import pytest
import torch
from command_line import SHORT, config, names, results
from events import hparam_columns, hparams, scalars, steps
from torch.optim.lr_scheduler import OneCycleLR

from mnist_lightning import MNISTClassifier
from mnist_lightning.callbacks.save_history import read_history
from mnist_lightning.cli import main

pytestmark = pytest.mark.slow

RUN = Path("lightning_logs", "version_0")
SAMPLE = ["--data.source=sample"]
RATE_FINDER = [
    "--trainer.callbacks+=LearningRateFinder",
    "--trainer.callbacks.num_training_steps=40",
]
SIZE_FINDER = ["--trainer.callbacks+=BatchSizeFinder", "--trainer.callbacks.max_trials=3"]


@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_found_learning_rate_is_used_saved_and_kept(
    workdir: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    cli = main(["fit", *SAMPLE, "--trainer.max_epochs=2", *RATE_FINDER])
    found = cli.model.learning_rate
    assert found != 0.001
    assert cli.trainer.optimizers[0].param_groups[0]["lr"] == found
    assert config(RUN)["model"]["learning_rate"] == found
    assert hparams(RUN)["learning_rate"] == pytest.approx(found)
    assert results(RUN)["epochs"] == 2
    assert "it/s" not in capsys.readouterr().out  # the finder must not enable the bar
    for name in ("last", "best"):
        cli = main(["fit", f"--ckpt_path={name}", "--trainer.max_epochs=3"])
        assert cli.trainer.optimizers[0].param_groups[0]["lr"] == found
    assert caplog.text.count("Learning rate set to") == 1  # not when resuming


@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_learning_rate_is_unchanged_if_the_finder_has_too_few_points(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    finder = ["--trainer.callbacks+=LearningRateFinder", "--trainer.callbacks.num_training_steps=2"]
    cli = main(["fit", *SHORT, *finder])
    assert "Failed to compute suggestion for learning rate" in caplog.text
    assert cli.trainer.optimizers[0].param_groups[0]["lr"] == 0.001
    assert config(RUN)["model"]["learning_rate"] == 0.001
    assert results(RUN)["epochs"] == 1


def test_found_learning_rate_is_that_of_the_schedule_and_of_the_chosen_optimizer(
    workdir: Path,
) -> None:
    options = [*SAMPLE, "--trainer.max_epochs=2", *RATE_FINDER]
    cli = main(["fit", *options, "--model.schedule=one_cycle"])
    schedule = cli.trainer.lr_scheduler_configs[0].scheduler
    assert isinstance(schedule, OneCycleLR)
    assert schedule.total_steps == cli.trainer.global_step == 50
    assert schedule.optimizer.param_groups[0]["max_lr"] == cli.model.learning_rate != 0.001

    cosine = ["--lr_scheduler=CosineAnnealingLR", "--lr_scheduler.T_max=9"]
    main(["fit", *options, "--optimizer=SGD", "--optimizer.momentum=0.9", *cosine])
    run = RUN.with_name("version_1")
    found = config(run)["optimizer"]["init_args"]["lr"]
    assert found != 0.001
    assert config(run)["model"]["learning_rate"] == 0.001
    cli = main(["fit", "--ckpt_path=last", "--trainer.max_epochs=3"])
    assert cli.trainer.optimizers[0].param_groups[0]["initial_lr"] == found


def test_found_batch_size_is_used_saved_and_kept(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limit = ["--trainer.max_epochs=1", "--trainer.limit_val_batches=1"]
    cli = main(["fit", *SAMPLE, *limit, *SIZE_FINDER, "--model.schedule=one_cycle"])
    assert config(RUN)["data"]["batch_size"] == cli.datamodule.batch_size == 8
    assert hparams(RUN)["settings/batch_size"] == 8
    assert results(RUN)["epochs"] == 1
    assert caplog.text.count("Finished batch size finder") == 1  # not again before the test
    schedule = cli.trainer.lr_scheduler_configs[0].scheduler
    assert isinstance(schedule, OneCycleLR)
    assert schedule.total_steps == cli.trainer.global_step == 400


def test_tuners_do_not_run_when_a_run_is_resumed_in_a_new_folder(workdir: Path) -> None:
    main(["fit", *SHORT])
    path = str(RUN / "checkpoints" / "last.ckpt")
    cli = main(["fit", *SHORT, "--trainer.max_epochs=3", f"--ckpt_path={path}", *RATE_FINDER])
    assert cli.trainer.global_step == 15
    assert cli.model.learning_rate == 0.001


class Doubled(MNISTClassifier):
    """A model with an attribute that differs from the option of the same name."""

    def __init__(self, learning_rate: float = 0.001) -> None:
        super().__init__(learning_rate=2 * learning_rate)
        self.save_hyperparameters()


def test_attribute_that_differs_from_its_option_is_not_a_found_value(workdir: Path) -> None:
    main(["fit", *SHORT], model_class=Doubled)
    assert config(RUN)["model"]["learning_rate"] == 0.001
    cli = main(["fit", "--ckpt_path=last", "--trainer.max_epochs=2"], model_class=Doubled)
    assert cli.trainer.optimizers[0].param_groups[0]["lr"] == 0.002


def test_complete_run_names_the_limit(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for limit in ("max_epochs", "max_steps"):
        main(["fit", *SAMPLE, "--trainer.limit_train_batches=5", f"--trainer.{limit}=1"])
        capsys.readouterr()
        main(["fit", "--ckpt_path=last"])
        out = capsys.readouterr().out
        assert f"already complete; raise --trainer.{limit} to continue it" in out
        assert "Stopped" not in out


def test_reason_for_an_early_end_is_printed(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopping = ["EarlyStopping", "--trainer.callbacks.monitor=val/loss"]
    patience = ["--trainer.callbacks.patience=1", "--trainer.callbacks.min_delta=9"]
    main(["fit", *SHORT, "--trainer.max_epochs=6", "--trainer.callbacks+", *stopping, *patience])
    assert (
        "Stopped after 10 steps: Monitored metric val/loss did not improve in the last 1 records"
        in capsys.readouterr().out
    )
    assert results(RUN)["epochs"] == 2
    main(["fit", *SAMPLE, "--trainer.max_time=00:00:00:02"])
    out = capsys.readouterr().out
    assert "steps: the time limit was reached" in out
    main(["fit", *SAMPLE, "--trainer.max_epochs=1"])
    assert "Stopped" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("limit", "epochs"),
    [
        (["--trainer.max_steps=12"], 12),
        (["--trainer.max_steps=12", "--trainer.max_epochs=2"], 2),
        ([], 10),
    ],
)
def test_another_limit_replaces_the_default_of_ten_epochs(
    workdir: Path, capsys: pytest.CaptureFixture[str], limit: list[str], epochs: int
) -> None:
    tiny = ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
    cli = main(["fit", *SAMPLE, *tiny, "--trainer.limit_test_batches=1", *limit])
    assert cli.trainer.current_epoch == epochs
    assert ("--trainer.max_steps was reached" in capsys.readouterr().out) == (epochs == 12)


def test_time_limit_replaces_the_default_of_ten_epochs(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
    cli = main(["fit", *SAMPLE, *tiny, "--trainer.max_time=00:00:00:01"])
    assert cli.trainer.max_epochs == -1
    assert " steps: the time limit was reached\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.val_check_interval=0.4"],
        ["--trainer.val_check_interval=7", "--trainer.check_val_every_n_epoch=null"],
        [],
        ["--trainer.check_val_every_n_epoch=2"],
        ["--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging"],
    ],
)
def test_best_checkpoint_contains_the_weights_that_were_scored(
    workdir: Path, options: list[str]
) -> None:
    main(["fit", *SAMPLE, "--trainer.max_epochs=3", *options])
    scored = results(RUN)
    best = min(value for _, value in scalars(RUN)["val/loss"])
    assert scored["val/loss"] == pytest.approx(best)
    cli = main(["validate", "--trainer.logger=false"])
    metrics = cli.trainer.callback_metrics
    assert float(metrics["val/loss"]) == pytest.approx(best)
    assert float(metrics["val/acc"]) == pytest.approx(scored["val/acc"])


def test_several_validations_in_an_epoch_have_their_own_steps(workdir: Path) -> None:
    options = [*SAMPLE, "--trainer.val_check_interval=0.4"]
    main(["fit", *options, "--trainer.max_epochs=2"])
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=3"])
    found = steps(RUN)
    assert found["val/loss"] == [9, 19, 34, 44, 59, 69]
    assert found["train/loss"] == found["figures/learning curves"] == [24, 49, 74]
    assert found["figures/predictions, validation"] == [9, 19, 34, 44, 59, 69]
    assert [row["epoch"] for row in read_history(RUN / "history.csv")] == [1, 2, 3]


def test_learning_rate_is_logged_by_epoch_and_by_step(workdir: Path) -> None:
    monitor = "--trainer.callbacks+=LearningRateMonitor"
    decay = ["--lr_scheduler=ExponentialLR", "--lr_scheduler.gamma=0.5"]
    by_epoch = "--trainer.callbacks.logging_interval=epoch"
    main(["fit", *SAMPLE, "--trainer.max_epochs=2", monitor, by_epoch, *decay])
    epochs, rates = zip(*scalars(RUN)["lr-AdamW"], strict=True)
    assert epochs == (1, 2)
    assert rates == pytest.approx([0.001, 0.0005])
    assert steps(RUN)["train/loss"] == steps(RUN)["val/loss"] == [1, 2]
    by_step = "--trainer.callbacks.logging_interval=step"
    main(["fit", *SAMPLE, "--trainer.max_epochs=1", monitor, by_step])
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=2"])
    found = steps(RUN.with_name("version_1"))
    assert found["lr-AdamW"] == [9, 19, 29, 39, 49]
    assert found["train/loss"] == found["val/loss"] == [24, 49]


def test_averaged_weights_are_tested_or_a_warning_is_logged(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    averaging = ["EMAWeightAveraging", "--trainer.callbacks.decay=0.9"]
    cli = main(["fit", *SHORT, "--trainer.callbacks+", *averaging])
    checkpoint = torch.load(results(RUN)["checkpoint"], weights_only=True)
    for name, weights in cli.model.state_dict().items():
        assert torch.equal(weights, checkpoint["state_dict"][name])
        assert not torch.equal(weights, checkpoint["current_model_state"][name])
    capsys.readouterr()
    averaging = ["StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.01"]
    main(["fit", *SHORT, "--trainer.max_epochs=3", "--trainer.callbacks+", *averaging])
    assert "averages are not validated, saved or tested; use" in capsys.readouterr().err
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=4"])


@pytest.mark.filterwarnings("ignore:You requested to overfit")
@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.profiler=simple", "--trainer.overfit_batches=2"],
        ["--trainer.profiler=advanced"],
        ["--trainer.val_check_interval=00:00:01:00"],
        ["--trainer.callbacks+=Timer", "--trainer.callbacks.duration=00:00:01:00"],
    ],
)
def test_other_options_end_with_results(workdir: Path, options: list[str]) -> None:
    main(["fit", *SHORT, *options])
    assert "results.json" in names(RUN)


def test_callbacks_can_log_in_a_fast_dev_run(workdir: Path) -> None:
    main(
        ["fit", *SAMPLE, "--trainer.fast_dev_run=true", "--trainer.callbacks+=LearningRateMonitor"]
    )
    assert names(workdir) == set()


def test_statistics_of_the_device_are_logged_by_step(workdir: Path) -> None:
    pytest.importorskip("psutil")
    monitor = "--trainer.callbacks+=DeviceStatsMonitor"
    main(["fit", *SAMPLE, "--trainer.max_epochs=1", monitor])
    found = steps(RUN)
    statistics = [tag for tag in found if tag.startswith("DeviceStatsMonitor.on_train_batch_end")]
    assert statistics
    assert all(found[tag] == [9, 19] for tag in statistics)
    assert found["val/loss"] == [24]


def test_runs_are_compared_by_what_differs(workdir: Path) -> None:
    for dropout in ("0.2", "0.4"):
        main(["fit", *SHORT, f"--model.dropout={dropout}"])
    columns = hparam_columns("lightning_logs")
    assert columns[:4] == ["settings/dropout", "epochs", "learning_rate", "seed"]


@pytest.mark.parametrize("plugin", ["TorchCheckpointIO", "AsyncCheckpointIO"])
def test_other_checkpoint_plugins_save_the_checkpoints_of_a_run(workdir: Path, plugin: str) -> None:
    cli = main(["fit", *SHORT, f"--trainer.plugins=lightning.pytorch.plugins.io.{plugin}"])
    assert type(cli.trainer.strategy.checkpoint_io).__name__ == plugin
    assert names(RUN / "checkpoints") == {"best.ckpt", "last.ckpt"}
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=2"])
    assert results(RUN)["epochs"] == 2
