"""The command line: a LightningCLI with run folders, checkpoints by name, and a test after a fit.

LightningCLI's constructor does everything. It calls, in this order:

1. ``parse_arguments``, which also reads recipes (``configs.py``) and environment variables
   (``variables.py``), and finds the weights (``options.py``);
2. ``before_instantiate_classes``, which decides what is saved as the run's config;
3. ``instantiate_classes`` for data and model, and ``instantiate_trainer``, which opens the run
   folder and adds callbacks (``trainer_defaults.py``);
4. ``after_instantiate_classes``, which checks them and loads the weights;
5. the method named after the command: ``fit.py``, ``evaluate.py``, ``predict.py``, ``export.py``.

Errors become one sentence in ``console.py``.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from typing_extensions import override

from mnist_lightning.callbacks.save_environment import SaveEnvironment
from mnist_lightning.callbacks.save_run_config import SaveRunConfig
from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.cli import evaluate, export, fit, predict
from mnist_lightning.cli.compatibility import check_compatibility, check_normalization
from mnist_lightning.cli.console import console
from mnist_lightning.cli.help import parser_texts, program_name
from mnist_lightning.cli.optimizers import use_optimizer
from mnist_lightning.cli.options import add_options, parse_options, resumes, resumes_in_place
from mnist_lightning.cli.parser import OneSentenceParser, describe_rejection
from mnist_lightning.cli.processes import check_strategy, kill_child_processes, leave_process_group
from mnist_lightning.cli.run_trainer import Format, RunTrainer
from mnist_lightning.cli.session import Session
from mnist_lightning.cli.trainer_defaults import (
    TRAINER_DEFAULTS,
    default_callbacks,
    open_run,
    run_of_loggers,
    trainer_options,
)
from mnist_lightning.data.datasets import select_dataset
from mnist_lightning.datamodule import MNISTDataModule
from mnist_lightning.errors import InvalidArgumentError, UsageError, check_integer
from mnist_lightning.figures.publish import is_dry_run
from mnist_lightning.runs.folder import Run
from mnist_lightning.runs.loggers import use_epochs, uses_epochs
from mnist_lightning.runs.weights import Weights

if TYPE_CHECKING:
    from mnist_lightning.cli.sweep import SweepCLI


def main(
    args: Sequence[str] | None = None,
    model_class: type[MNISTClassifier] = MNISTClassifier,
    datamodule_class: type[MNISTDataModule] = MNISTDataModule,
) -> "MNISTCLI | SweepCLI":
    """Executes a command.

    Args:
        args: The command line without the name of the program; default: that of this process.
        model_class: Class of the model; its arguments are options.
        datamodule_class: Class of the data; its arguments are options.

    Returns:
        The CLI object, with ``trainer``, ``model`` and ``datamodule``.

    Raises:
        SystemExit: With 1 for a failed run, 2 for invalid usage, 129 if the terminal was closed,
            130 for Ctrl-C, 143 for SIGTERM.
    """
    if not torch.cuda.is_available():
        # Set by Lightning, it makes Adam look for a GPU driver in each step: 0.17 ms, 4 %.
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    with console():
        arguments = list(sys.argv[1:] if args is None else args)
        if arguments[:1] == ["sweep"]:
            from mnist_lightning.cli.sweep import SweepCLI  # Optuna is optional

            return SweepCLI(arguments[1:], model_class, datamodule_class)
        return MNISTCLI(arguments, model_class, datamodule_class)


class MNISTCLI(LightningCLI):
    """``LightningCLI`` for ``MNISTClassifier`` and ``MNISTDataModule``, or subclasses of them.

    Args:
        args: The command line without the name of the program.
        model_class: Class of the model.
        datamodule_class: Class of the data.
    """

    subcommand: str
    model: MNISTClassifier
    datamodule: MNISTDataModule
    results: dict[str, Any]
    """The content of ``results.json``, after ``fit`` and ``test``."""

    def __init__(
        self,
        args: list[str],
        model_class: type[MNISTClassifier] = MNISTClassifier,
        datamodule_class: type[MNISTDataModule] = MNISTDataModule,
    ) -> None:
        own_classes = (model_class, datamodule_class) != (MNISTClassifier, MNISTDataModule)
        self.program = program_name(own_classes)
        self.subcommand = "".join(args[:1])  # if the command line is valid
        self.command_line = shlex.join(["mnist_lightning", *args])
        self.weights: Weights | None = None
        self.run: Run | None = None
        try:
            super().__init__(
                model_class,
                datamodule_class,
                trainer_class=RunTrainer,
                trainer_defaults=dict(TRAINER_DEFAULTS),
                save_config_callback=SaveRunConfig,
                save_config_kwargs={"save_to_log_dir": False},  # SaveRunConfig chooses the folder
                seed_everything_default=0,
                parser_class=OneSentenceParser,
                parser_kwargs=parser_texts(self.program, self.subcommands()),
                args=args,
                auto_configure_optimizers=False,
            )
        except BaseException:
            kill_child_processes(getattr(self, "trainer", None))
            raise
        finally:
            if self.run:
                self.run.close()
        leave_process_group()

    @override
    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        # These are fixed, not options: checkpoints are never unpickled, results always printed.
        fixed = {"ckpt_path", "weights_only", "verbose", "return_predictions"}
        skipped = {name: names | fixed for name, names in LightningCLI.subcommands().items()}
        skipped["export"] = {"model", "about"}
        # The parsers of the other commands would take 0.3 s.
        return {name: skipped[name] for name in {self.subcommand} & skipped.keys()} or skipped

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        add_options(parser)

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        assert isinstance(args, list)
        self.config, self.weights = parse_options(parser, args, self.command_line)
        self.subcommand = self.config.subcommand
        self.options.ckpt_path = None  # LightningCLI would read it in its own way

    @property
    def options(self) -> Namespace:
        """The options of the command."""
        options: Namespace = self.config[self.subcommand]
        return options

    @override
    def before_instantiate_classes(self) -> None:
        if resumes_in_place(self.subcommand, self.weights):
            self.save_config_kwargs["overwrite"] = True
        elif self.weights is not None:  # the config says which weights were used
            is_pretrained = self.weights.is_pretrained
            self.options.ckpt_path = "pretrained" if is_pretrained else str(self.weights.path)
        if self.subcommand in ("validate", "export"):  # they write no run folder
            self.save_config_callback = None

    @override
    def instantiate_classes(self) -> None:
        try:
            model, data = self.options.model, self.options.data
            if model.get("num_classes", 0) is None:
                dataset = select_dataset(data.get("dataset", "MNIST"), data.get("emnist_split"))
                model.num_classes = len(dataset.class_names)
            self.run = open_run(self.subcommand, self.options.trainer, self.weights)
            with run_of_loggers(self.options.trainer, self.run):
                super().instantiate_classes()
            if self.subcommand == "fit":
                self.datamodule.batch_size_per_process(self.trainer.world_size)
        except InvalidArgumentError as error:
            for group in ("data", "model"):
                if error.name in self.options[group]:
                    option = f"--{group}.{error.name}"
                    raise InvalidArgumentError(option, *error.args[1:]) from error
            raise
        except ValueError as error:
            if rejection := describe_rejection(str(error)):
                raise UsageError(rejection) from error
            raise

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        options = self.config_init[self.subcommand].trainer
        check_integer(
            "--trainer.accumulate_grad_batches", options.accumulate_grad_batches, 1, 2**31 - 1
        )
        check_strategy(options.strategy)
        if options.barebones:  # Lightning's mode for measuring its overhead: nothing is written
            self.save_config_callback = None
            return super().instantiate_trainer(**kwargs)
        kwargs |= trainer_options(self.subcommand, options, self.run, self.weights)
        self.trainer_defaults["callbacks"] = [
            SaveEnvironment(self.command_line),
            *default_callbacks(self.subcommand, options, self.weights),
        ]
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (ValueError, MisconfigurationException) as error:
            raise UsageError(f"the Trainer rejected its options: {error}") from error
        for logger in trainer.loggers if uses_epochs(options) else ():
            use_epochs(logger, trainer)
        return trainer

    @override
    def after_instantiate_classes(self) -> None:
        if self.options.data.get("images") and self.subcommand != "predict":
            raise InvalidArgumentError(
                "--data.images", self.options.data.images, "only predict uses it"
            )
        check_compatibility(self.model, self.datamodule)
        check_normalization(self.model, self.trainer, self.options.trainer.sync_batchnorm)
        if self.model.example_input_array is None and type(self.datamodule) is MNISTDataModule:
            self.model.example_input_array = torch.zeros(1, 1, 28, 28)  # for TensorBoard's graph
        use_optimizer(self.model, self.options)
        if self.weights is not None:
            self.weights.load_into(self.model)

    def _session(self) -> Session:
        has_folder = self.save_config_callback is not None and not is_dry_run(self.trainer)
        return Session(
            self.trainer,
            self.model,
            self.datamodule,
            self.weights,
            resumes=resumes(self.subcommand, self.weights),
            from_pretrained=self.weights is not None and self.weights.is_pretrained,
            seed=self.options.seed_everything,
            program=self.program,
            has_folder=has_folder,
        )

    def fit(self, **kwargs: Any) -> None:
        """Trains, then tests the best checkpoint."""
        root, is_tested = self.options.trainer.default_root_dir, self.options.test_after_fit
        self.results = fit.fit(self._session(), self.run, root, is_tested)

    def validate(self, **kwargs: Any) -> None:
        """Validates the weights."""
        evaluate.validate(self._session())

    def test(self, **kwargs: Any) -> None:
        """Tests the weights and writes ``results.json``."""
        self.results = evaluate.test(self._session())

    def predict(self, **kwargs: Any) -> None:
        """Predicts the test images or your own pictures, and writes ``predictions.csv``."""
        predict.predict(self._session())

    def export(self, format: Format, output: str, **kwargs: Any) -> None:
        """Writes the network to a file."""
        export.export(self._session(), format, output)
