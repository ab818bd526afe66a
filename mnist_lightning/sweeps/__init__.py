"""Hyperparameter search: many fits, each in its own process, compared by a validation metric.

Optuna samples the parameters, decides which trials to prune, and stores the results. The modules,
from the options to the report: ``settings``, ``space``, ``storage``, ``study``, ``trial_runner``
with ``fit_process`` and ``trial``, ``run``, ``progress`` and ``report``.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.datamodule import MNISTDataModule


def run_sweep(
    space: Mapping[str, Any],
    config: str | None = None,
    options: Sequence[str] = (),
    *,
    model_class: type[MNISTClassifier] = MNISTClassifier,
    datamodule_class: type[MNISTDataModule] = MNISTDataModule,
    **settings: Any,
) -> dict[str, Any]:
    """Searches for the best options of ``fit``, as the command ``sweep`` does.

    Each trial is a fit in its own process. A sweep that was interrupted is continued by the same
    call. It requires Optuna: ``pip install 'mnist_lightning[sweep]'``.

    Args:
        space: Maps the dotted name of an option of ``fit`` to a list of values, or to a range:
            ``{"low": 1e-4, "high": 1e-2, "log": True}``, or with a ``step``.
        config: A recipe or the path of a config, for the other options of the fits.
        options: Further options of the fits, such as ``--trainer.max_epochs=3``.
        model_class: Class of the model, which other processes must be able to import. If the
            program defines it, call this function below ``if __name__ == "__main__":``.
        datamodule_class: Class of the data, likewise.
        settings: Further options of the sweep: ``name``, ``trials``, ``timeout``, ``sampler``,
            ``repeats``, ``objective``, ``mode``, ``prune``, ``final``, ``test``, ``storage`` and
            ``jobs``, as in the help of ``sweep``.

    Returns:
        The content of the sweep's ``results.json``: its ``folder``, the number of the best
        ``trial``, its ``parameters``, its objective and the ``standard_error`` (None without
        ``repeats``); with ``final``, the ``results.json`` of the final training. If the space
        contains nothing but seeds: their number, and the mean and standard deviation of each
        metric.

    Raises:
        SystemExit: With 1 if no trial is complete, 2 for invalid options, 129 if the terminal was
            closed, 130 for Ctrl-C, 143 for SIGTERM.

    Example:
        >>> from mnist_lightning import run_sweep
        >>> results = run_sweep(  # doctest: +ELLIPSIS
        ...     {"model.dropout": [0.0, 0.2]}, config="quick", sampler="grid", jobs=2
        ... )
        Sweep quick: ...
        >>> sorted(results["parameters"])
        ['model.dropout']
    """
    from mnist_lightning.cli import main  # only a sweep needs the time to import it

    args = [f"--config={config}"] if config else []
    for name, value in settings.items():
        args.append(f"--{name}={value if isinstance(value, str) else json.dumps(value)}")
    cli = main(
        ["sweep", *args, f"--space={json.dumps(dict(space))}", *options],
        model_class,
        datamodule_class,
    )
    return cli.results
