"""The command line with subclasses of the model and the data, as the README shows it."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import config, environment, names, results
from drawings import FIGURE_FILES

from mnist_lightning.cli import main

ROOT = Path(__file__).parents[2]
SHORT = ["--trainer.max_epochs=2", "--data.num_images=100"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the README's file."""
    readme = (ROOT / "configs" / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^## Your own classes$.*?^```python\n(.*?)^```$", readme, re.M | re.S)
    (tmp_path / "shapes.py").write_text(block)
    return tmp_path


def run_file(project: Path, *args: str) -> str:
    process = subprocess.run(
        [sys.executable, "shapes.py", *args],
        cwd=project,
        env={**environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.slow
def test_runs_from_another_folder(project: Path) -> None:
    out = run_file(project, "fit", *SHORT, "--model.momentum=0.8")
    assert "on Shapes: 100 images for training, 100 for validation" in out
    assert "Data:        Shapes" in out
    folder = project / "lightning_logs" / "version_0"
    assert names(folder) >= {"config.yaml", "history.csv", "results.json", *FIGURE_FILES}


@pytest.mark.slow
def test_help_and_hints_name_the_program(project: Path) -> None:
    assert run_file(project, "--help").startswith("usage: python shapes.py COMMAND [options]")
    assert "    python shapes.py fit --ckpt_path last" in run_file(project, "fit", "--help")


def test_resumes_and_tests(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    classes = runpy.run_path("shapes.py", run_name="shapes")
    own = {"model_class": classes["ShapeClassifier"], "datamodule_class": classes["Shapes"]}
    main(["fit", *SHORT, "--model.momentum=0.8"], **own)
    folder = project / "lightning_logs" / "version_0"
    assert results(folder)["dataset"] == "Shapes"
    assert config(folder)["data"] == {"num_images": 100, "batch_size": 32}
    assert config(folder)["model"] == {"momentum": 0.8, "learning_rate": 0.01}
    assert "circle" in capsys.readouterr().out

    cli = main(["fit", "--ckpt_path=last", "--trainer.max_epochs=3"], **own)
    assert cli.trainer.optimizers[0].param_groups[0]["momentum"] == 0.8
    assert names(folder.parent) == {"version_0"}
    assert results(folder)["epochs"] == 3
    for command in ("validate", "test", "predict"):
        capsys.readouterr()
        main([command, "--data.num_images=50"], **own)
        assert "Shapes" in capsys.readouterr().out
    rows = (folder.parent / "version_2" / "predictions.csv").read_text().splitlines()
    assert rows[0] == "file,label,probability,p0,p1,number"
    assert len(rows) == 51
    main(["test", "--config", str(folder / "config.yaml")], **own)
    # The pretrained weights have options that these data lack.
    main(["validate", "--ckpt_path=pretrained"], datamodule_class=classes["Shapes"])

    with pytest.raises(SystemExit):
        main(["fit", "--help"], **own)
    text = capsys.readouterr().out
    assert "python -m mnist_lightning" not in text
    assert "--data.num_images NUM_IMAGES" in text
    assert "--model.momentum MOMENTUM" in text
    assert "--data.emnist_split" not in text
    with pytest.raises(SystemExit) as caught:
        main(["fit", "--data.emnist_split=letters"], **own)
    assert str(caught.value).startswith("unrecognized arguments: --data.emnist_split=letters")
