"""The commands ``validate`` and ``test``."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from mnist_lightning.callbacks.probability_metrics import ProbabilityMetrics
from mnist_lightning.cli.session import Session
from mnist_lightning.cli.summary import (
    print_class_table,
    print_line,
    print_places,
    print_provenance,
    print_result,
)
from mnist_lightning.errors import UserError


def validate(session: Session) -> None:
    """Validates the weights and prints the result."""
    results = session.trainer.validate(session.model, datamodule=session.datamodule, verbose=False)
    print_result(session, "Validation", results)


def test(session: Session) -> dict[str, Any]:
    """Tests the weights, prints the result, and writes it to ``results.json``.

    Returns:
        The content of ``results.json``.
    """
    outputs = session.trainer.test(session.model, datamodule=session.datamodule, verbose=False)
    metrics = outputs[0] if outputs else {}
    for name, value in metrics.items():
        if not isfinite(value):  # JSON cannot represent it
            weights = session.weights.path if session.weights else "the last training step"
            raise UserError(
                f"{name} is {value} with the weights of {weights}; choose other weights"
            )
    results: dict[str, Any] = {**session.validation_metrics(), **metrics}
    if metrics:
        for callback in session.trainer.callbacks:  # type: ignore[attr-defined]
            results |= callback.values if isinstance(callback, ProbabilityMetrics) else {}
        results = _write_results(session, results)
        print_class_table(session)
    print_result(session, "Test", outputs)
    print_places(session)
    return results


def skip_test(session: Session) -> dict[str, Any]:
    """Prints the validation metrics of the weights, and writes them to ``results.json``.

    Returns:
        The content of ``results.json``.
    """
    metrics = session.validation_metrics()
    results = _write_results(session, metrics)
    if metrics:
        print_result(session, "Validation", [metrics])
    else:
        print_line("These weights were not validated")
        print_provenance(session)
    print_places(session)
    return results


def _write_results(session: Session, metrics: Mapping[str, float]) -> dict[str, Any]:
    """Writes ``results.json``, unless the weights are untrained, and returns its content."""
    weights = session.weights
    results = {
        **metrics,
        "dataset": session.datamodule.dataset_name,
        "checkpoint": str(weights.path.absolute()) if weights else None,
        "checkpoint_epoch": session.epochs,
        "epochs": session.trainer.current_epoch or session.epochs,
        "parameters": sum(parameter.numel() for parameter in session.model.parameters()),
        "seed": session.seed,
    }
    if session.is_trained:
        session.write("results.json", json.dumps(results, indent=2) + "\n")
    return results
