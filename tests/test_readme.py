"""What the README and the configs say is so."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from mirror import Files
from PIL import Image, ImageDraw

from mnist_lightning.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
EXAMPLES = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [
    shlex.split(line, comments=True)[3:]
    for language, code in BLOCKS[2:]
    if language == "sh"
    for line in code.splitlines()
    if line.startswith("python -m mnist_lightning")
]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
SHORTEN = [
    "--data.source=sample",
    "--trainer.limit_train_batches=1",
    "--trainer.max_epochs=2",
    "--model.compile=false",  # takes a compiler and a minute
]


def test_begins_with_the_two_commands() -> None:
    assert BLOCKS[0] == ("sh", "pip install . && python -m mnist_lightning fit\n")
    assert BLOCKS[1] == ("sh", 'pip install ".[test]" && pytest\n')


@pytest.mark.parametrize("code", EXAMPLES, ids=range(len(EXAMPLES)))
@pytest.mark.filterwarnings(
    # The examples are meant for MNIST; the sample that they get here is smaller.
    "ignore:The number of training batches",
    # The first one has a module without validation.
    "ignore:You passed in a `val_dataloader` but have no `validation_step`",
)
def test_examples_run(code: str, workdir: Path) -> None:
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_examples_are_those_promised() -> None:
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_commands_run(args: list[str], workdir: Path) -> None:
    quick = ["--config", str(ROOT / "configs" / "quick.yaml"), "--trainer.max_epochs", "1"]
    main(["fit", *quick, "--trainer.limit_train_batches", "5"])
    if "--help" in args:
        with pytest.raises(SystemExit) as caught:
            main(args)
        assert caught.value.code == 0
        return
    if "--data.images" in args:
        for name in ("photo.jpg", "scans/1.png", "more/2.png"):
            (workdir / name).parent.mkdir(exist_ok=True)
            sheet = Image.new("L", (99, 99), 255)
            ImageDraw.Draw(sheet).line((50, 20, 48, 80), fill=0, width=5)
            sheet.save(workdir / name)
    args = [str(ROOT / arg) if arg.startswith("configs/") else arg for arg in args]
    main([*args, *(SHORTEN if args[0] == "fit" else [])])


def test_commands_cover_every_subcommand() -> None:
    assert {args[0] for args in COMMANDS} == {"fit", "validate", "test", "predict", "export"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_configs_run_from_any_folder_and_are_named_in_the_readme(
    path: Path, workdir: Path, files: Files
) -> None:
    assert f"(configs/{path.name})" in README
    shorten = list(SHORTEN)
    if "dataset:" in path.read_text():  # of which there is no sample
        files.write(workdir)
        shorten[0] = "--data.data_dir=."
    main(["fit", "--config", str(path), *shorten])
    assert (workdir / "lightning_logs" / "version_0" / "results.json").exists()


def test_notebook_config_is_the_default(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for args in ([], ["--config", str(ROOT / "configs" / "notebook.yaml")]):
        with pytest.raises(SystemExit):
            main(["fit", *args, "--print_config"])
        printed.append(yaml.safe_load(capsys.readouterr().out))
    assert printed[0] == printed[1]
    assert printed[0]["trainer"]["max_epochs"] == 10
    assert printed[0]["data"]["batch_size"] == 128
    assert printed[0]["data"]["val_fraction"] == 0.2


def test_files_that_the_readme_links_to_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r'src="([^"]+)"', README)
    assert len(links) >= 6
    for link in links:
        assert (ROOT / link).exists(), link
