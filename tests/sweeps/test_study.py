"""Trials that several processes share, and their storage."""

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from command_line import POSIX
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from mnist_lightning.errors import UserError
from mnist_lightning.sweeps import storage
from mnist_lightning.sweeps.settings import SweepSettings
from mnist_lightning.sweeps.storage import hide_password, open_storage, storage_errors
from mnist_lightning.sweeps.study import ClaimedTrial, SweepStudy

SETTINGS = SweepSettings({"model.dropout": [0.0, 0.2, 0.4]}, sampler="random", trials=4)


def open_study(folder: Path, settings: SweepSettings = SETTINGS) -> SweepStudy:
    """Opens a study as another process would."""
    folder.mkdir(exist_ok=True)
    return SweepStudy(open_storage(None, folder / "journal.log"), settings, folder, seed=0)


def claim(study: SweepStudy) -> ClaimedTrial:
    claimed = study.claim()
    assert claimed is not None
    return claimed


def test_processes_claim_different_trials(tmp_path: Path) -> None:
    studies = [open_study(tmp_path / "sweep") for _ in range(2)]
    claimed = [claim(study) for study in studies for _ in range(2)]
    assert [trial.number for trial in claimed] == [0, 1, 2, 3]
    assert [study.claim() for study in studies] == [None, None]


def test_an_interrupted_trial_is_claimed_again_and_no_other_one(tmp_path: Path) -> None:
    first, second = (open_study(tmp_path / "sweep") for _ in range(2))
    trials = [claim(first) for _ in range(3)]
    trials[1].release()  # as the system does when the process is killed
    trials[2].tell(TrialState.COMPLETE, 0.9)
    again = claim(second)
    assert again.number == 1
    assert again.parameters == trials[1].parameters
    last = claim(second)
    assert last.number == 3
    assert second.claim() is None


def test_a_trial_that_ends_while_another_process_looks_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (open_study(tmp_path / "sweep") for _ in range(2))
    running_trial = claim(first)
    acquire = FileLock.acquire

    def finish_first(lock: FileLock, *args: Any, **kwargs: Any) -> Any:
        if "trial_0000" in lock.lock_file and running_trial.trial.number == 0:
            monkeypatch.setattr(FileLock, "acquire", acquire)
            running_trial.tell(TrialState.COMPLETE, 0.5)
        return acquire(lock, *args, **kwargs)

    monkeypatch.setattr(FileLock, "acquire", finish_first)
    assert claim(second).number == 1


def test_a_trial_of_another_folder_is_not_claimed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sweep.db'}"
    here, there = tmp_path / "here" / "sweep", tmp_path / "there" / "sweep"
    studies = []
    for folder in (here, there):
        folder.mkdir(parents=True)
        studies.append(SweepStudy(open_storage(url, folder), SETTINGS, folder, 0))
    claim(studies[0]).release()
    assert claim(studies[1]).number == 1
    assert claim(studies[0]).number == 0


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="requires Linux")
def test_a_database_in_a_file_is_closed_after_use(tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"
    database = open_storage(f"sqlite:///{path}", tmp_path)
    database.create_new_study([StudyDirection.MAXIMIZE])
    assert path.exists()
    assert not [link for link in Path("/proc/self/fd").iterdir() if link.resolve() == path]


def test_a_new_trial_does_not_use_the_folder_of_another_sweep(tmp_path: Path) -> None:
    study = open_study(tmp_path / "sweep")
    (tmp_path / "sweep" / "trial_0000" / "repeat_0").mkdir(parents=True)
    with pytest.raises(UserError, match="trial_0000 contains a trial of another storage"):
        study.claim()
    assert study.trials[0].state == TrialState.FAIL


def test_two_machines_create_the_last_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(tmp_path / "sweep")
    claimed = [claim(study) for _ in range(3)]
    create = study._storage.create_new_trial

    def create_after_another_machine(study_id: int, template: Any) -> int:
        create(study_id, create_trial(state=TrialState.RUNNING))
        return create(study_id, template)

    monkeypatch.setattr(study._storage, "create_new_trial", create_after_another_machine)
    assert study.claim() is None
    assert [trial.number for trial in study.trials] == [*(trial.number for trial in claimed), 3]
    larger = SweepStudy(study._storage, replace(SETTINGS, trials=5), tmp_path / "sweep", 0)
    assert claim(larger).number == 4


def test_a_trial_that_was_interrupted_while_it_was_sampled(tmp_path: Path) -> None:
    expected = claim(open_study(tmp_path / "expected")).parameters
    study = open_study(tmp_path / "sweep")
    template = create_trial(state=TrialState.RUNNING, user_attrs={"folder": study._id})
    study._storage.create_new_trial(study._storage.get_study_id_from_name("sweep"), template)
    (tmp_path / "sweep" / "trial_0000").mkdir()
    again = claim(study)
    assert again.number == 0
    assert again.parameters == expected


def test_a_sweep_has_the_options_it_was_started_with(tmp_path: Path) -> None:
    config: dict[str, Any] = {"model": {"dropout": 0.2}, "data": {"data_dir": "data"}, "jobs": 1}
    open_study(tmp_path / "sweep").check_config(config)
    study = open_study(tmp_path / "sweep")
    study.check_config(config | {"jobs": 2, "data": {"data_dir": "other"}})
    message = r"started with --model.dropout 0.2, and this command is with --model.dropout 0.3;"
    with pytest.raises(UserError, match=message):
        study.check_config(config | {"model": {"dropout": 0.3}})
    with pytest.raises(UserError, match=r"is without --model.dropout; choose another --name"):
        study.check_config(config | {"model": {}})


@pytest.mark.parametrize("end", [b'{"op_code', b"\xff", b"{}{}"])
def test_an_incomplete_last_line_of_the_journal_is_removed(tmp_path: Path, end: bytes) -> None:
    study = open_study(tmp_path / "sweep")
    claim(study).tell(TrialState.COMPLETE, 0.5)
    journal = tmp_path / "sweep" / "journal.log"
    with journal.open("ab") as file:
        file.write(end)
    claim(open_study(tmp_path / "sweep")).tell(TrialState.COMPLETE, 0.6)
    values = [trial.value for trial in open_study(tmp_path / "sweep").trials]
    assert values == [0.5, 0.6]
    for line in journal.read_text().splitlines():
        json.loads(line)


def test_a_damaged_journal_is_reported_and_not_changed(tmp_path: Path) -> None:
    claim(open_study(tmp_path / "sweep"))
    journal = tmp_path / "sweep" / "journal.log"
    damaged = journal.read_bytes().replace(b'"op_code"', b"op_code", 1)
    journal.write_bytes(damaged)
    with pytest.raises(UserError, match=r"the journal .* is damaged; restore it"):
        open_study(tmp_path / "sweep")
    assert journal.read_bytes() == damaged


def test_a_journal_that_stays_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study(tmp_path / "sweep")
    monkeypatch.setattr(storage, "SECONDS_TO_LOCK", 0.1)
    message = "is locked by a process that does not respond"
    lock = FileLock(tmp_path / "sweep" / "journal.log.lock")
    with lock, pytest.raises(UserError, match=message):
        study.claim()


def count_up(folder: Path) -> None:
    journal = open_storage(None, folder / "journal.log")
    study = optuna.load_study(study_name="sweep", storage=journal)
    for _ in range(20):
        study.add_trial(create_trial(value=1.0))


@POSIX
def test_processes_append_to_the_journal_at_the_same_time(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    study = open_study(folder)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=count_up, args=(folder,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [trial.number for trial in study.trials] == list(range(60))


@pytest.mark.parametrize("line", ["5", "null", '"op_code"', '{"op_code": 4}', '{"op_code": 99}'])
def test_a_line_that_is_not_of_optuna_is_damage(tmp_path: Path, line: str) -> None:
    claim(open_study(tmp_path / "sweep"))
    with (tmp_path / "sweep" / "journal.log").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(UserError, match=r"the journal .* is damaged; restore it"):
        open_study(tmp_path / "sweep")


@pytest.mark.parametrize(
    "url", ["postgresql://me:p@ss@host:1/db", "postgresql://host:1/db?password=secret"]
)
def test_passwords_are_not_printed(url: str) -> None:
    assert hide_password(url) == "postgresql://host:1/db"


def test_a_url_without_a_password() -> None:
    assert hide_password("sqlite:///a.db") == "sqlite:///a.db"


def test_a_storage_without_its_package_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(url: str) -> None:  # as Optuna does without the package
        raise ImportError("Tried to import 'redis'") from ModuleNotFoundError(name="redis")

    monkeypatch.setattr(storage, "JournalRedisBackend", fail)
    with pytest.raises(UserError, match=r"'redis://h:1/0'; it requires the package redis; install"):
        open_storage("redis://me:secret@h:1/0", tmp_path / "journal.log")


def test_an_unexpected_error_of_the_storage_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(url: str) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(storage, "_open_database", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        open_storage("sqlite:///a.db", tmp_path / "journal.log")


def test_a_database_that_fails_is_one_sentence() -> None:
    message = r"the storage sqlite:///a.db failed \(no disk\); run the same command again"
    with pytest.raises(UserError, match=message), storage_errors("sqlite:///a.db"):
        raise StorageInternalError("hidden") from OSError("no disk")
