"""The commands ``validate`` and ``test``."""

import json
from collections.abc import Mapping
from math import isfinite

from mnist_lightning.cli.session import Session
from mnist_lightning.cli.summary import print_class_table, print_places, print_result
from mnist_lightning.errors import UserError


def validate(session: Session) -> None:
    """Validates the weights and prints the result."""
    results = session.trainer.validate(session.model, datamodule=session.datamodule, verbose=False)
    print_result(session, "Validation", results)


def test(session: Session) -> None:
    """Tests the weights, prints the result and writes it to ``results.json``."""
    results = session.trainer.test(session.model, datamodule=session.datamodule, verbose=False)
    metrics = results[0] if results else {}
    for name, value in metrics.items():
        if not isfinite(value):  # JSON cannot represent it
            weights = session.weights.path if session.weights else "the last training step"
            raise UserError(
                f"{name} is {value} with the weights of {weights}; choose other weights"
            )
    if metrics:
        if session.is_trained:
            _write_results(session, metrics)
        print_class_table(session)
    print_result(session, "Test", results)
    print_places(session)


def _write_results(session: Session, metrics: Mapping[str, float]) -> None:
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
    session.write("results.json", json.dumps(results, indent=2) + "\n")
