"""The command ``sweep``."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock
from jsonargparse import Namespace
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import SIGTERMException
from typing_extensions import override

from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.cli.configs import resolve_configs
from mnist_lightning.cli.help import command_texts, program_name
from mnist_lightning.cli.optimizers import check_optimizer
from mnist_lightning.cli.options import add_options
from mnist_lightning.cli.parser import OneSentenceParser
from mnist_lightning.cli.run_trainer import RunTrainer
from mnist_lightning.cli.summary import print_line
from mnist_lightning.cli.trainer_defaults import TRAINER_DEFAULTS
from mnist_lightning.cli.variables import errors_name_variables, options_of_environment
from mnist_lightning.datamodule import MNISTDataModule
from mnist_lightning.errors import InvalidArgumentError, UsageError, UserError
from mnist_lightning.figures.metric_axis import format_metric
from mnist_lightning.files import write_atomically
from mnist_lightning.sweeps.fit_process import IN_TRIAL, format_options
from mnist_lightning.sweeps.report import SweepReport, diff_from_defaults
from mnist_lightning.sweeps.run import Sweep
from mnist_lightning.sweeps.settings import SweepSettings
from mnist_lightning.sweeps.space import Range
from mnist_lightning.sweeps.study import SweepStudy
from mnist_lightning.sweeps.trial import class_path

log = logging.getLogger(__name__)
SETTINGS = [field.name for field in fields(SweepSettings)]


class SweepCLI(LightningCLI):
    """Parses the options of ``fit`` and of the sweep, and executes the sweep.

    Args:
        args: The command line after ``sweep``.
        model_class: Class of the model.
        datamodule_class: Class of the data.
    """

    results: dict[str, Any]
    """The content of the sweep's ``results.json``."""

    def __init__(
        self,
        args: list[str],
        model_class: type[MNISTClassifier] = MNISTClassifier,
        datamodule_class: type[MNISTDataModule] = MNISTDataModule,
    ) -> None:
        if IN_TRIAL in os.environ:
            raise UsageError(
                "importing this program starts a sweep; move that call below "
                "if __name__ == '__main__':, because each trial imports the program"
            )
        own_classes = (model_class, datamodule_class) != (MNISTClassifier, MNISTDataModule)
        program = program_name(own_classes)
        self._classes = class_path(model_class), class_path(datamodule_class)
        super().__init__(
            model_class,
            datamodule_class,
            trainer_class=RunTrainer,
            trainer_defaults=dict(TRAINER_DEFAULTS),
            save_config_callback=None,
            seed_everything_default=0,
            parser_class=OneSentenceParser,
            parser_kwargs=command_texts(program, "sweep"),
            args=args,
            run=False,
            auto_configure_optimizers=False,
        )
        self._sweep()

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        add_options(parser)
        parser.add_class_arguments(SweepSettings, None)

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        assert isinstance(args, list)
        variables = options_of_environment("sweep")
        option_names = {arg.partition("=")[0] for arg in args}
        with errors_name_variables("sweep", set(variables) - option_names):
            self._args = [*resolve_configs([*variables.values()]), *resolve_configs(args)]
            self.config = parser.parse_args(self._args)
        settings = {name: self.config[name] for name in SETTINGS}
        settings["space"] = _without_namespaces(settings["space"])
        self.settings = SweepSettings(**settings)

    @override
    def instantiate_classes(self) -> None:
        """Instantiates nothing; the process of each fit does."""

    def _sweep(self) -> None:
        if self.config.ckpt_path not in (None, "pretrained"):
            raise InvalidArgumentError(
                "--ckpt_path", self.config.ckpt_path, "a sweep accepts pretrained only"
            )
        for name in ("fast_dev_run", "barebones"):
            if value := self.config.trainer[name]:
                requirement = "a sweep compares the results of complete fits"
                raise InvalidArgumentError(f"--trainer.{name}", value, requirement)
        if self.settings.final and (value := self.config.trainer.limit_test_batches) == 0:
            requirement = "--final tests the best setting"
            raise InvalidArgumentError("--trainer.limit_test_batches", value, requirement)
        self._check_space()
        sweep = Sweep(
            self.settings,
            self._resolve({}),
            Path(self.config.trainer.default_root_dir or ""),
            self.settings.name or _name(self._args),
            self._classes,
        )
        with sweep.open() as study:
            print_line(f"Sweep {sweep.name}: {sweep.folder}")
            try:
                sweep.execute(study, print_line)
                # Otherwise, a slow process could overwrite the report of one that saw more trials.
                with FileLock(sweep.folder / ".report.lock"):
                    self._report(sweep, study)
            except (KeyboardInterrupt, SIGTERMException, OSError):
                log.warning("To continue the sweep, run the same command again")
                raise

    def _resolve(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the options of a fit with these parameters.

        Raises:
            UserError: If the name or the value of a parameter is invalid.
        """
        assert isinstance(self.parser, OneSentenceParser)
        args = [*self._args, *format_options(parameters)]
        options = self.parser.parse_args(args)
        check_optimizer(options, self.parser, {arg.partition("=")[0] for arg in args})
        return self._to_dict(options)

    def _to_dict(self, options: Namespace) -> dict[str, Any]:
        config = yaml.safe_load(self.parser.dump(options, skip_none=False))
        return {name: value for name, value in config.items() if name not in SETTINGS}

    def _check_space(self) -> None:
        """Checks the names of all parameters, and that all values have the right type."""
        columns = {
            name: [values.low, values.high] if isinstance(values, Range) else values
            for name, values in self.settings.parsed_space.items()
        }
        for row in range(max(map(len, columns.values()))):
            try:
                self._resolve(
                    {name: column[min(row, len(column) - 1)] for name, column in columns.items()}
                )
            except UserError as error:
                raise UsageError(f"--space: {error}") from error

    def _report(self, sweep: Sweep, study: SweepStudy) -> None:
        report = SweepReport(study, self.settings, sweep.folder)
        num_unfinished = sum(not trial.state.is_finished() for trial in report.trials)
        if num_unfinished:
            print_line(
                f"Not finished: {num_unfinished} of {len(report.trials)} trials. Other processes "
                "are running them, or continue them when they run the same command again"
            )
        if not report.ranking:
            report.write(None)
            if num_unfinished:
                return
            reason = next((t.user_attrs.get("reason") for t in report.trials[::-1]), "none started")
            raise UserError(
                f"no trial is complete ({reason}); choose another --name, or delete {sweep.folder}"
            )
        best = report.ranking[0]
        has_choice = not self.settings.has_only_seeds
        defaults = self.parser.parse_args([f"--space={json.dumps(self.settings.space)}"])
        config = diff_from_defaults(self._resolve(best.params), self._to_dict(defaults))
        report.write(config if has_choice else None)
        print_line(report.table())
        self.results = report.results()
        if has_choice and self.settings.final and not num_unfinished:
            metrics = self.results["final"] = sweep.train_final(best).metrics
            values = ", ".join(
                f"{name} {format_metric(metrics[name], name)}"
                for name in ("test/acc", "test/loss")
                if name in metrics
            )
            print_line(
                f"Trial {best.number} was trained again with seed {metrics['seed']} and tested "
                f"once: {values}"
            )
            if (count := len([*sweep.folder.glob("final_*")])) > 1:
                print_line(f"NOTE: {count} settings of this sweep were tested, one after the other")
        text = json.dumps(self.results, indent=2) + "\n"
        write_atomically(sweep.folder / "results.json", text.encode())
        print_line(f"Sweep folder: {sweep.folder}")


def _without_namespaces(value: Any) -> Any:
    """Returns a value as in a config, where jsonargparse has made Namespaces of classes."""
    if isinstance(value, Namespace):
        return value.as_dict()
    if isinstance(value, list):
        return [_without_namespaces(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_namespaces(item) for name, item in value.items()}
    return value


def _name(args: Sequence[str]) -> str:
    """Returns the names of the configs, joined by a hyphen."""
    stems = [Path(arg.partition("=")[2]).stem for arg in args if arg.startswith("--config=")]
    return "-".join(stems) or "sweep"
