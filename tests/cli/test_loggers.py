"""Runs with other loggers, real ones: their run folder, what they log, and how they are resumed."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wandb_files
from command_line import RUN_FILES, SHORT, command, config, environment, fail, names, results
from events import steps
from lightning.pytorch.loggers import (
    CometLogger,
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from typing_extensions import override

from mnist_lightning.cli import main
from mnist_lightning.runs.loggers import run_arguments

pytestmark = pytest.mark.slow

FIGURES = {
    "confusion matrix, test",
    "confusion matrix, validation",
    "filters",
    "learning curves",
    "misclassified, test",
    "misclassified, validation",
    "predictions, test",
    "predictions, validation",
    "training images",
}
METRICS = {"train/acc", "train/loss", "val/acc", "val/loss"}
CSV_LOGGER = "--trainer.logger=CSVLogger"


def run_folder(number: int = 0) -> Path:
    return Path("lightning_logs", f"version_{number}")


def run(*args: str, **variables: str) -> str:
    """Runs a command in a process of its own, because loggers start threads and processes."""
    process = subprocess.run(
        command(*args),
        env={**environment(), "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout + process.stderr


@pytest.mark.usefixtures("workdir")
def test_wandb_offline() -> None:
    pytest.importorskip("wandb")
    wandb = ["--trainer.logger=WandbLogger", "--trainer.logger.offline=true"]
    run("fit", *SHORT, *wandb)
    assert names(run_folder()) == RUN_FILES
    assert names(Path()) == {"lightning_logs", "wandb"}
    (path,) = Path("wandb").glob("offline-run-*/run-*.wandb")
    logged = wandb_files.history(path)
    for name in METRICS | {"test/acc", "test/loss"}:
        assert [row["trainer/global_step"] for row in logged if name in row] == [1], name
    figures = {
        name.removeprefix("figures/").removesuffix("/_type"): row["trainer/global_step"]
        for row in logged
        for name in row
        if name.endswith("/_type")
    }
    assert figures == dict.fromkeys(FIGURES, 1)
    assert len(list(path.parent.rglob("media/images/**/*.png"))) == len(FIGURES)
    assert wandb_files.config(path)["learning_rate"] == 0.001

    out = run("fit", "--ckpt_path=last", "--trainer.max_epochs=2", "--trainer.limit_test_batches=0")
    assert "version_0" in out
    assert names(Path("lightning_logs")) == {"version_0"}
    paths = sorted(Path("wandb").glob("offline-run-*/run-*.wandb"))
    assert len(paths) == 2  # of the same run
    assert wandb_files.run_id(paths[0]) == wandb_files.run_id(paths[1])
    resumed = [row for row in wandb_files.history(paths[1]) if "train/loss" in row]
    assert [row["trainer/global_step"] for row in resumed] == [2]


@pytest.mark.usefixtures("workdir")
def test_wandb_without_a_key_is_one_sentence() -> None:
    pytest.importorskip("wandb")
    process = subprocess.run(
        command("fit", *SHORT, "--trainer.logger=WandbLogger"),
        env={**environment(), "NETRC": os.devnull, "WANDB_API_KEY": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    last = process.stderr.splitlines()[-1]
    assert last == "error: wandb failed: No API key configured. Use `wandb login` to log in."
    assert "Traceback" not in process.stderr
    assert names(Path()) == set()


@pytest.fixture(params=["sqlite", "folder"])
def mlflow_uri(request: pytest.FixtureRequest, workdir: Path) -> str:
    pytest.importorskip("mlflow")
    return f"sqlite:///{workdir}/mlflow.db" if request.param == "sqlite" else f"{workdir}/mlruns"


@pytest.mark.filterwarnings("ignore")
def test_mlflow(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow = ["--trainer.logger=MLFlowLogger", f"--trainer.logger.tracking_uri={mlflow_uri}"]
    run("fit", *SHORT, *mlflow)
    assert names(run_folder()) == RUN_FILES
    run("fit", "--ckpt_path=last", "--trainer.max_epochs=2")
    assert names(Path("lightning_logs")) == {"version_0"}

    client = MlflowClient(mlflow_uri)
    (experiment,) = client.search_experiments(filter_string="name = 'lightning_logs'")
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.status == "FINISHED"
    assert logged.data.params["learning_rate"] == "0.001"
    for name in METRICS:
        points = client.get_metric_history(logged.info.run_id, name)
        assert [point.step for point in points] == [1, 2]
    folders = {item.path for item in client.list_artifacts(logged.info.run_id, "figures")}
    assert folders == {f"figures/{name}" for name in FIGURES}
    curves = client.list_artifacts(logged.info.run_id, "figures/learning curves")
    assert [Path(item.path).name for item in curves] == ["step_0001.png", "step_0002.png"]


@pytest.mark.usefixtures("workdir")
def test_mlflow_in_a_folder_names_the_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow", minversion="3.7")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    status, message = fail(capsys, "fit", *SHORT, "--trainer.logger=MLFlowLogger")
    assert status == 2
    assert message == (
        "error: MLflow no longer writes into a folder: pass --trainer.logger.tracking_uri "
        "sqlite:///mlflow.db, or set the environment variable MLFLOW_ALLOW_FILE_STORE to true"
    )
    assert names(Path()) == set()


def logged_steps(path: Path, name: str) -> list[str]:
    """Returns the steps in which a metric was logged in a CSV file."""
    with path.open(newline="") as file:
        return [row["step"] for row in csv.DictReader(file) if row[name]]


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ([], "lightning_logs"),
        (["--trainer.logger.save_dir=."], "lightning_logs"),
        (["--trainer.logger.save_dir=logs"], "logs/lightning_logs"),
        (["--trainer.default_root_dir=root"], "root/lightning_logs"),
    ],
)
@pytest.mark.usefixtures("workdir")
def test_csv_is_resumed_with_all_rows(options: list[str], folder: str) -> None:
    root = [option for option in options if "root" in option]
    main(["fit", *SHORT, CSV_LOGGER, *options, "--trainer.max_epochs=2"])
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=3", *root])
    runs = Path("root" if root else "", "lightning_logs")
    assert names(runs) == {"version_0"}
    assert names(runs / "version_0") >= RUN_FILES
    assert results(runs / "version_0")["epochs"] == 3
    rows = Path(folder, "version_0", "metrics.csv")
    assert logged_steps(rows, "train/loss") == ["1", "2", "3"]
    assert logged_steps(rows, "val/acc") == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("logger_class", "arguments"),
    [
        (CSVLogger, {"save_dir": "root", "version": "version_3"}),
        (TensorBoardLogger, {"save_dir": "root", "version": "version_3"}),
        (WandbLogger, {"id": "abc", "resume": "allow"}),
        (MLFlowLogger, {"run_id": "abc"}),
        (CometLogger, {"experiment_key": "abc"}),
        (Logger, {}),
    ],
)
def test_each_logger_continues_its_own_run(
    logger_class: type[Logger], arguments: dict[str, str]
) -> None:
    folder = Path("root", "lightning_logs", "version_3")
    assert run_arguments(logger_class, folder, "abc") == arguments
    file_loggers = (CSVLogger, TensorBoardLogger)
    assert run_arguments(logger_class, folder, None) == (
        arguments if logger_class in file_loggers else {}
    )


@pytest.mark.usefixtures("workdir")
def test_csv_rows_logged_after_the_checkpoint_are_replaced() -> None:
    main(["fit", *SHORT, CSV_LOGGER])
    last, rows = run_folder() / "checkpoints" / "last.ckpt", run_folder() / "metrics.csv"
    first_epoch = last.read_bytes()
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=2"])
    last.write_bytes(first_epoch)  # as if the second epoch had been interrupted
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=2"])
    assert logged_steps(rows, "train/loss") == ["1", "2"]
    rows.unlink()
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=3"])
    assert logged_steps(rows, "train/loss") == ["3"]


@pytest.mark.usefixtures("workdir")
def test_tensorboard_by_class_is_resumed_in_its_folder() -> None:
    main(["fit", *SHORT, "--trainer.logger=TensorBoardLogger", "--trainer.logger.save_dir=tb"])
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=2"])
    assert names(run_folder()) == RUN_FILES
    assert names(Path("tb/lightning_logs")) == {"version_0"}
    logged = steps("tb/lightning_logs/version_0")
    assert logged["train/loss"] == logged["figures/learning curves"] == [1, 2]


def test_several_loggers_in_yaml(workdir: Path) -> None:
    (workdir / "loggers.yaml").write_text(
        """
        trainer:
          logger:
            - class_path: lightning.pytorch.loggers.CSVLogger
              init_args: {save_dir: logs}
            - class_path: TensorBoardLogger
              init_args: {save_dir: tb}
        """
    )
    for number in (0, 1):
        main(["fit", *SHORT, "--config=loggers.yaml"])
        assert names(run_folder(number)) == RUN_FILES
        for root in ("logs", "tb"):
            assert names(Path(root, "lightning_logs")) == {
                f"version_{n}" for n in range(number + 1)
            }
    assert steps("tb/lightning_logs/version_1")["val/acc"] == [1]
    # The config can be used for another run, which has its own version.
    assert "version" not in str(
        config(run_folder(1))["trainer"]["logger"][0]["init_args"]["save_dir"]
    )
    assert config(run_folder(1))["trainer"]["logger"][0]["init_args"]["version"] is None
    main(["test"])
    assert results(run_folder(2))["checkpoint"] == str(
        workdir / run_folder(1) / "checkpoints/best.ckpt"
    )


@pytest.mark.parametrize(
    "options",
    [
        ["--config=loggers.yaml"],
        ["--trainer.logger=[{class_path: CSVLogger}, {class_path: TensorBoardLogger}]"],
        ["--trainer.logger+=CSVLogger", "--trainer.logger+=TensorBoardLogger"],
    ],
)
def test_several_loggers_without_a_folder_use_that_of_the_run(
    workdir: Path, options: list[str]
) -> None:
    (workdir / "loggers.yaml").write_text(
        "trainer: {logger: [{class_path: CSVLogger}, {class_path: TensorBoardLogger}]}"
    )
    main(["fit", *SHORT, *options])
    (workdir / "loggers.yaml").unlink()
    assert names(workdir) == {"lightning_logs"}
    assert names(run_folder()) > {*RUN_FILES, "metrics.csv", "hparams.yaml"}
    assert steps(run_folder())["val/acc"] == [1]
    with pytest.raises(TypeError):  # outside of the command line, nothing has changed
        CSVLogger()  # type: ignore[call-arg]


class Unknown(Logger):
    """A logger that only counts what it gets."""

    logged: list[tuple[int | None, set[str]]] = []  # noqa: RUF012 - of all loggers

    @property
    @override
    def name(self) -> str:
        return "unknown"

    @property
    @override
    def version(self) -> None:
        return None

    @override
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.logged.append((step, set(metrics)))

    @override
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


@pytest.fixture
def unknown() -> list[tuple[int | None, set[str]]]:
    Unknown.logged.clear()
    return Unknown.logged


@pytest.mark.usefixtures("workdir")
def test_an_unknown_logger_gets_metrics_and_no_figures(
    unknown: list[tuple[int | None, set[str]]],
) -> None:
    main(["fit", *SHORT, "--trainer.logger=test_loggers.Unknown"])
    assert names(run_folder()) == RUN_FILES
    assert unknown == [
        (1, {"val/acc", "val/loss"}),
        (1, {"train/acc", "train/loss"}),
        (1, {"test/acc", "test/loss"}),
    ]
