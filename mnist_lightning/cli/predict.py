"""The command ``predict``."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mnist_lightning.callbacks.captions import class_names
from mnist_lightning.cli.report import PredictedImage, prediction_csv, prediction_table
from mnist_lightning.cli.session import Session
from mnist_lightning.cli.summary import print_line, print_places, print_provenance, print_result
from mnist_lightning.errors import UsageError, UserError
from mnist_lightning.figures.pictures import PredictedPicture, plot_pictures
from mnist_lightning.figures.publish import publish
from mnist_lightning.pictures import UNSURE_BELOW
from mnist_lightning.pictures.dataset import PictureDigits
from mnist_lightning.pictures.digits import average_sizes, choose_number
from mnist_lightning.pictures.ink import UnreadablePictureError
from mnist_lightning.pictures.normalize import MNIST_SIZE

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
    pictures = session.datamodule.pictures
    if pictures is not None:
        probabilities = average_sizes(probabilities)
        images = _read_numbers(pictures, probabilities)
        _publish_pictures(session, pictures, images, probabilities)
    else:
        images = [
            PredictedImage(f"test/{index:05d}", [index]) for index in range(len(probabilities))
        ]
    content = prediction_csv(images, probabilities)
    session.write("predictions.csv", content)
    labels = class_names(session.trainer, None, probabilities.shape[1])
    max_rows = MAX_TEST_ROWS if pictures is None else MAX_PICTURE_ROWS
    print_line(prediction_table(images, probabilities, labels, max_rows))
    if session.has_folder:
        rows = content.count("\n") - 1
        print_line(f"predictions.csv has {rows:,} row{'s' * (rows != 1)}")
    print_provenance(session)
    print_places(session)
    _check_all_predicted(images)


def _read_numbers(pictures: PictureDigits, probabilities: Tensor) -> list[PredictedImage]:
    """Chooses the digits of each picture among all readings."""
    images, first_row = [], 0
    for name, lines in pictures.results.items():
        if isinstance(lines, UnreadablePictureError):
            images.append(PredictedImage(name, [], reason=str(lines)))
            continue
        count = sum(len(reading.boxes) for line in lines for reading in line)
        number = choose_number(lines, probabilities[first_row : first_row + count])
        rows = [first_row + digit for digit in number.digits]
        images.append(PredictedImage(name, rows, number.text))
        first_row += count
    return images


def _publish_pictures(
    session: Session,
    pictures: PictureDigits,
    images: Sequence[PredictedImage],
    probabilities: Tensor,
) -> None:
    predicted = [image for image in images if image.digits]
    if not predicted:
        return
    first_row, shown = 0, []
    for picture, image in zip(pictures.shown, predicted, strict=False):
        digits = [row - first_row for row in image.digits]
        first_row += len(picture.inputs)
        shown.append(
            PredictedPicture(
                image.name,
                picture.thumbnail,
                [picture.boxes[digit] for digit in digits],
                picture.inputs[digits, MNIST_SIZE].unsqueeze(1),
                probabilities[list(image.digits)],
                image.number,
            )
        )
    number = f"{len(predicted):,} picture{'s' * (len(predicted) != 1)}"
    title = number if len(shown) == len(predicted) else f"First {len(shown)} of {number}"
    labels = class_names(session.trainer, None, probabilities.shape[1])
    publish(
        session.trainer,
        lambda: plot_pictures(shown, labels, UNSURE_BELOW, title),
        "predictions",
        "predictions",
        session.epochs,
    )


def _check_all_predicted(images: Sequence[PredictedImage]) -> None:
    failed = [image.name for image in images if not image.digits]
    if failed:
        names = ", ".join(failed[:5]) + (", …" if len(failed) > 5 else "")
        raise UserError(f"found no digit in {len(failed)} of {len(images):,} pictures: {names}")
