"""Recipes by name."""

from pathlib import Path

import pytest
import yaml
from command_line import config, fail

from mnist_lightning.cli import configs, main

RECIPES = {"best", "fashion", "fast", "gpu", "notebook", "quick", "seeds", "sweep"}
FOLDER = Path(__file__).parents[2] / "configs"


def batch_size(capsys: pytest.CaptureFixture[str], *args: str) -> int:
    """Returns the batch size of a command line."""
    with pytest.raises(SystemExit) as caught:
        main([*args, "--print_config"])
    assert caught.value.code == 0
    return int(yaml.safe_load(capsys.readouterr().out)["data"]["batch_size"])


@pytest.mark.parametrize("args", [["--config", "gpu"], ["--config=gpu"], ["-c", "gpu"], ["-cgpu"]])
def test_recipe_goes_by_name_from_any_folder(
    workdir: Path, args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch_size(capsys, "fit", *args) == 500
    assert batch_size(capsys, "fit", *args, "--data.batch_size=3") == 3


def test_all_recipes_have_names() -> None:
    assert set(configs.recipes()) == RECIPES
    assert {path.stem for path in FOLDER.glob("*.yaml")} == RECIPES


def test_recipe_goes_by_name_in_a_variable(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PL_FIT__CONFIG", "gpu")
    assert batch_size(capsys, "fit") == 500
    assert batch_size(capsys, "fit", "--config", "quick") == 32


def test_file_in_the_working_directory_takes_precedence(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "gpu.yaml").write_text("data: {batch_size: 3}")
    (workdir / "fast").mkdir()
    assert batch_size(capsys, "fit", "--config", "gpu") == 500  # the file has another name
    assert batch_size(capsys, "fit", "--config", "fast") == 128  # a folder is not a config
    (workdir / "gpu").write_text("data: {batch_size: 3}")
    assert batch_size(capsys, "fit", "--config", "gpu") == 3


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("fsat", "; did you mean the recipe fast?"),
        ("configs/fast.yaml", "; did you mean the recipe fast?"),
        ("Quick", "; did you mean the recipe quick?"),
        ("zzz", ""),
        ("../gpu/", "; did you mean the recipe gpu?"),
    ],
)
def test_unknown_name_lists_the_recipes(
    workdir: Path, name: str, suggestion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = fail(capsys, "fit", "--config", name)
    assert code == 1
    expected = f"error: cannot read the config file {Path(name)} (No such file or directory)"
    names = ", ".join(sorted(RECIPES))
    assert line == f"{expected}; the recipes are {names}{suggestion}"


def test_package_folder_is_used_before_the_folder_of_a_clone(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = (workdir / "package", workdir / "clone")
    monkeypatch.setattr(configs, "RECIPE_FOLDERS", folders)
    for size, folder in enumerate(reversed(folders), start=1):
        folder.mkdir()
        (folder / "gpu.yaml").write_text(f"data: {{batch_size: {size}}}")
        assert batch_size(capsys, "fit", "--config=gpu") == size


@pytest.mark.slow
def test_run_of_a_recipe_is_resumed_and_tested_without_it(workdir: Path) -> None:
    main(["fit", "--config", "quick", "--trainer.max_epochs=1"])
    run = workdir / "lightning_logs" / "version_0"
    assert "config" not in config(run)
    assert str(FOLDER) not in (run / "config.yaml").read_text()
    assert config(run)["data"]["batch_size"] == 32
    resumed = main(["fit", "--ckpt_path=last", "--trainer.max_epochs=2"])
    assert resumed.datamodule.batch_size == 32
    assert main(["test"]).datamodule.source == "sample"
