"""The command line with subclasses of the model and the data, as the README shows it."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import config, environment, fail, names, results
from drawings import FIGURE_FILES
from typing_extensions import override

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.cli import main
from mnist_lightning.data.in_memory import BatchLoader

ROOT = Path(__file__).parents[2]
SHORT = ["--trainer.max_epochs=2", "--data.num_images=100"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the README's file."""
    readme = (ROOT / "configs" / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^## Your own classes$.*?^```python\n(.*?)^```$", readme, re.M | re.S)
    (tmp_path / "shapes.py").write_text(block)
    return tmp_path


def run_file(project: Path, *args: str, program: str = "shapes.py") -> str:
    process = subprocess.run(
        [sys.executable, *program.split(), *args],
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
@pytest.mark.parametrize("program", ["shapes.py", "-m shapes", "-m package"])
def test_help_and_hints_name_the_program(project: Path, program: str) -> None:
    (project / "package").mkdir()
    (project / "package" / "__main__.py").write_text(
        "from mnist_lightning.cli import main\nfrom shapes import Shapes, ShapeClassifier\n"
        "main(model_class=ShapeClassifier, datamodule_class=Shapes)\n"
    )
    usage = run_file(project, "--help", program=program)
    assert usage.startswith(f"usage: python {program} COMMAND [options]")
    help_of_fit = run_file(project, "fit", "--help", program=program)
    assert f"    python {program} fit --ckpt_path last" in help_of_fit


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


class LoadersOnly(MNISTDataModule):
    """Has no sets of images, only loaders."""

    def __init__(self, batch_size: int = 50) -> None:
        super().__init__(source="sample", batch_size=batch_size)

    @override
    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.loaders = [
            BatchLoader(images, batch_size=50)
            for images in (self.train_set, self.val_set, self.test_set)
        ]
        del self.train_set, self.val_set, self.test_set

    @override
    def train_dataloader(self) -> Any:
        return self.loaders[0]

    @override
    def val_dataloader(self) -> Any:
        return self.loaders[1]

    @override
    def test_dataloader(self) -> Any:
        return self.loaders[2]


def test_a_data_module_with_loaders_only(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        ["fit", "--trainer.max_epochs=1", "--trainer.limit_train_batches=5"],
        datamodule_class=LoadersOnly,
    )
    start, *_ = capsys.readouterr().out.splitlines()
    assert start.startswith("Training DigitCNN (37,610 parameters, all trainable) on ")
    assert "images for training" not in start
    assert results(workdir / "lightning_logs" / "version_0")["epochs"] == 1


class Demanding(MNISTClassifier):
    """Rejects negative sizes."""

    def __init__(self, size: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        if size[0] < 0:
            raise ValueError("the size is negative")


def test_a_value_of_the_wrong_type_names_the_type(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fit", "--model.size=[1]"], model_class=Demanding)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: --model.size is '[1]'; it must be tuple ")


def test_an_error_in_a_constructor_keeps_its_traceback(workdir: Path) -> None:
    with pytest.raises(ValueError, match="the size is negative"):
        main(["fit", "--data.source=sample", "--model.size=[-1, 1]"], model_class=Demanding)
    assert names(workdir) == set()


def test_options_that_a_class_rejects_are_one_sentence(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "own_callbacks.py").write_text(
        "from lightning.pytorch import Callback\n\n"
        "class Halving(Callback):\n"
        "    def __init__(self, every: int = 2):\n"
        "        assert every > 0, 'every must be positive'\n"
    )
    monkeypatch.syspath_prepend(workdir)
    monkeypatch.delitem(sys.modules, "own_callbacks", raising=False)
    callback = ["--trainer.callbacks+=own_callbacks.Halving", "--trainer.callbacks.every=0"]
    status, message = fail(capsys, "fit", "--data.source=sample", *callback)
    assert status == 2
    assert message == "error: own_callbacks.Halving rejected its options: every must be positive"
    assert not (workdir / "lightning_logs").exists()
