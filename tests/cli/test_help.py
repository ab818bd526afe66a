"""The option ``--help``, and the command line without arguments."""

import re
import shlex
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import pytest
import torch
from command_line import names

from mnist_lightning.cli import main
from mnist_lightning.cli.help import SUMMARIES, quote

COMMANDS = tuple(name for name in SUMMARIES if name != "sweep")  # it has a parser of its own


def show(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """Runs a command line that must succeed without running a command; returns its output."""
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def examples(text: str) -> list[list[str]]:
    """Returns the arguments of each example in a help text."""
    lines = re.findall(r"^    python -m mnist_lightning (.+)$", text, re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_without_arguments_the_help_is_printed(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = show(capsys)
    assert text == show(capsys, "--help")
    assert text.startswith("usage: python -m mnist_lightning COMMAND [options]\n\n")
    assert len(text.splitlines()) < 30
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z].+\.$", text, re.MULTILINE)
    assert len(examples(text)) == 5
    assert names(workdir) == set()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    expected = (
        f"mnist_lightning {version('mnist_lightning')} (torch {torch.__version__}, "
        f"lightning {version('lightning')}, Python {python_version()})\n"
    )
    assert show(capsys, "--version") == expected


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_usage_and_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    usage, description, found = show(capsys, name, "--help").split("\n\n")[:3]
    assert re.fullmatch(rf"usage: python -m mnist_lightning {name}.* \[options\]", usage)
    assert "\n" not in description
    assert found.startswith("Examples:\n")
    assert 3 <= len(examples(found)) <= 5


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_options_of_data_and_model_first(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = show(capsys, name, "--help")
    options = re.findall(r"^  (?:-\w.*, )?--([\w.]+)", text, re.MULTILINE)
    groups = list(dict.fromkeys(option.partition(".")[0] for option in options))
    first = ["format", "output"] if name == "export" else []
    general = ["help", "config", "print_config", "seed_everything", "ckpt_path"]
    general += ["test_after_fit", "optimizer", "lr_scheduler"] if name == "fit" else []
    assert groups == [*first, "data", "model", "trainer", *general]


def test_help_is_short_and_describes_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    text = show(capsys, "fit", "--help")
    assert len(text.splitlines()) < 560
    words = " ".join(text.split())
    assert "--data.val_fraction VAL_FRACTION Fraction of the training images held out" in words
    assert "--ckpt_path CKPT_PATH Weights to load: best or last (of the newest run)" in words
    assert "Recipes for --config: best, fashion, fast, gpu, notebook, quick" in words
    assert "--trainer.max_epochs MAX_EPOCHS Number of epochs; -1 for no limit." in words
    assert "torch.optim.lr_scheduler.StepLR" not in words  # a page of classes


def test_help_of_a_class_shows_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    text = show(capsys, "fit", "--data.augment.help", "mnist_lightning.RandomDistortion")
    assert "--data.augment.rotation ROTATION" in text


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_examples_are_valid_command_lines(
    name: str, trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "my_package.py").write_text(
        "import torch\n\nclass Net(torch.nn.Module):\n    def __init__(self, width: int):\n"
        "        super().__init__()\n"
    )
    monkeypatch.syspath_prepend(trained)
    for args in examples(show(capsys, *filter(None, [name]), "--help")):
        show(capsys, *args, *(["--print_config"] if "--help" not in args else []))


def test_paths_in_commands_are_quoted_for_the_shell_of_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [quote(path) for path in ("runs", "my runs")] == ["runs", "'my runs'"]
    with monkeypatch.context() as patch:
        patch.setattr("os.name", "nt")
        quoted = [quote(path) for path in (r"D:\runs", r"D:\my runs")]
    assert quoted == [r"D:\runs", r'"D:\my runs"']
