"""Invalid arguments of the export command are rejected before anything is written."""

from pathlib import Path

import pytest

from mnist_lightning.cli import main


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--format=onnx"], 2, "--output is missing; add --help to see its possible values"),
        (["--format=pdf", "--output=a"], 2, "--format is 'pdf'; it must be one of 'onnx', 'html'"),
        (["--output=a"], 2, "--format is missing; add --help to see its possible values"),
        (["--format=onnx", "--output=no/a"], 1, "cannot read or write no/a (No such file"),
        (["--format=onnx", "--output=/tmp"], 2, "--output is '/tmp'; it must be a file"),
        (["--format=html", "--output=/dev/null"], 2, "--output is '/dev/null'; it must be a file"),
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
