"""The command ``predict``."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mnist_lightning.callbacks.captions import class_names
from mnist_lightning.cli.report import prediction_csv, prediction_table
from mnist_lightning.cli.session import Session
from mnist_lightning.cli.summary import print_line, print_places, print_provenance, print_result
from mnist_lightning.errors import UsageError, UserError
from mnist_lightning.figures.grids import plot_pictures
from mnist_lightning.figures.publish import publish
from mnist_lightning.pictures import UNSURE_BELOW
from mnist_lightning.pictures.reading import PictureDigits

MAX_TEST_ROWS, MAX_PICTURE_ROWS = 10, 100  # in the printed table


def predict(session: Session) -> None:
    """Predicts the test images or your own pictures, and writes ``predictions.csv``.

    Raises:
        UsageError: If there are several devices.
        UserError: If a picture cannot be read or shows no digit, after all others are predicted.
    """
    if session.trainer.world_size > 1:
        raise UsageError("predict works on one device only; use --trainer.devices 1")
    outputs = session.trainer.predict(session.model, datamodule=session.datamodule)
    batches = [output for output in outputs or () if isinstance(output, Tensor)]
    if not batches:
        print_result(session, "Prediction", [])
        return
    probabilities = torch.cat(batches).cpu()
    results: Mapping[str, str | None]
    pictures = session.datamodule.pictures
    if pictures is not None:
        results, max_rows = pictures.results, MAX_PICTURE_ROWS
        _publish_pictures(session, pictures, probabilities)
    else:
        names = (f"test/{index:05d}" for index in range(len(probabilities)))
        results, max_rows = dict.fromkeys(names), MAX_TEST_ROWS
    session.write("predictions.csv", prediction_csv(results, probabilities))
    labels = class_names(session.trainer, None, probabilities.shape[1])
    print_line(prediction_table(results, probabilities, labels, max_rows))
    if session.has_folder:
        print_line(f"predictions.csv has {len(results):,} row{'s' * (len(results) != 1)}")
    print_provenance(session)
    print_places(session)
    _check_all_predicted(results)


def _publish_pictures(session: Session, pictures: PictureDigits, probabilities: Tensor) -> None:
    shown = pictures.shown
    if not shown:
        return
    names, thumbnails, digits = zip(*shown, strict=True)
    number = f"{len(probabilities):,} picture{'s' * (len(probabilities) != 1)}"
    publish(
        session.trainer,
        lambda: plot_pictures(
            np.stack(thumbnails),
            torch.stack(digits),
            probabilities[: len(shown)],
            names,
            class_names(session.trainer, None, probabilities.shape[1]),
            UNSURE_BELOW,
            number if len(shown) == len(probabilities) else f"First {len(shown)} of {number}",
        ),
        "predictions",
        "predictions",
        session.epochs,
    )


def _check_all_predicted(results: Mapping[str, str | None]) -> None:
    failed = [name for name, reason in results.items() if reason is not None]
    if failed:
        names = ", ".join(failed[:5]) + (", …" if len(failed) > 5 else "")
        raise UserError(f"found no digit in {len(failed)} of {len(results):,} pictures: {names}")
