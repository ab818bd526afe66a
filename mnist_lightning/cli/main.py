"""The command line: one LightningCLI with defaults that make the notebook's run."""

import json
import logging
import os
import re
import shlex
import signal
import sys
import threading
import traceback
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NoReturn

import numpy as np
import torch
import yaml
from filelock import FileLock
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import (
    ArgsType,
    LightningArgumentParser,
    LightningCLI,
    SaveConfigCallback,
)
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor, distributed, nn
from typing_extensions import override

from mnist_lightning.callbacks import (
    ConfusionMatrix,
    EpochProgress,
    FirstLayerFilters,
    LearningCurves,
    MisclassifiedGrid,
    PredictionGrid,
    SeedEveryEpoch,
    TrainingImages,
)
from mnist_lightning.callbacks.captions import class_names
from mnist_lightning.callbacks.epoch_callback import EpochCallback
from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.cli.parser import OneSentenceParser, check_configs, fail
from mnist_lightning.cli.report import class_report, prediction_csv, prediction_report
from mnist_lightning.datamodule import MNISTDataModule
from mnist_lightning.errors import CheckpointError, InvalidArgumentError, UserError, check_integer
from mnist_lightning.export.html import to_html
from mnist_lightning.export.onnx import to_onnx
from mnist_lightning.figures.grids import plot_pictures
from mnist_lightning.figures.publish import is_dry_run, publish
from mnist_lightning.files import write_atomically
from mnist_lightning.pictures import UNSURE_BELOW
from mnist_lightning.runs import checkpoints
from mnist_lightning.runs import folder as runs
from mnist_lightning.runs.tensorboard import EpochTensorBoardLogger

log = logging.getLogger(__name__)


def main(args: Sequence[str] | None = None) -> "MNISTCLI":
    """Runs a subcommand.

    Args:
        args: The command line without the program's name; default: that of this process.

    Returns:
        The CLI object, with ``trainer``, ``model`` and ``datamodule``.

    Raises:
        SystemExit: With 1 for a run that failed, 2 for bad usage, 130 for Ctrl-C, 143 for SIGTERM.
    """
    if not torch.cuda.is_available():
        # Lightning has PyTorch look for a driver library instead, as Adam does before each step.
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    with _console():
        try:
            cli = MNISTCLI(list(sys.argv[1:] if args is None else args))
            if distributed.is_available() and distributed.is_initialized():
                distributed.destroy_process_group()  # else Python sometimes aborts when it ends
            return cli
        except UserError as error:
            fail(error.exit_code, str(error))
        except MisconfigurationException as error:
            fail(2, str(error))
        except BrokenPipeError:
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - open for as long as Python runs
            fail(1, "nobody reads the output any more")
        except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
            if _lost_contact(error):
                reason = re.sub(
                    r"^\[\S+\] | This is typically .*", "", " ".join(str(error).split())
                )
                fail(1, f"the processes of this run cannot reach each other: {reason}")
            if not _is_lightnings(error):
                raise
            fail(2, f"Lightning cannot do this with these options: {error}")
        except OSError as error:
            if error.strerror is None:
                raise
            file = error.filename or "a file of the run"
            fail(1, f"{file} cannot be read or written ({error.strerror})")
        except SIGTERMException:
            fail(143, "stopped by SIGTERM")
        except KeyboardInterrupt:
            fail(130, "stopped by Ctrl-C")
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # how Lightning ends on Ctrl-C
                fail(130, "stopped by Ctrl-C")
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
        self.pretrained = False
        self._kept: list[ModelCheckpoint] = []
        self._lock: FileLock | None = None
        self._args = args
        try:
            super().__init__(
                MNISTClassifier,
                MNISTDataModule,
                trainer_class=_Trainer,
                save_config_callback=_SaveConfig,
                save_config_kwargs={"save_to_log_dir": False},  # it does so by itself
                trainer_defaults={
                    "devices": 1,
                    "enable_model_summary": False,
                    "log_every_n_steps": 0,  # the epoch's figures are logged, not the steps'
                    "max_epochs": 10,
                    "num_sanity_val_steps": 0,
                },
                seed_everything_default=0,
                parser_class=OneSentenceParser,
                parser_kwargs={
                    "prog": "python -m mnist_lightning",
                    "description": "Trains, tests and uses the MNIST digit CNN.",
                },
                args=args,
                auto_configure_optimizers=False,
            )
        except BaseException:
            if launcher := hasattr(self, "trainer") and self.trainer.strategy.launcher:
                # Processes that this one has started may wait for it for ever.
                launcher.kill(getattr(signal, "SIGKILL", signal.SIGTERM))
            raise
        finally:
            if self._lock is not None:
                self._lock.release()
            never_began = self.run_dir and not (self.run_dir / "config.yaml").exists()
            if self.run_dir is not None and never_began and not self.resumes:
                runs.discard(self.run_dir)

    @staticmethod
    @override
    def subcommands() -> dict[str, set[str]]:
        # Decided here, so no options: nothing is ever unpickled, and results are always printed.
        decided = {"ckpt_path", "weights_only", "verbose", "return_predictions"}
        theirs = {name: skip | decided for name, skip in LightningCLI.subcommands().items()}
        return theirs | {"export": {"model", "about"}}

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--ckpt_path",
            type=str | None,
            default=None,
            help="A checkpoint file; best or last, of the newest run; or pretrained, the weights "
            "in this package. fit goes on from it, for last in that run's folder, else in a new "
            "one, and starts afresh from pretrained; the others take best by default.",
        )

    @override
    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        if subcommand in self._args:
            return super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        return self.init_parser(**kwargs)  # its options would take a tenth of the start

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        assert isinstance(args, list)
        for arg in args:
            if any(unicodedata.category(sign) == "Cs" for sign in arg):  # YAML has no surrogates
                fail(2, f"the argument {arg!r} is no text in UTF-8; write it otherwise")
        check_configs(args)
        self.config = parser.parse_args(args)
        subcommand = self.config.subcommand
        seed = self.config[subcommand].seed_everything
        check_integer("--seed_everything", seed, 0, 2**32 - 1)
        name = self.config[subcommand].ckpt_path
        if name == "":
            raise InvalidArgumentError("--ckpt_path", name, "name best, last, pretrained or a file")
        if name is None and subcommand == "fit":
            return
        name = name or "best"
        root = Path(self.config[subcommand].trainer.default_root_dir or "")
        self.ckpt_path, self.checkpoint = checkpoints.find(name, root, subcommand == "fit")
        self.resumes = subcommand == "fit" and name == "last"
        self.pretrained = name == "pretrained"
        run_config = self.ckpt_path.parent.parent / "config.yaml"
        if self.resumes and run_config.is_file():
            config = str(run_config)
        else:
            settings = checkpoints.settings(self.checkpoint)
            if self.pretrained:  # they need not be used on what they were trained on
                del settings["data"]["source"]
            if name in ("best", "last"):  # of one's own run, whose config may name classes
                settings["model"] |= _network(run_config)
            config = yaml.safe_dump(settings)
        # What belongs to the checkpoint comes first, so that the user's own options override it.
        place = args.index(subcommand) + 1
        self.config = parser.parse_args([*args[:place], "--config", config, *args[place:]])
        if subcommand == "fit" and not self.pretrained:
            self._check_resume(self.config[subcommand])
        # Kept from LightningCLI, which would override those options and import classes named in it.
        self.config[subcommand].ckpt_path = None

    def _check_resume(self, options: Any) -> None:
        if "optimizer_states" not in self.checkpoint:
            raise CheckpointError(
                f"{self.ckpt_path} holds weights only, so fit cannot go on from it"
            )
        rate = checkpoints.settings(self.checkpoint)["model"].get("learning_rate")
        if rate not in (None, options.model.learning_rate):
            raise InvalidArgumentError(
                "--model.learning_rate",
                options.model.learning_rate,
                f"a run goes on with its own, {rate}, which the state of its optimizer holds",
            )

    @override
    def before_instantiate_classes(self) -> None:
        if self.resumes:
            self.save_config_kwargs["overwrite"] = True  # with what the user changed, if anything
        elif self.ckpt_path is not None:
            name = "pretrained" if self.pretrained else str(self.ckpt_path)
            self.config[self.subcommand].ckpt_path = name
        if self.subcommand in ("validate", "export"):
            self.save_config_callback = None  # they have no run folder

    @override
    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
            if self.subcommand == "fit":
                self.datamodule.share_of_batch(self.trainer.world_size)
        except InvalidArgumentError as error:
            options = self.config[self.subcommand]
            for group in ("data", "model"):
                if error.name in options[group]:
                    option = f"--{group}.{error.name}"
                    raise InvalidArgumentError(option, *error.args[1:]) from error
            raise

    @override
    def after_instantiate_classes(self) -> None:
        if isinstance(self.trainer.strategy.launcher, _MultiProcessingLauncher):
            raise InvalidArgumentError(
                "--trainer.strategy",
                self.config[self.subcommand].trainer.strategy,
                "here each process runs the command line itself; take ddp",
            )
        pictures = self.config[self.subcommand].data.images
        if pictures and self.subcommand != "predict":
            raise InvalidArgumentError("--data.images", pictures, "only predict takes it")
        classes, needed = self.model.num_classes, len(self.datamodule.class_names)
        if classes < needed:
            raise InvalidArgumentError(
                "--model.num_classes", classes, f"the data have {needed} classes"
            )
        if self.model.example_input_array is None:  # the network is the user's
            network = self.model.network
            if not (_maps(network, (classes,)) and any(True for _ in network.parameters())):
                raise InvalidArgumentError(
                    "--model.network",
                    type(network).__name__,
                    f"it must map images (N, 1, 28, 28) to logits (N, {classes}), by weights",
                )
            self.model.example_input_array = torch.zeros(1, 1, 28, 28)  # for TensorBoard's graph
        augment = self.datamodule.augment
        if augment is not None and not _maps(augment, (1, 28, 28)):
            raise InvalidArgumentError(
                "--data.augment",
                type(augment).__name__,
                "it must map images to images of that size",
            )
        self._load_weights()

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        options = self.config_init[self.subcommand].trainer
        check_integer(
            "--trainer.accumulate_grad_batches", options.accumulate_grad_batches, 1, 2**31 - 1
        )
        if options.barebones:  # Lightning's mode for measuring: nothing is drawn, logged or kept
            self.save_config_callback = None
            return super().instantiate_trainer(**kwargs)
        fits = self.subcommand == "fit"
        if options.logger in (None, True, False):
            kwargs["logger"] = False
            if self.subcommand in ("fit", "test", "predict") and not options.fast_dev_run:
                root = Path(options.default_root_dir or "")
                if self.resumes and self.ckpt_path:
                    self.run_dir = self.ckpt_path.parent.parent
                else:
                    self.run_dir = runs.create(root)
                if self.run_dir is not None:
                    if fits:
                        self._lock = runs.lock(self.run_dir)
                    root = self.run_dir.parent.parent
                    kwargs["default_root_dir"] = str(self.run_dir)
                if fits and options.logger is not False:
                    version = self.run_dir.name if self.run_dir else None
                    kwargs["logger"] = EpochTensorBoardLogger(
                        root, version=version, log_graph=not self.resumes
                    )

        ours: list[Callback] = [_StopAtOnce()]
        if options.enable_progress_bar is not False:
            ours.append(EpochProgress())
        if fits:
            ours += [SeedEveryEpoch(), LearningCurves(), TrainingImages(), FirstLayerFilters()]
        if fits or self.subcommand == "test":
            ours += [PredictionGrid(), ConfusionMatrix(), MisclassifiedGrid()]
        given = options.callbacks or []
        given = given if isinstance(given, list) else [given]
        ours = [one for one in ours if not any(_replaces(other, one) for other in given)]
        if fits and options.enable_checkpointing is not False:
            if options.limit_val_batches != 0:
                self._kept.append(_Keep("best", self.resumes, monitor="val/loss"))
            self._kept.append(_Keep("last", self.resumes))
        plugins = options.plugins or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            kwargs["plugins"] = [*plugins, checkpoints.AtomicCheckpointIO()]
        self.trainer_defaults["callbacks"] = [*ours, *self._kept]
        try:
            return super().instantiate_trainer(**kwargs)
        except (ValueError, MisconfigurationException) as error:
            fail(2, f"the Trainer refuses its options: {error}")

    def fit(self, **kwargs: Any) -> None:
        """Trains, then tests the best checkpoint, or the last one where nothing was validated."""
        self._print_start()
        with self._telling_how_to_go_on():
            done = self.checkpoint.get("global_step")
            go_on = None if self.pretrained else self.ckpt_path
            self.trainer.fit(ckpt_path=go_on, weights_only=True, **kwargs)
            if self.trainer.global_step == done:
                _print("Nothing was left to train; raise --trainer.max_epochs to go on")
                if self._folder is not None and (self._folder / "results.json").exists():
                    self.trainer.loggers = []  # they have this test already
            saved = [Path(kept.best_model_path) for kept in self._kept if kept.best_model_path]
            self.ckpt_path = saved[0] if saved else None
            reads = saved and self.trainer.is_global_zero  # other machines may not see the file
            checkpoint = checkpoints.read(saved[0]) if reads else {}
            self.checkpoint = self.trainer.strategy.broadcast(checkpoint)
            self._load_weights()
            self.test(**kwargs)

    def validate(self, **kwargs: Any) -> None:
        """Validates a checkpoint and prints the result."""
        results = self.trainer.validate(verbose=False, **kwargs)
        self._print_result("Validation", results)

    def test(self, **kwargs: Any) -> None:
        """Tests a checkpoint, prints the result and writes it to ``results.json``."""
        results = self.trainer.test(verbose=False, **kwargs)
        for name, value in (results[0] if results else {}).items():
            if not isfinite(value):  # JSON has no such number
                raise UserError(
                    f"{name} is {value} with the weights of {self.ckpt_path}; take others"
                )
        untrained = self.subcommand == "fit" and self.trainer.global_step == 0
        if results and results[0] and not untrained:
            summary = {
                **results[0],
                "dataset": self.datamodule.dataset_name,
                "checkpoint": str(self.ckpt_path.absolute()) if self.ckpt_path else None,
                "checkpoint_epoch": self._epoch,
                "epochs": self.trainer.current_epoch or self._epoch,
                "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
                "seed": self.config[self.subcommand].seed_everything,
            }
            self._write("results.json", json.dumps(summary, indent=2) + "\n")
        if results and results[0]:
            self._print_report()
        self._print_result("Test", results)
        self._print_places()

    def predict(self, **kwargs: Any) -> None:
        """Predicts the test images or one's own, prints them, writes ``predictions.csv``."""
        if self.trainer.world_size > 1:
            raise UserError("predict needs one device; leave --trainer.devices at 1")
        outputs = self.trainer.predict(**kwargs)
        batches = [output for output in outputs or () if isinstance(output, Tensor)]
        if not batches:
            self._print_result("Prediction", ())
            return
        probabilities = torch.cat(batches).cpu()
        results: Mapping[str, str | None]
        if self.datamodule.images:
            results, most = self.datamodule.pictures.results, 100
            self._draw_pictures(probabilities)
        else:
            results, most = {f"test/{index:05d}": None for index in range(len(probabilities))}, 10
        self._write("predictions.csv", prediction_csv(results, probabilities))
        names = class_names(self.trainer, None, probabilities.shape[1])
        _print(prediction_report(results, probabilities, names, most))
        if self._folder is not None:
            _print(f"predictions.csv has {len(results):,} row{'s' * (len(results) != 1)}")
        self._print_provenance()
        self._print_places()
        lost = [name for name, reason in results.items() if reason is not None]
        if lost:
            few = ", ".join(lost[:5]) + (", …" if len(lost) > 5 else "")
            raise UserError(f"{len(lost)} of {len(results):,} pictures show no digit: {few}")

    def export(self, model: MNISTClassifier, output: str, **kwargs: Any) -> None:
        """Writes the network into a file and says where."""
        kwargs.pop("datamodule")
        # To rename a file onto a device or a pipe would replace it.
        if not Path(output).name or (Path(output).exists() and not Path(output).is_file()):
            raise InvalidArgumentError("--output", output, "name a file")
        weights = "The pretrained weights"
        if self.ckpt_path and not self.pretrained:  # others need not know where it lies
            weights = f"Weights of {'/'.join(self.ckpt_path.parts[-3:])}"
        about = f"{weights}, epoch {self._epoch}."
        self.trainer.export(model, output=output, about=about, **kwargs)  # type: ignore[attr-defined]
        self._print_weights()
        _print(f"Written:    {output} ({Path(output).stat().st_size / 1000:.0f} kB)")

    def _draw_pictures(self, probabilities: Tensor) -> None:
        shown = self.datamodule.pictures.shown
        if not shown:
            return
        names, pictures, inputs = zip(*shown, strict=True)
        few = f"the first {len(shown)} of " if len(shown) < len(probabilities) else ""
        publish(
            self.trainer,
            lambda: plot_pictures(
                np.stack(pictures),
                torch.stack(inputs),
                probabilities[: len(shown)],
                names,
                class_names(self.trainer, None, probabilities.shape[1]),
                UNSURE_BELOW,
                f"{few}{len(probabilities):,} pictures".capitalize(),
            ),
            "predictions",
            "predictions",
            self._epoch,
        )

    @contextmanager
    def _telling_how_to_go_on(self) -> Iterator[None]:
        """Says how a fit can go on that is broken off."""
        broken_off = KeyboardInterrupt, SystemExit, SIGTERMException, OSError, CheckpointError
        try:
            yield
        except BaseException as error:
            last = self.run_dir and self.run_dir / "checkpoints" / "last.ckpt"
            goes_on = isinstance(error, broken_off) or _lost_contact(error)
            if goes_on and last and last.exists() and self.trainer.is_global_zero:
                root = self.config[self.subcommand].trainer.default_root_dir
                where = f" --trainer.default_root_dir {shlex.quote(str(root))}" if root else ""
                log.warning(
                    "To go on from the last whole epoch: python -m mnist_lightning fit "
                    "--ckpt_path last%s",
                    where,
                )
            raise

    def _load_weights(self) -> None:
        """Takes the weights of the checkpoint, which was read without running anything in it."""
        if self.checkpoint:
            try:
                self.model.load_state_dict(self.checkpoint["state_dict"])
            except RuntimeError as error:
                raise CheckpointError(
                    f"the checkpoint {self.ckpt_path} was made by another network than this one; "
                    "give its options too, for instance by --config of its run"
                ) from error

    @property
    def _epoch(self) -> int:
        """How many epochs the weights were trained."""
        return int(self.checkpoint["epoch"]) + 1 if self.checkpoint else self.trainer.current_epoch

    @property
    def _folder(self) -> Path | None:
        """Where this run writes: the loggers decide. None for a run that is only a trial."""
        trial = self.save_config_callback is None or getattr(self.trainer, "fast_dev_run", False)
        return None if trial else Path(self.trainer.log_dir or "")

    def _write(self, name: str, text: str) -> None:
        folder = self._folder
        if folder is not None and self.trainer.is_global_zero:
            write_atomically(folder / name, text.encode())

    def _print_result(self, what: str, results: Sequence[Mapping[str, float]]) -> None:
        named = results[0] if results else {}
        metrics = {name.rpartition("/")[2]: value for name, value in named.items()}
        if not metrics:
            _print(f"{what}: the options leave no batch or no logging, so there is no result")
            return
        _print(f"{what} accuracy {metrics['acc']:.2%}, loss {metrics['loss']:.4f}")
        self._print_provenance()

    def _print_weights(self) -> None:
        weights = "those of the last training step; no checkpoint was kept"
        if self.trainer.global_step == 0:
            weights = "UNTRAINED: the options leave no training step"
        if self.ckpt_path is not None:
            weights = f"{self.ckpt_path} (epoch {self._epoch})"
        _print(f"Weights:    {weights}")

    def _print_provenance(self) -> None:
        self._print_weights()
        _print(f"Data:       {self.datamodule.dataset_name}")
        settings = checkpoints.settings(self.checkpoint)["data"]
        trained, dataset = settings.get("source"), settings.get("dataset", "MNIST")
        if self.pretrained:  # also where a fit began with them
            trained = "mnist"
        if self.checkpoint and dataset != self.datamodule.dataset.name:
            _print(f"NOTE: the weights were trained on {dataset}")
        elif (trained, self.datamodule.source) == ("mnist", "sample"):
            _print(
                "NOTE: these digits were not held out: the weights were trained on all of MNIST's "
                "training images, and the sample's are among them"
            )
        elif trained == "sample" and self.datamodule.source != "sample":
            _print("NOTE: the weights were trained on the sample only, not on MNIST")
        if self.datamodule.fallback_notice:
            _print(self.datamodule.fallback_notice)

    def _print_report(self) -> None:
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, ConfusionMatrix) and callback.matrix is not None:
                names = class_names(self.trainer, callback.class_names, len(callback.matrix))
                _print(class_report(callback.matrix, names))

    def _print_start(self) -> None:
        folder = self._folder
        place = f"into {folder}" if folder else "without a run folder"
        seed = self.config[self.subcommand].seed_everything
        start = " from the pretrained weights" if self.pretrained else ""
        _print(f"Training{start} on {self.trainer.strategy.root_device} with seed {seed}, {place}")

    def _print_places(self) -> None:
        folder = self._folder
        if folder is not None:
            _print(f"Run folder: {folder}")
        for logger in self.trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                _print(f"To look:    tensorboard --logdir {Path(logger.root_dir)}")


class _Trainer(Trainer):
    """Customize every aspect of training via flags."""

    def export(
        self, model: MNISTClassifier, format: Literal["onnx", "html"], output: str, about: str = ""
    ) -> None:
        """Writes a trained network for use without PyTorch.

        Args:
            model: With its weights.
            format: ``onnx`` is for many runtimes: images in, probabilities out; ``html`` is a page
                to draw on, for any browser.
            output: The file to write; one that is there is replaced.
            about: What is to stand in the file about the weights.
        """
        content = {"onnx": to_onnx, "html": to_html}[format](model, about)
        write_atomically(Path(output), content)


class _SaveConfig(EpochCallback, SaveConfigCallback):
    """Saves the config of a run with the data source that was really used.

    A run that is resumed keeps its config until it has gone on, in case the new options are wrong.
    """

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not self.overwrite:
            self._save(trainer, pl_module)
        options = vars(self.config.data) | vars(self.config.model)
        for name in ("compile", "data_dir", "mirrors", "num_classes"):  # no hyperparameters
            options.pop(name, None)
        options["seed"] = self.config.seed_everything
        for logger in trainer.loggers:
            if isinstance(logger, EpochTensorBoardLogger):
                logger.run_hparams = options

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers:
            if self.overwrite and isinstance(logger, EpochTensorBoardLogger):
                logger.forget_after(trainer.current_epoch)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer, pl_module)  # once

    def _save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        datamodule = getattr(trainer, "datamodule", None)
        if isinstance(datamodule, MNISTDataModule):
            self.config.data.source = datamodule.source
        self._folder = Path(trainer.log_dir or "")  # the processes agree on it: all must ask
        if self.overwrite and trainer.is_global_zero:  # results.json marks a run that is finished
            (self._folder / "results.json").unlink(missing_ok=True)
        super().setup(trainer, pl_module, "fit")

    @override
    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        path = self._folder / self.config_filename
        if path.exists() and not self.overwrite:
            raise UserError(f"{path} is the config of another run; let this one write elsewhere")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, self.parser.dump(self.config, skip_none=False).encode())


class _StopAtOnce(EpochCallback):
    """Has SIGTERM end the work at once.

    Lightning puts a handler of its own before ours, which with several processes waits for the
    others to take part in a broadcast, for ever where they do not.
    """

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _stop)

    on_validation_start = on_test_start = on_predict_start = on_train_start


class _Keep(EpochCallback, ModelCheckpoint):
    """Keeps one checkpoint as ``name``.ckpt, beside any ModelCheckpoint of the user's.

    Lightning logs the metrics of an epoch after its checkpoints are written. So that a run which
    goes on from one lacks nothing, it takes its name only when they have been logged.
    """

    def __init__(self, name: str, resumes: bool, **kwargs: Any) -> None:
        # Only then is an epoch whole, and its checkpoint one to go on from.
        super().__init__(
            filename=name, enable_version_counter=False, save_on_train_epoch_end=True, **kwargs
        )
        self._resumes = resumes
        self._written: Path | None = None

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        # The first epoch can be broken off too.
        if self.monitor is None and trainer.global_step == 0 and not is_dry_run(trainer):
            self._save_checkpoint(trainer, self.format_checkpoint_name({}))
            self._rename(trainer)

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rename(trainer)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor in (None, *trainer.callback_metrics):  # there may be no validation yet
            super().on_train_epoch_end(trainer, pl_module)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        self._rename(trainer)

    @override
    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        self._written = Path(filepath + checkpoints.NEXT)
        super()._save_checkpoint(trainer, str(self._written))

    def _rename(self, trainer: Trainer) -> None:
        written, self._written = self._written, None
        if written is not None and trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.save()  # the figures that are drawn at the end would not be drawn again
            written.replace(written.with_suffix(""))

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # The folder is the run's, even where that was moved or is named otherwise now.
        if self._resumes:
            state_dict = state_dict | {"dirpath": self.dirpath}
            for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
                state_dict[name] = self._here(state_dict[name])
            scores = state_dict["best_k_models"].items()
            state_dict["best_k_models"] = {self._here(path): score for path, score in scores}
        super().load_state_dict(state_dict)

    def _here(self, path: str) -> str:
        # Spelt as ModelCheckpoint spells it, which removes what it takes for another file.
        return path and os.path.join(self.dirpath or "", Path(path).name)  # noqa: PTH118

    @property
    @override
    def state_key(self) -> str:
        return f"mnist_lightning.{self.filename}"


def _maps(module: nn.Module, shape: tuple[int, ...]) -> bool:
    """Returns whether a module maps two digits to two tensors of this shape."""
    training = module.training
    try:
        with torch.no_grad():
            found = module.eval()(torch.zeros(2, 1, 28, 28))
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return False
    finally:
        module.train(training)
    return isinstance(found, Tensor) and found.shape == (2, *shape)


def _network(run_config: Path) -> dict[str, Any]:
    """Returns the network that a run was given, if any."""
    try:
        network = yaml.safe_load(run_config.read_text(encoding="utf-8"))["model"]["network"]
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError):
        return {}  # then it must be given again
    return {"network": network} if network else {}


def _replaces(given: Callback, ours: Callback) -> bool:
    """Returns whether a callback of the user's takes the place of one of ours."""
    return isinstance(given, ProgressBar if isinstance(ours, ProgressBar) else type(ours))


@rank_zero_only
def _print(line: str) -> None:
    print(line, flush=True)


@contextmanager
def _console() -> Iterator[None]:
    """Shows our own messages on stderr and leaves out what a user can do nothing about."""
    ours = logging.getLogger("mnist_lightning")
    handler = logging.StreamHandler()
    levels = {ours: logging.INFO}
    for name in (
        "lightning.fabric.utilities.seed",
        "lightning.pytorch.trainer.connectors.signal_connector",
        "lightning.pytorch.utilities.rank_zero",
    ):
        levels[logging.getLogger(name)] = logging.WARNING
    before = {logger: logger.level for logger in levels}
    ours.addHandler(handler)
    excepthook, threading.excepthook = threading.excepthook, _in_thread
    try:
        with _sigterm_as_exception(), warnings.catch_warnings():
            # Batches are indexed in memory: workers would only copy them once more.
            warnings.filterwarnings("ignore", ".*does not have many workers")
            # A resumed run goes on in its own folder.
            warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
            # What is odd about a picture that can be read.
            warnings.filterwarnings("ignore", module="PIL")
            # Lightning 2.6.6 uses what torch 2.14 and 2.15 call deprecated.
            for used in (".*treespec, LeafSpec", ".*distributed.nn.functional.all_gather"):
                warnings.filterwarnings("ignore", used, FutureWarning)
            for logger, level in levels.items():
                logger.setLevel(level)
            yield
    finally:
        ours.removeHandler(handler)
        threading.excepthook = excepthook
        for logger, level in before.items():
            logger.setLevel(level)


def _is_lightnings(error: Exception) -> bool:
    """Returns whether Lightning itself raised an error; it checks some options only in use."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith("lightning.")


def _lost_contact(error: BaseException) -> bool:
    """Returns whether an error says that the processes of a run cannot reach each other."""
    if not distributed.is_available():
        return False
    return isinstance(error, distributed.DistError) or "/gloo/" in str(error)


def _in_thread(args: threading.ExceptHookArgs) -> None:
    # TensorBoard's thread raises what it met, such as a full disk, in the main thread once more.
    if not isinstance(args.exc_value, OSError):
        threading.__excepthook__(args)


@contextmanager
def _sigterm_as_exception() -> Iterator[None]:
    """Has SIGTERM end the work at once, as Ctrl-C does; Lightning waits for a step or an epoch."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(signum: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signum, signal.SIG_IGN)  # once is enough
    raise SIGTERMException
