"""The console script, and the wheel."""

import os
import pkgutil
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from command_line import SHORT, names

ROOT = Path(__file__).parents[2]


def test_console_script_runs_the_command_line(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    run = pkgutil.resolve_name(project["scripts"]["mnist_lightning"])
    monkeypatch.setattr(sys, "argv", ["mnist_lightning", "fit", *SHORT])
    assert run() is None  # the script's exit status is then 0
    assert "Test accuracy" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["mnist_lightning", "fly"])
    with pytest.raises(SystemExit, match="invalid choice: 'fly'"):
        run()


@pytest.mark.slow
def test_wheel_contains_the_recipes_and_runs_them_from_any_folder(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    recipes = {path.name for path in (ROOT / "configs").glob("*.yaml")}
    assert names(tmp_path / "site" / "mnist_lightning" / "configs") == recipes
    (metadata,) = (tmp_path / "site").glob("*.dist-info/entry_points.txt")
    assert "mnist_lightning = mnist_lightning.__main__:run" in metadata.read_text()

    folder = tmp_path / "elsewhere"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "mnist_lightning", "fit", "--config=quick", "--print_config"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "batch_size: 32" in done.stdout


def test_wheel_of_the_source_archive_is_the_same(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-d"]
    subprocess.run([*build, str(tmp_path)], cwd=ROOT, capture_output=True, check=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path, filter="data")
    source = tmp_path / archive.name.removesuffix(".tar.gz")
    again = [*build, str(tmp_path / "again"), "-t", "wheel"]
    subprocess.run(again, cwd=source, capture_output=True, check=True)
    (wheel,), (rebuilt,) = tmp_path.glob("*.whl"), tmp_path.glob("again/*.whl")
    assert wheel.read_bytes() == rebuilt.read_bytes()
