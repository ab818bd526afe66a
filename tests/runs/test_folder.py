"""Run folders."""

import os
import shutil
import timeit
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mnist_lightning.errors import UserError
from mnist_lightning.runs.folder import Run, find_runs


def test_numbers_runs_without_reusing_a_number(tmp_path: Path) -> None:
    first, second = Run.create(tmp_path), Run.create(tmp_path)
    assert [first.path.name, second.path.name] == ["version_0", "version_1"]
    for name in ("version_9", "version_10", "version_x", "other"):
        (tmp_path / "lightning_logs" / name).mkdir()
    assert Run.create(tmp_path).path.name == "version_11"  # 10 is more than 9
    names = [run.name for run in find_runs(tmp_path)]
    assert names == ["version_0", "version_1", "version_9", "version_10", "version_11"]


def test_finds_the_newest_of_500_runs_in_50_milliseconds(tmp_path: Path) -> None:
    for number in range(500):
        (tmp_path / "lightning_logs" / f"version_{number}").mkdir(parents=True)
    seconds = min(timeit.repeat(lambda: find_runs(tmp_path), number=1, repeat=5))
    assert find_runs(tmp_path)[-1].name == "version_499"
    assert seconds < 0.05


def test_runs_created_at_the_same_time_get_different_folders(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(Run.create, [tmp_path] * 64))
    assert len({run.path for run in runs}) == 64


def test_closing_removes_a_run_that_did_not_start_and_no_other(tmp_path: Path) -> None:
    first, second, third = (Run.create(tmp_path) for _ in range(3))
    second.close()
    assert find_runs(tmp_path) == [first.path, third.path]
    (third.path / "config.yaml").touch()  # it started
    third.close()
    Run(first.path, is_new=False).close()  # it is resumed
    assert find_runs(tmp_path) == [first.path, third.path]
    (third.path / "config.yaml").unlink()
    third.close()
    first.close()
    assert list(tmp_path.iterdir()) == []


def test_results_in_a_folder_that_was_deleted_meanwhile_are_kept(tmp_path: Path) -> None:
    run = Run.create(tmp_path)
    shutil.rmtree(run.path)
    run.close()
    for name in ("checkpoints", "predictions.csv", "results.json"):
        run = Run.create(tmp_path)
        (run.path / name).mkdir()
        run.close()
        assert (run.path / name).exists()


def test_run_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    run = Run.create(tmp_path)
    (run.path / "config.yaml").touch()
    run.lock()
    resumed = Run(run.path, is_new=False)
    with pytest.raises(UserError, match="version_0 is being trained by another process"):
        resumed.lock()
    run.close()
    resumed.lock()
    resumed.close()


def test_reports_a_run_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "lightning_logs").touch()
    with pytest.raises(UserError, match=r"cannot create the run folder .*version_0"):
        Run.create(tmp_path)
    (tmp_path / "lightning_logs").unlink()
    if os.name == "posix":  # mkdir reports a dangling link as an existing file
        (tmp_path / "lightning_logs").symlink_to(tmp_path / "missing")
        with pytest.raises(UserError, match=r"cannot create the run folder .*version_0"):
            Run.create(tmp_path)
        (tmp_path / "lightning_logs").unlink()
    (tmp_path / "lightning_logs").mkdir()
    (tmp_path / "lightning_logs" / "version_0").touch()
    assert Run.create(tmp_path).path.name == "version_1"
