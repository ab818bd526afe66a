"""The callback ConfusionMatrix."""

from pathlib import Path

import torch
from drawings import Drawing
from foreign import ForeignClassifier, loader
from trainers import quiet_trainer

from mnist_lightning import ConfusionMatrix, MNISTClassifier, MNISTDataModule


def tick_labels(drawing: Drawing) -> list[str]:
    return [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]


def test_counts_every_image_once(
    tmp_path: Path, sample: MNISTDataModule, drawn: list[Drawing]
) -> None:
    model, callback = MNISTClassifier(), ConfusionMatrix()
    trainer = quiet_trainer(
        default_root_dir=tmp_path, callbacks=[callback], limit_train_batches=20, max_epochs=2
    )
    trainer.fit(model, sample)
    trainer.test(model, sample, verbose=False)
    assert [(drawing.name, drawing.tag, drawing.epoch) for drawing in drawn] == [
        ("confusion_matrix", "confusion matrix, validation", 2),  # only at the end
        ("confusion_matrix", "confusion matrix, test", 2),
    ]

    images, labels = sample.test_set.batch(torch.arange(1000))
    with torch.no_grad():
        predicted = model.eval()(images).argmax(dim=1)
    expected = torch.zeros(10, 10, dtype=torch.long)
    for row, column in zip(labels.tolist(), predicted.tolist(), strict=True):
        expected[row, column] += 1
    assert callback.matrix is not None
    assert torch.equal(callback.matrix, expected)
    num_mistakes = 1000 - int(expected.trace())
    assert 0 < num_mistakes < 900
    assert drawn[1].title == f"MNIST sample, test images: {num_mistakes} of 1,000 misclassified"
    assert drawn[0].title.endswith(" of 800 misclassified")


def test_custom_names_take_precedence_over_those_of_the_data_module(
    tmp_path: Path, sample: MNISTDataModule, drawn: list[Drawing]
) -> None:
    trainer = quiet_trainer(
        default_root_dir=tmp_path, callbacks=[ConfusionMatrix(class_names=["zero", "one"])]
    )
    trainer.test(MNISTClassifier(), sample, verbose=False)
    assert tick_labels(drawn[0]) == ["zero", "one", *"23456789"]


def test_supports_inputs_that_are_not_images(tmp_path: Path, drawn: list[Drawing]) -> None:
    features, labels = torch.randn(10, 7), torch.tensor([0, 1] * 5)
    data = loader(features, labels)
    callback = ConfusionMatrix(class_names=["cat", "dog"])
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[callback], max_epochs=1)
    trainer.fit(ForeignClassifier(7, classes=2), data, data)
    (drawing,) = drawn
    assert tick_labels(drawing) == ["cat", "dog"]
    assert callback.matrix is not None
    assert callback.matrix.sum(dim=1).tolist() == [5, 5]
