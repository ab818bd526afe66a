"""Run folders."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mnist_lightning.errors import UserError
from mnist_lightning.runs import folder as runs


def create(root: Path) -> Path:
    run = runs.create(root)
    assert run is not None  # this is the first process
    return run


def test_numbers_runs_and_never_uses_a_number_twice(tmp_path: Path) -> None:
    first, second = create(tmp_path), create(tmp_path)
    assert [first.name, second.name] == ["version_0", "version_1"]
    for name in ("version_9", "version_10", "version_x", "other"):
        (tmp_path / "lightning_logs" / name).mkdir()
    assert create(tmp_path).name == "version_11"  # 10 comes after 9
    names = [run.name for run in runs.existing(tmp_path)]
    assert names == ["version_0", "version_1", "version_9", "version_10", "version_11"]


def test_runs_that_start_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(create, [tmp_path] * 64))
    assert len(set(made)) == 64


def test_discards_an_unused_run_and_leaves_the_others(tmp_path: Path) -> None:
    first, second = create(tmp_path), create(tmp_path)
    runs.discard(second)
    assert runs.existing(tmp_path) == [first]
    runs.discard(first)
    assert list(tmp_path.iterdir()) == []


def test_says_where_it_cannot_make_one(tmp_path: Path) -> None:
    (tmp_path / "lightning_logs").touch()
    with pytest.raises(UserError, match="version_0 cannot be made"):
        create(tmp_path)
    (tmp_path / "lightning_logs").unlink()
    (tmp_path / "lightning_logs").mkdir()
    (tmp_path / "lightning_logs" / "version_0").touch()
    assert create(tmp_path).name == "version_1"
