"""The command line: one LightningCLI with defaults that make the notebook's run."""

import csv
import io
import json
import logging
import re
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count, pairwise
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import (
    ArgsType,
    LightningArgumentParser,
    LightningCLI,
    SaveConfigCallback,
)
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from typing_extensions import override

from mnist_lightning import checkpoints
from mnist_lightning.callbacks import EpochProgress, LearningCurves, PredictionGrid
from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.datamodule import MNISTDataModule
from mnist_lightning.errors import CheckpointError, InvalidArgumentError, UserError
from mnist_lightning.files import write_atomically
from mnist_lightning.logger import EpochTensorBoardLogger


def main(args: Sequence[str] | None = None) -> "MNISTCLI":
    """Runs a subcommand.

    Args:
        args: The command line without the program's name; default: that of this process.

    Returns:
        The CLI object, with ``trainer``, ``model`` and ``datamodule``.

    Raises:
        SystemExit: With 1 for a run that failed, 2 for bad usage, 130 for Ctrl-C, 143 for SIGTERM.
    """
    with _console():
        try:
            return MNISTCLI(list(sys.argv[1:] if args is None else args))
        except UserError as error:
            _exit(error.exit_code, str(error))
        except MisconfigurationException as error:
            _exit(2, str(error))
        except SIGTERMException:
            _exit(143, "stopped by SIGTERM")
        except KeyboardInterrupt:
            _exit(130, "stopped by Ctrl-C")
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # how Lightning ends on Ctrl-C
                _exit(130, "stopped by Ctrl-C")
            raise


class MNISTCLI(LightningCLI):
    """``LightningCLI`` with run folders, checkpoints by name, and a test after every fit.

    Args:
        args: The command line without the program's name.
    """

    subcommand: str
    model: MNISTClassifier
    datamodule: MNISTDataModule

    def __init__(self, args: list[str]) -> None:
        self.run_dir: Path | None = None
        self.ckpt_path: Path | None = None
        self.checkpoint: checkpoints.Checkpoint = {}
        self.resumes = False
        try:
            super().__init__(
                MNISTClassifier,
                MNISTDataModule,
                save_config_callback=_SaveConfig,
                trainer_defaults={
                    "devices": 1,
                    "enable_model_summary": False,
                    "log_every_n_steps": 0,  # the epoch's figures are logged, not the steps'
                    "max_epochs": 10,
                    "num_sanity_val_steps": 0,
                },
                seed_everything_default=0,
                parser_class=_Parser,
                args=args,
                auto_configure_optimizers=False,
            )
        finally:
            if self.run_dir is not None and not (self.run_dir / "config.yaml").exists():
                _remove_run(self.run_dir)  # the run never began

    @staticmethod
    @override
    def subcommands() -> dict[str, set[str]]:
        # Decided here, so no options: nothing is ever unpickled, and results are always printed.
        decided = {"weights_only", "verbose", "return_predictions"}
        return {name: skip | decided for name, skip in LightningCLI.subcommands().items()}

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        assert isinstance(args, list)
        for flag, value in pairwise(args):
            if flag in ("--config", "-c"):
                _check_config(Path(value))
        self.config = parser.parse_args(args)
        subcommand = self.config.subcommand
        seed = self.config[subcommand].seed_everything
        if not 0 <= seed < 1 << 32:
            raise InvalidArgumentError("--seed_everything", seed, "it must lie in 0 to 4294967295")
        name = self.config[subcommand].ckpt_path or (None if subcommand == "fit" else "best")
        if name is None:
            return
        root = Path(self.config[subcommand].trainer.default_root_dir or "")
        self.ckpt_path, self.checkpoint = checkpoints.find(name, root)
        self.resumes = subcommand == "fit" and name == "last"
        run_config = self.ckpt_path.parent.parent / "config.yaml"
        config = (
            str(run_config)
            if self.resumes and run_config.is_file()
            else yaml.safe_dump(checkpoints.settings(self.checkpoint))
        )
        # What belongs to the checkpoint comes first, so that the user's own options override it.
        place = args.index(subcommand) + 1
        self.config = parser.parse_args([*args[:place], "--config", config, *args[place:]])
        # Kept from LightningCLI, which would override those options and import classes named in it.
        self.config[subcommand].ckpt_path = None

    @override
    def before_instantiate_classes(self) -> None:
        if self.resumes:
            self.save_config_kwargs = {"overwrite": True}  # with what the user changed, if anything
        elif self.ckpt_path is not None:
            self.config[self.subcommand].ckpt_path = str(self.ckpt_path)
        if self.subcommand == "validate":
            self.save_config_callback = None  # it only prints

    @override
    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except InvalidArgumentError as error:
            options = self.config[self.subcommand]
            for group in ("data", "model"):
                if error.name in options[group]:
                    option = f"--{group}.{error.name}"
                    raise InvalidArgumentError(option, *error.args[1:]) from error
            raise

    @override
    def after_instantiate_classes(self) -> None:
        self._load_weights()

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        options = self.config_init[self.subcommand].trainer
        if options.barebones:  # Lightning's mode for measuring: nothing is drawn, logged or kept
            self.save_config_callback = None
            return super().instantiate_trainer(**kwargs)
        fits = self.subcommand == "fit"
        callbacks: list[Callback] = []
        if options.enable_progress_bar is not False:
            callbacks.append(EpochProgress())
        if fits:
            callbacks.append(LearningCurves())
        if fits or self.subcommand == "test":
            callbacks.append(PredictionGrid())
        if fits and options.enable_checkpointing is not False:
            if options.limit_val_batches != 0:
                callbacks.append(_keep("best", monitor="val/loss"))
            callbacks.append(_keep("last", save_on_train_epoch_end=True))
        self.trainer_defaults["callbacks"] = callbacks

        if options.logger in (None, True, False):
            kwargs["logger"] = False
            if self.subcommand != "validate" and not options.fast_dev_run:
                root = Path(options.default_root_dir or "")
                if self.resumes and self.ckpt_path:
                    self.run_dir = self.ckpt_path.parent.parent
                else:
                    self.run_dir = _new_run(root)
                kwargs["default_root_dir"] = self.run_dir and str(self.run_dir)
                if fits and options.logger is not False:
                    version = self.run_dir.name if self.run_dir else None
                    kwargs["logger"] = EpochTensorBoardLogger(
                        root, version=version, default_hp_metric=False
                    )
        try:
            return super().instantiate_trainer(**kwargs)
        except (ValueError, MisconfigurationException) as error:
            _exit(2, f"the Trainer refuses its options: {error}")

    def fit(self, **kwargs: Any) -> None:
        """Trains, then tests the best checkpoint, or the last one where nothing was validated."""
        self._print_start()
        self.trainer.fit(weights_only=True, **kwargs | {"ckpt_path": self.ckpt_path})
        saved = [
            Path(callback.best_model_path)
            for callback in self.trainer.checkpoint_callbacks
            if isinstance(callback, ModelCheckpoint) and callback.best_model_path
        ]
        self.ckpt_path = saved[0] if saved else None
        self.checkpoint = checkpoints.read(saved[0]) if saved else {}
        self._load_weights()
        self.test(**kwargs)

    def validate(self, **kwargs: Any) -> None:
        """Validates a checkpoint and prints the result."""
        results = self.trainer.validate(verbose=False, **kwargs | {"ckpt_path": None})
        self._print_result("Validation", results)

    def test(self, **kwargs: Any) -> None:
        """Tests a checkpoint, prints the result and writes it to ``results.json``."""
        results = self.trainer.test(verbose=False, **kwargs | {"ckpt_path": None})
        if self.run_dir is not None and results and results[0]:
            summary = {
                **results[0],
                "dataset": self.datamodule.dataset_name,
                "checkpoint": str(self.ckpt_path.absolute()) if self.ckpt_path else None,
                "checkpoint_epoch": self.checkpoint.get("epoch", -1) + 1,
                "epochs": self.trainer.current_epoch or self.checkpoint["epoch"] + 1,
                "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
                "seed": self.config[self.subcommand].seed_everything,
            }
            self._write("results.json", json.dumps(summary, indent=2) + "\n")
        self._print_result("Test", results)
        self._print_places()

    def predict(self, **kwargs: Any) -> None:
        """Predicts the test images, prints the first ones and writes all to ``predictions.csv``."""
        outputs = self.trainer.predict(**kwargs | {"ckpt_path": None})
        batches = [output for output in outputs or () if isinstance(output, Tensor)]
        probabilities = torch.cat(batches)
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        classes = range(probabilities.shape[1])
        table.writerow(["file", "label", "probability", *(f"p{index}" for index in classes)])
        for index, row in enumerate(probabilities.tolist()):
            values = [f"{value:.6f}" for value in (max(row), *row)]
            table.writerow([f"test/{index:05d}", row.index(max(row)), *values])
        self._write("predictions.csv", text.getvalue())
        for line in text.getvalue().splitlines()[:11]:
            file, label, probability = line.split(",")[:3]
            _print(f"{file:<12}{label:>5}{probability:>13}")
        _print(f"{len(probabilities):,} rows are in predictions.csv")
        self._print_provenance()
        self._print_places()

    def _load_weights(self) -> None:
        """Takes the weights of the checkpoint, which was read without running anything in it."""
        if self.checkpoint:
            try:
                self.model.load_state_dict(self.checkpoint["state_dict"])
            except RuntimeError as error:
                raise CheckpointError(
                    f"the checkpoint {self.ckpt_path} was made by another network than this one"
                ) from error

    @rank_zero_only
    def _write(self, name: str, text: str) -> None:
        if self.run_dir is not None:
            write_atomically(self.run_dir / name, text.encode())

    def _print_result(self, what: str, results: Sequence[Mapping[str, float]]) -> None:
        named = results[0] if results else {}
        metrics = {name.rpartition("/")[2]: value for name, value in named.items()}
        if not metrics:
            _print(f"{what}: the options leave no batch or no logging, so there is no result")
            return
        _print(f"{what} accuracy {metrics['acc']:.2%}, loss {metrics['loss']:.4f}")
        self._print_provenance()

    def _print_provenance(self) -> None:
        weights = "those of the last training step; no checkpoint was kept"
        if self.ckpt_path is not None:
            weights = f"{self.ckpt_path} (epoch {self.checkpoint['epoch'] + 1})"
        _print(f"Weights:    {weights}")
        _print(f"Data:       {self.datamodule.dataset_name}")
        trained = self.checkpoint.get("datamodule_hyper_parameters", {}).get("source")
        if (trained, self.datamodule.source) == ("mnist", "sample"):
            _print(
                "NOTE: trained on all of MNIST, the weights have seen the sample's digits before"
            )
        elif (trained, self.datamodule.source) == ("sample", "mnist"):
            _print("NOTE: the weights were trained on the sample only, not on MNIST")
        if self.datamodule.fallback_notice:
            _print(self.datamodule.fallback_notice)

    def _print_start(self) -> None:
        place = f"into {self.run_dir}" if self.run_dir else "without a run folder"
        seed = self.config[self.subcommand].seed_everything
        _print(f"Training on {self.trainer.strategy.root_device} with seed {seed}, {place}")

    def _print_places(self) -> None:
        if self.run_dir is not None:
            _print(f"Run folder: {self.run_dir}")
        for logger in self.trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                _print(f"To look:    tensorboard --logdir {Path(logger.root_dir)}")


class _Parser(LightningArgumentParser):
    """Says what is wrong in one sentence, without a page of usage before it."""

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        key = re.search(r'Parser key "([^"]+)"', message)
        value = re.search(r"(?:Got|Given) value: (.*)", message, re.DOTALL)
        kinds = re.findall(r"Expected an? (.+?)(?:\. Got value.*)?$", message, re.MULTILINE)
        if key and value and kinds:
            names = dict.fromkeys(_in_words(kind) for kind in kinds if " but " not in kind)
            message = f"--{key[1]} is {value[1]!r}; it must be {' or '.join(names)}"
        elif "not accepted before subcommand" in message:
            message += "; write the subcommand first, then its options, as in 'fit --config FILE'"
        else:
            message += "; add --help to see what is accepted"
        _exit(2, message)


def _in_words(kind: str) -> str:
    """Puts what jsonargparse says of a type into words, as in ``<class 'int'>``: an int."""
    for pattern, words in (
        (r"<class 'NoneType'>", "null"),
        (r"<class '(?:\w+\.)*(\w+)'>", r"\1"),
        (r"typing\.Literal\[(.*)\]", r"one of \1"),
        (r"dot import path.*", "the path of a class, such as torch.nn.ReLU"),
    ):
        if match := re.fullmatch(pattern, kind):
            return match.expand(words)
    return kind


class _SaveConfig(SaveConfigCallback):
    """Saves the config of a run with the data source that was really used."""

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        datamodule = getattr(trainer, "datamodule", None)
        if isinstance(datamodule, MNISTDataModule):
            self.config.data.source = datamodule.source
        super().setup(trainer, pl_module, stage)


def _keep(name: str, **kwargs: Any) -> ModelCheckpoint:
    """Returns a callback that keeps one checkpoint as ``name``.ckpt."""
    return ModelCheckpoint(filename=name, enable_version_counter=False, **kwargs)


@rank_zero_only
def _new_run(root: Path) -> Path:
    """Makes the next run folder; two runs never get the same, and further processes get None."""
    existing = checkpoints.runs(root)
    first = int(existing[-1].name.removeprefix("version_")) + 1 if existing else 0
    for number in count(first):
        run = root / checkpoints.RUNS / f"version_{number}"
        try:
            run.mkdir(parents=True)
            return run
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"the run folder {run} cannot be made ({error.strerror})") from error
    raise AssertionError("count() does not end")


def _remove_run(run: Path) -> None:
    shutil.rmtree(run)
    with suppress(OSError):  # other runs are in there
        run.parent.rmdir()


def _check_config(path: Path) -> None:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"the config file {path} cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"the config file {path} is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"the config file {path} holds no options; it needs lines such as 'data:'")


@rank_zero_only
def _print(line: str) -> None:
    print(line, flush=True)


def _exit(code: int, message: str) -> NoReturn:
    """Ends the program with one line on stderr."""
    print("error:", " ".join(message.split()), file=sys.stderr, flush=True)
    raise SystemExit(code)


@contextmanager
def _console() -> Iterator[None]:
    """Shows our own messages on stderr and leaves out what a user can do nothing about."""
    ours = logging.getLogger("mnist_lightning")
    handler = logging.StreamHandler()
    levels = {ours: logging.INFO}
    for name in ("lightning.pytorch", "lightning.fabric"):
        levels[logging.getLogger(name)] = logging.WARNING
    before = {logger: logger.level for logger in levels}
    ours.addHandler(handler)
    try:
        with warnings.catch_warnings():
            # Batches are indexed in memory: workers would only copy them once more.
            warnings.filterwarnings("ignore", ".*does not have many workers")
            # A resumed run goes on in its own folder.
            warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
            # Lightning 2.6.6 uses what torch 2.15 calls deprecated.
            warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*", FutureWarning)
            for logger, level in levels.items():
                logger.setLevel(level)
            yield
    finally:
        ours.removeHandler(handler)
        for logger, level in before.items():
            logger.setLevel(level)
