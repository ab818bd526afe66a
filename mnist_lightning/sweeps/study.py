"""The study of a sweep: which trials there are, and which one this process executes next."""

import json
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from mnist_lightning.errors import UserError
from mnist_lightning.files import write_atomically
from mnist_lightning.sweeps.settings import SweepSettings
from mnist_lightning.sweeps.space import Choice, create_sampler, suggest_parameters

FOLDER_ATTRIBUTE = "folder"  # of a trial: the folder of the sweep that executes it
FIRST_PRUNED_EPOCH = 2
# Options that may differ between the machines of a sweep, or when it is continued.
FREE_OPTIONS = {
    "name", "trials", "timeout", "final", "storage", "jobs", "data.data_dir", "data.mirrors",
    "trainer.accelerator", "trainer.devices", "trainer.default_root_dir",
}  # fmt: skip


class ClaimedTrial:
    """A trial that this process executes until its result is saved, or it is released.

    Attributes:
        trial: The trial in the study.
        parameters: Its value for each option of the space.
        folder: Its folder.
        reported_epochs: The epochs whose objective was reported before it was interrupted.
    """

    def __init__(
        self, trial: Trial, parameters: dict[str, Choice], folder: Path, lock: FileLock
    ) -> None:
        self.trial = trial
        self.parameters = parameters
        self.folder = folder
        trials = trial.study.get_trials(deepcopy=False)
        self.reported_epochs = set(trials[trial.number].intermediate_values)
        self._lock = lock

    @property
    def number(self) -> int:
        """Number of the trial, from 0."""
        return self.trial.number

    def tell(self, state: TrialState, value: float | None = None, **attributes: Any) -> FrozenTrial:
        """Saves the result of the trial, and releases it.

        Args:
            state: How the trial ended.
            value: The objective of a complete trial.
            attributes: Further results.
        """
        for name, attribute in attributes.items():
            self.trial.set_user_attr(name, attribute)
        frozen_trial = self.trial.study.tell(self.trial, value, state)
        self.release()
        return frozen_trial

    def release(self) -> None:
        """Lets the next sweep of this name continue the trial."""
        self._lock.release()


class SweepStudy:
    """The trials of a sweep, which several processes and machines may share.

    A trial is executed by the process that holds the lock in its folder. The system releases the
    lock when this process ends for any reason; then another process continues the trial.

    Args:
        storage: The storage.
        settings: The settings.
        folder: The folder of the sweep.
        seed: Seed of the samplers.
    """

    def __init__(
        self, storage: BaseStorage, settings: SweepSettings, folder: Path, seed: int
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._folder = folder
        self._seed = seed
        self._lock = FileLock(folder / ".lock")
        self._id = self._folder_id()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        optuna.create_study(
            storage=storage,
            study_name=folder.name,
            direction="maximize" if settings.maximize else "minimize",
            load_if_exists=True,
        )
        self._study_id = storage.get_study_id_from_name(folder.name)

    def _folder_id(self) -> str:
        path = self._folder / ".id"
        with self._lock:
            if not path.exists():
                write_atomically(path, token_hex(16).encode())
            return path.read_text()

    def _load(self, number: int = 0) -> optuna.Study:
        settings = self._settings
        pruner: BasePruner = MedianPruner(n_warmup_steps=FIRST_PRUNED_EPOCH)
        return optuna.load_study(
            study_name=self._folder.name,
            storage=self._storage,
            sampler=create_sampler(settings.sampler, settings.parsed_space, self._seed, number),
            pruner=pruner if settings.prune and not settings.has_only_seeds else NopPruner(),
        )

    @property
    def study(self) -> optuna.Study:
        """The study in Optuna."""
        return self._load()

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trials that were created, by number, without those that are not needed.

        Machines that create the last trial at the same time create too many. These remain for a
        sweep with more trials.
        """
        total, running = self._settings.total_trials, TrialState.RUNNING
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        return [trial for trial in trials if trial.number < total or trial.state != running]

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Checks that the sweep has the same options as when it was created.

        Args:
            config: All options of the command.

        Raises:
            UserError: If an option differs that changes the result of a trial.
        """
        options = {
            name: value
            for name, value in flatten(config).items()
            if not any(name == free or name.startswith(f"{free}.") for free in FREE_OPTIONS)
        }
        study = self.study
        with self._lock:
            if "options" not in study.user_attrs:
                if any(self._folder.glob("*trial_*")):
                    raise UserError(
                        f"{self._folder} contains trials of another storage; delete it, or choose "
                        "another --name"
                    )
                study.set_user_attr("options", options)
        saved = study.user_attrs["options"]
        for name in {**saved, **options}:
            if saved.get(name) != options.get(name):
                raise UserError(
                    f"the sweep {self._folder.name} was started {_describe(name, saved)}, and this "
                    f"command is {_describe(name, options)}; choose another --name"
                )

    def claim(self) -> ClaimedTrial | None:
        """Returns the next trial to execute: one that was interrupted, or else a new one.

        Returns:
            None if all trials are complete or being executed by other processes.
        """
        with self._lock:
            trials = self.trials
            for trial in trials[: self._settings.total_trials]:
                is_in_this_folder = trial.user_attrs.get(FOLDER_ATTRIBUTE) == self._id
                if trial.state == TrialState.RUNNING and is_in_this_folder:
                    lock = self._trial_lock(trial.number)
                    try:
                        lock.acquire(blocking=False)
                    except Timeout:
                        continue
                    # Its process may have finished it after the trials were listed.
                    if self.trials[trial.number].state == TrialState.RUNNING:
                        return self._open(trial.number, lock)
                    lock.release()
            if len(trials) >= self._settings.total_trials:
                return None
            return self._create()

    def _create(self) -> ClaimedTrial | None:
        template = create_trial(state=TrialState.RUNNING, user_attrs={FOLDER_ATTRIBUTE: self._id})
        trial_id = self._storage.create_new_trial(self._study_id, template)
        number = self._storage.get_trial_number_from_id(trial_id)
        if number >= self._settings.total_trials:  # another machine created one at the same time
            return None
        lock = self._trial_lock(number)
        lock.acquire()
        claimed_trial = self._open(number, lock)
        if any(claimed_trial.folder.glob("repeat_*")):  # of an earlier sweep on this machine
            claimed_trial.tell(TrialState.FAIL, reason="the folder was in use")
            raise UserError(
                f"{claimed_trial.folder} contains a trial of another storage; delete it"
            )
        return claimed_trial

    def _open(self, number: int, lock: FileLock) -> ClaimedTrial:
        study = self._load(number)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        trial = Trial(study, trial_id)
        space = self._settings.parsed_space
        parameters = suggest_parameters(study, trial, space, self._seed)
        study.sampler = RandomSampler()  # GridSampler calls study.stop(), which fails here
        return ClaimedTrial(trial, parameters, trial_folder(self._folder, number), lock)

    def _trial_lock(self, number: int) -> FileLock:
        folder = trial_folder(self._folder, number)
        folder.mkdir(exist_ok=True)
        return FileLock(folder / ".lock")


def trial_folder(sweep_folder: Path, number: int) -> Path:
    """Returns the folder of a trial."""
    return sweep_folder / f"trial_{number:04d}"


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the options of a nested config by their dotted names.

    Values are those that JSON can represent.
    """
    options: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            options |= flatten(value, f"{prefix}{name}.")
        else:
            options[f"{prefix}{name}"] = json.loads(json.dumps(value, default=str))
    return options


def _describe(name: str, options: Mapping[str, Any]) -> str:
    if name == "classes":
        return f"with the classes {' and '.join(options[name])}"
    return f"with --{name} {json.dumps(options[name])}" if name in options else f"without --{name}"
