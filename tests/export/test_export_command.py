"""Invalid arguments of the export command are rejected before anything is written."""

import os
from pathlib import Path

import pytest

from mnist_lightning.cli import main


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--format=onnx"], 2, "--output is missing; add --help to see its possible values"),
        (["--format=pdf", "--output=a"], 2, "--format is 'pdf'; it must be one of 'onnx', 'html'"),
        (["--output=a"], 2, "--format is missing; add --help to see its possible values"),
        (
            ["--format=onnx", "--output=no/a"],
            1,
            f"cannot read or write {Path('no', 'a')} (No such file",
        ),
        (["--format=html", f"--output={os.devnull}"], 2, f"--output is '{os.devnull}'; it must be"),
        (["--format=onnx", "--output=."], 2, "--output is '.'; it must be a file"),
    ],
)
def test_invalid_arguments_write_nothing(
    workdir: Path, args: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["export", "--ckpt_path=pretrained", *args])
    assert exit_info.value.code == code
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert not list(workdir.iterdir())
