"""Options in environment variables."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import SHORT, command, config, environment, fail

from mnist_lightning.cli import main


def parsed(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    """Returns the options of a command line."""
    with pytest.raises(SystemExit) as caught:
        main([*args, "--print_config"])
    assert caught.value.code == 0
    options: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return options


def test_variables_set_options_of_their_command(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "PL_FIT__TRAINER__MAX_EPOCHS": "3",
        "PL_FIT__SEED_EVERYTHING": "7",
        "PL_FIT__DATA__MIRRORS": "[http://a, http://b]",
        "PL_FIT__DATA__AUGMENT": "mnist_lightning.RandomDistortion",
        "PL_FIT__DATA__AUGMENT__ROTATION": "5",
        "PL_FIT__MODEL__NETWORK": "{class_path: torch.nn.Flatten, init_args: {start_dim: 2}}",
        "PL_TEST__TRAINER__MAX_EPOCHS": "4",
        "PL_GLOBAL_SEED": "9",  # set by Lightning
    }.items():
        monkeypatch.setenv(name, value)
    options = parsed(capsys, "fit")
    assert options["trainer"]["max_epochs"] == 3
    assert options["seed_everything"] == 7
    assert options["data"]["mirrors"] == ["http://a", "http://b"]
    augment, network = options["data"]["augment"], options["model"]["network"]
    assert augment["class_path"] == "mnist_lightning.RandomDistortion"
    assert augment["init_args"]["rotation"] == 5
    assert network["init_args"]["start_dim"] == 2
    options = parsed(capsys, "test")
    assert options["trainer"]["max_epochs"] == 4
    assert options["seed_everything"] == 0


def test_command_line_overrides_variables_which_override_their_config(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("variable", "own"):
        (workdir / f"{name}.yaml").write_text(f"data: {{data_dir: {name}}}")
    monkeypatch.setenv("PL_FIT__CONFIG", "variable.yaml")
    assert parsed(capsys, "fit")["data"]["data_dir"] == "variable"
    assert parsed(capsys, "fit", "--config=own.yaml")["data"]["data_dir"] == "own"
    # Sorted before CONFIG, and nevertheless applied after it.
    monkeypatch.setenv("PL_FIT__CKPT_PATH", "pretrained")
    monkeypatch.setenv("PL_FIT__DATA__DATA_DIR", "direct")
    (workdir / "variable.yaml").write_text("ckpt_path: last\ndata: {data_dir: variable}")
    options = parsed(capsys, "fit")
    assert options["data"]["data_dir"] == "direct"
    assert options["ckpt_path"] == "pretrained"
    assert parsed(capsys, "fit", "--config=own.yaml")["data"]["data_dir"] == "own"
    assert parsed(capsys, "fit", "--data.data_dir", "a")["data"]["data_dir"] == "a"


def test_variables_override_the_config_of_a_resumed_run(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained / "lightning_logs" / "version_0"
    monkeypatch.setenv("PL_FIT__TRAINER__MAX_EPOCHS", "4")
    monkeypatch.setenv("PL_FIT__CKPT_PATH", "last")
    monkeypatch.setenv("PL_FIT__DATA__BATCH_SIZE", "200")
    cli = main(["fit", "--data.batch_size=300"])
    assert cli.trainer.current_epoch == 4
    assert config(run)["trainer"]["max_epochs"] == 4
    assert config(run)["data"]["batch_size"] == 300
    assert config(run)["data"]["source"] == "sample"  # from the config of the run


def test_variables_override_the_options_of_weights(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PL_VALIDATE__DATA__VAL_FRACTION", "0.5")
    assert main(["validate"]).datamodule.val_fraction == 0.5


@pytest.mark.parametrize(
    ("name", "value", "code", "message"),
    [
        (
            "PL_FIT__TRAINER__MAX_EPOCH",
            "3",
            2,
            "error: unrecognized environment variables: PL_FIT__TRAINER__MAX_EPOCH=3; did you mean "
            "PL_FIT__TRAINER__MAX_EPOCHS?",
        ),
        ("PL_FIT__QQQ", "3", 2, "error: unrecognized environment variables: PL_FIT__QQQ=3; add"),
        ("PL_FIT__TRAINER__MAX_EPOCHS", "many", 2, "PL_FIT__TRAINER__MAX_EPOCHS is 'many'; it mu"),
        ("PL_FIT__SEED_EVERYTHING", "-1", 2, "PL_FIT__SEED_EVERYTHING is -1; it must be an"),
        ("PL_FIT__DATA__BATCH_SIZE", "0", 2, "--data.batch_size is 0; it must be an integer"),
        ("PL_FIT__DATA__AUGMENT", "a.B", 2, "PL_FIT__DATA__AUGMENT: cannot import a.B"),
        ("PL_FIT__CKPT_PATH", "", 2, "PL_FIT__CKPT_PATH is ''; use best, last, pretrained or"),
        ("PL_FIT__CKPT_PATH", "a.ckpt", 1, "the checkpoint a.ckpt does not exist"),
        ("PL_FIT__CONFIG", "a.yaml", 1, "cannot read the config file a.yaml (No such file"),
        ("PL_FIT__CONFIG", "quik", 1, "did you mean the recipe quick?"),
    ],
)
def test_invalid_variable_is_one_sentence(
    workdir: Path,
    name: str,
    value: str,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    found, line = fail(capsys, "fit")
    assert message in line
    assert found == code
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--help"])
    capsys.readouterr()


def test_error_about_an_argument_names_the_argument(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PL_FIT__TRAINER__MAX_EPOCHS", "3")
    _, line = fail(capsys, "fit", "--trainer.max_epochs=many")
    assert line == "error: --trainer.max_epochs is 'many'; it must be int"


@pytest.mark.slow
@pytest.mark.skipif("not __import__('torch').distributed.is_available()")
def test_distributed_processes_use_the_same_variables(workdir: Path) -> None:
    variables = {
        "PL_FIT__CONFIG": "quick",
        "PL_FIT__TRAINER__MAX_EPOCHS": "1",
        "PL_FIT__TRAINER__DEVICES": "2",
        "PL_FIT__TRAINER__STRATEGY": "ddp",
        "PL_FIT__TRAINER__ACCELERATOR": "cpu",
        "PL_FIT__DATA__BATCH_SIZE": "100",
    }
    done = subprocess.run(
        command("fit", *SHORT[-1:]),
        capture_output=True,
        text=True,
        check=True,
        env={**environment(), **variables},
    )
    assert "2 processes on cpu, seed 0" in done.stdout
    assert "Epoch 1/1" in done.stdout
    assert config(workdir / "lightning_logs" / "version_0")["data"]["batch_size"] == 100
