"""The command ``sweep``, with real fits."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import RUN_FILES, SHORT, config, fail, names, slashes
from events import hparam_columns, scalars
from filelock import FileLock, Timeout
from simulated_fit import simulate_fits

from mnist_lightning import MNISTClassifier, run_sweep
from mnist_lightning.cli import main
from mnist_lightning.cli.sweep import SweepCLI
from mnist_lightning.sweeps.report import SweepReport
from mnist_lightning.sweeps.run import Sweep
from mnist_lightning.sweeps.study import SweepStudy

RECIPE = """
trainer: {max_epochs: 2, limit_train_batches: 5}
data: {source: sample}
space:
  model.learning_rate: [1e-3, -1]
  model.dropout: [0.0]
sampler: grid
jobs: 2
final: true
"""
SPACE = "--space={model.dropout: [0.0, 0.2]}"


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SweepCLI]:
    """A sweep of two trials, one of which fails, and its final training."""
    root = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("PL_FIT__MODEL__BATCH_NORM", "true")  # for other fits
        Path("rates.yaml").write_text(RECIPE)
        cli = main(["sweep", "--config", "rates.yaml"])
    assert isinstance(cli, SweepCLI)
    return root / "lightning_logs" / "sweeps" / "rates", cli


@pytest.mark.slow
def test_each_trial_is_a_run_like_any_other(swept: tuple[Path, SweepCLI]) -> None:
    folder, cli = swept
    run = folder / f"trial_{cli.results['trial']:04d}" / "repeat_0/lightning_logs/version_0"
    assert names(run) >= RUN_FILES
    options = config(run)
    assert options["model"]["learning_rate"] == 1e-3
    assert options["model"]["dropout"] == 0.0
    assert options["model"]["batch_norm"] is False
    assert options["trainer"]["max_epochs"] == 2
    assert options["data"]["source"] == "sample"
    results = json.loads((run / "results.json").read_text())
    assert results["val/acc"] == cli.results["val/acc"]
    assert "test/acc" not in results
    assert "test/acc" not in scalars(run)
    # TensorBoard compares the trial with the final training, which has another seed.
    assert hparam_columns(folder)[0] == "seed"


@pytest.mark.slow
def test_a_trial_that_fails_has_its_reason(swept: tuple[Path, SweepCLI]) -> None:
    folder, _ = swept
    table = (folder / "trials.csv").read_text()
    assert "failed" in table
    assert "--model.learning_rate is -1.0; it must be above 0" in table


@pytest.mark.slow
def test_the_best_setting_is_tested_once(swept: tuple[Path, SweepCLI]) -> None:
    folder, cli = swept
    (final,) = folder.glob("final_*")
    run = final / "lightning_logs" / "version_0"
    assert config(run)["seed_everything"] == 1
    results = json.loads((run / "results.json").read_text())
    assert "test/acc" in results
    assert results == cli.results["final"]
    assert json.loads((folder / "results.json").read_text()) == cli.results


@pytest.mark.slow
def test_best_yaml_is_a_recipe(swept: tuple[Path, SweepCLI]) -> None:
    folder, _ = swept
    recipe = yaml.safe_load((folder / "best.yaml").read_text())
    assert recipe == {
        "trainer": {"max_epochs": 2, "limit_train_batches": 5},
        "model": {"dropout": 0.0},  # the learning rate is the default
        "data": {"source": "sample"},
    }
    with pytest.raises(SystemExit) as caught:
        main(["fit", "--config", str(folder / "best.yaml"), "--print_config"])
    assert caught.value.code == 0


@pytest.mark.slow
def test_a_complete_sweep_prints_its_results_again(
    swept: tuple[Path, SweepCLI],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, cli = swept
    monkeypatch.chdir(folder.parents[2])
    assert main(["sweep", "--config", "rates.yaml"]).results == cli.results
    out = slashes(capsys.readouterr().out)
    assert "was trained again with seed 1 and tested once: test/acc" in out
    assert "Sweep folder: lightning_logs/sweeps/rates" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "--space is missing"),
        (["--space={optimizer: [SGD], model.learning_rate: [0.1]}"], "use --optimizer.lr"),
        (["--space={model.dropot: [0.1]}"], "did you mean --model.dropout?"),
        (["--space={model.dropout: [0.1, x]}"], "--model.dropout is 'x'; it must be float"),
        (["--space=5"], "it must be a mapping such as {NAME: VALUE}"),
        ([SPACE, "--sampler=bayes"], "it must be one of 'tpe', 'random', 'grid'"),
        ([SPACE, "--trainer.fast_dev_run=true"], "a sweep compares the results of complete fits"),
        (["--space={data.batch_size: {low: 16, high: 64.5}}"], "--data.batch_size is '64.5'"),
        ([SPACE, "--storage=postgresql://h:abc/x"], "--storage is 'postgresql://h:abc/x'"),
        ([SPACE, "--storage=mysql+absent://h/x"], "Can't load plugin: sqlalchemy.dialects:mysql"),
        ([SPACE, "--final=true", "--trainer.limit_test_batches=0"], "tests the best setting"),
        ([SPACE, "--trals=3"], "did you mean --trials?"),
        ([SPACE, "--ckpt_path=last"], "a sweep accepts pretrained only"),
        ([SPACE, "--storage=digits"], "Could not parse SQLAlchemy URL"),
        ([SPACE, "--storage=sqlite:////no/folder/x.db"], "unable to open database file"),
        ([SPACE, "--config=swep"], "did you mean the recipe sweep?"),
    ],
)
def test_invalid_usage(
    workdir: Path, args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, error = fail(capsys, "sweep", *args)
    assert message in error
    assert not list(workdir.glob("lightning_logs/sweeps/*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "space",
    [
        '{"optimizer": ["SGD"], "optimizer.momentum": [0.1, 0.9]}',
        '{"optimizer": ["Adam", "SGD"], "optimizer.lr": [0.1, 0.01, 0.001]}',
        '{"data.augment": [null, {"class_path": "mnist_lightning.RandomDistortion"}]}',
    ],
)
def test_spaces_over_classes(workdir: Path, space: str, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate_fits(monkeypatch)
    results = main(["sweep", f"--space={space}", "--sampler=grid"]).results
    assert set(results["parameters"]) == set(json.loads(space))


def test_no_final_training_while_another_process_executes_a_trial(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate_fits(monkeypatch)
    args = ["sweep", SPACE, "--trials=3", "--sampler=random", "--final=true"]
    main([*args, "--trials=1", "--name=other"])
    claimed = []
    execute = Sweep.execute

    def claim_first(sweep: Sweep, study: SweepStudy, print_line: Any) -> None:
        claimed.append(study.claim())
        execute(sweep, study, print_line)

    with monkeypatch.context() as patch:
        patch.setattr(Sweep, "execute", claim_first)
        assert "final" not in main(args).results
    assert "Not finished: 1 of 3 trials." in capsys.readouterr().out
    assert claimed[0] is not None
    claimed[0].release()
    assert main(args).results["final"]["test/acc"] == 0


def test_an_interrupted_sweep_says_how_to_continue(
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(simulate_fits(monkeypatch), "steps_left", 1)
    code, error = fail(capsys, "sweep", SPACE)
    assert (code, error) == (130, "error: stopped by Ctrl-C")
    assert caplog.messages[-1] == "To continue the sweep, run the same command again"


def test_each_setting_that_was_tested_is_counted(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated = simulate_fits(monkeypatch)
    args = ["sweep", SPACE, "--sampler=grid", "--final=true"]
    main([*args, "--trials=1"])
    assert "were tested" not in capsys.readouterr().out
    simulated.score = staticmethod(lambda options, epoch: 1.0)
    main([*args, "--trials=2"])
    note = "NOTE: 2 settings of this sweep were tested, one after the other"
    assert note in capsys.readouterr().out


def test_one_process_after_the_other_writes_its_report(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate_fits(monkeypatch)
    write = SweepReport.write

    def write_alone(report: SweepReport, *args: Any) -> None:
        with pytest.raises(Timeout):
            FileLock(report.folder / ".report.lock").acquire(blocking=False)
        write(report, *args)

    monkeypatch.setattr(SweepReport, "write", write_alone)
    assert main(["sweep", SPACE, "--trials=1"]).results["trial"] == 0


def test_a_process_for_which_no_trial_is_left(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate_fits(monkeypatch)
    claimed = []
    monkeypatch.setattr(Sweep, "execute", lambda sweep, study, _: claimed.append(study.claim()))
    main(["sweep", SPACE, "--trials=1"])
    assert claimed[0] is not None
    assert "Not finished: 1 of 1 trials." in capsys.readouterr().out


def test_a_trial_does_not_start_a_sweep(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MNIST_LIGHTNING_IN_TRIAL", "1")
    _, error = fail(capsys, "sweep", SPACE)
    assert "move that call below if __name__ == '__main__':" in error


def test_without_a_complete_trial(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(simulate_fits(monkeypatch), "exit_code", lambda fit: 1)
    code, error = fail(capsys, "sweep", SPACE, "--trials=1")
    assert code == 1
    assert error.endswith(
        "no trial is complete (simulated); choose another --name, or delete "
        "lightning_logs/sweeps/sweep"
    )
    assert "simulated" in Path("lightning_logs/sweeps/sweep/trials.csv").read_text()


def test_fit_names_the_command_of_a_sweep(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, error = fail(capsys, "fit", "--config", "sweep")
    assert error == "error: the config contains the space of a sweep; use the subcommand sweep"


def test_without_optuna(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("mnist_lightning.cli.sweep")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    for name in [name for name in sys.modules if name.startswith("mnist_lightning.sweeps.")]:
        monkeypatch.delitem(sys.modules, name)
    code, error = fail(capsys, "sweep", SPACE)
    assert (code, error) == (
        1,
        "error: sweep requires Optuna; run: pip install 'mnist_lightning[sweep]'",
    )


@pytest.mark.slow
def test_the_package_does_not_import_optuna() -> None:
    code = "import sys, mnist_lightning; print('optuna' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.stdout == "False\n"


def test_classes_that_other_processes_cannot_import(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Local(MNISTClassifier):
        pass

    with pytest.raises(SystemExit) as caught:
        run_sweep({"model.dropout": [0.0]}, model_class=Local, trials=1)
    assert caught.value.code == 1
    assert "define it in a module, outside of functions" in capsys.readouterr().err


PROGRAM = """
import torch
from mnist_lightning import MNISTClassifier
from mnist_lightning.cli import main

class Momentum(MNISTClassifier):
    def __init__(self, momentum: float = 0.9, learning_rate: float = 0.01):
        super().__init__(learning_rate=learning_rate)
        self.momentum = momentum

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate, momentum=self.momentum)

if __name__ == "__main__":
    main(model_class=Momentum)
"""


@pytest.mark.slow
def test_classes_of_a_program(workdir: Path) -> None:
    (workdir / "programs").mkdir()
    (workdir / "programs" / "momentum.py").write_text(PROGRAM)
    args = ["sweep", "--space={model.momentum: [0.5]}", "--trials=1", *SHORT]
    process = subprocess.run(
        [sys.executable, "programs/momentum.py", *args], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    (run,) = workdir.glob("lightning_logs/sweeps/sweep/trial_0000/repeat_0/lightning_logs/*")
    assert config(run)["model"]["momentum"] == 0.5
