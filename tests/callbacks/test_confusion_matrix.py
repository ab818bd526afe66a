"""The matrix of our model and of others."""

from pathlib import Path

import torch
from drawings import Drawing
from foreign import Foreign, loader
from trainers import quiet_trainer

from mnist_lightning import ConfusionMatrix, MNISTClassifier, MNISTDataModule


def test_counts_every_image_once(
    tmp_path: Path, sample: MNISTDataModule, drawn: list[Drawing]
) -> None:
    model, callback = MNISTClassifier(), ConfusionMatrix()
    trainer = quiet_trainer(
        default_root_dir=tmp_path, callbacks=[callback], limit_train_batches=20, max_epochs=2
    )
    trainer.fit(model, sample)
    trainer.test(model, sample, verbose=False)
    assert [(one.name, one.tag, one.epoch) for one in drawn] == [
        ("confusion_matrix", "confusion matrix, validation", 2),  # once, at the end
        ("confusion_matrix", "confusion matrix, test", 2),
    ]

    images, labels = sample.test_set.batch(torch.arange(1000))
    with torch.no_grad():
        predicted = model.eval()(images).argmax(dim=1)
    expected = torch.zeros(10, 10, dtype=torch.long)
    for true, guess in zip(labels.tolist(), predicted.tolist(), strict=True):
        expected[true, guess] += 1
    assert callback.matrix is not None
    assert torch.equal(callback.matrix, expected)
    wrong = 1000 - int(expected.trace())
    assert 0 < wrong < 900
    assert drawn[1].title == f"MNIST sample, test images: {wrong} of 1,000 wrong"
    assert drawn[0].title.endswith(" of 800 wrong")


def test_given_names_go_before_those_of_the_data(
    tmp_path: Path, sample: MNISTDataModule, drawn: list[Drawing]
) -> None:
    trainer = quiet_trainer(
        default_root_dir=tmp_path, callbacks=[ConfusionMatrix(class_names=["zero", "one"])]
    )
    trainer.test(MNISTClassifier(), sample, verbose=False)
    ticks = [label.get_text() for label in drawn[0].figure.axes[0].get_yticklabels()]
    assert ticks == ["zero", "one", *"23456789"]


def test_needs_no_pictures_and_takes_names(tmp_path: Path, drawn: list[Drawing]) -> None:
    features, labels = torch.randn(10, 7), torch.tensor([0, 1] * 5)
    data = loader(features, labels)
    callback = ConfusionMatrix(class_names=["cat", "dog"])
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[callback], max_epochs=1)
    trainer.fit(Foreign(7, classes=2), data, data)
    (one,) = drawn
    ticks = [label.get_text() for label in one.figure.axes[0].get_yticklabels()]
    assert ticks == ["cat", "dog"]
    assert callback.matrix is not None
    assert callback.matrix.sum(dim=1).tolist() == [5, 5]
