"""Training images that MNIST lacks."""

import pytest
import torch
from torch import nn

from mnist_lightning import (
    EuropeanDigits,
    MNISTClassifier,
    MNISTDataModule,
    NonDigits,
    RandomDistortion,
)
from mnist_lightning.augment import augment_batch
from mnist_lightning.callbacks.batches import unpack_batch
from mnist_lightning.data.in_memory import Batch
from mnist_lightning.errors import InvalidArgumentError


@pytest.fixture(scope="module")
def batch(sample: MNISTDataModule) -> Batch:
    return sample.test_set.batch(torch.arange(500))


def test_only_ones_and_sevens_are_changed(batch: Batch) -> None:
    images, labels = batch
    torch.manual_seed(0)
    changed, new_labels = EuropeanDigits(0.99)(images, labels)
    assert torch.equal(new_labels, labels)
    assert (changed >= 0).all()
    assert (changed <= 1).all()
    differs = (changed != images).flatten(1).any(dim=1)
    assert not differs[(labels != 1) & (labels != 7)].any()
    for label in (1, 7):
        assert differs[labels == label].float().mean() > 0.9
        ink = [part[labels == label].sum(dim=(1, 2, 3)).mean() for part in (images, changed)]
        assert 1.05 < ink[1] / ink[0] < 2
    assert torch.equal(EuropeanDigits(0)(images, labels)[0], images)


def test_flags_are_at_the_upper_left() -> None:
    images = torch.zeros(200, 1, 28, 28)
    images[:, :, 4:24, 13:15] = 1  # a vertical 1
    torch.manual_seed(0)
    changed, _ = EuropeanDigits(0.99)(images, torch.ones(200, dtype=torch.long))
    mean = changed.mean(dim=0)[0]
    stem = int(mean.sum(dim=0).argmax())
    upper, lower = mean[4:14], mean[14:23]  # the base is below
    assert upper[:, : stem - 2].sum() > 5 * upper[:, stem + 3 :].sum()
    assert upper[:, : stem - 2].sum() > 2 * lower[:, : stem - 2].sum()
    x = (changed[:, 0].sum(dim=1) * torch.arange(28)).sum(dim=1) / changed.sum(dim=(1, 2, 3))
    assert ((x - 13.5).abs() <= 0.51).all()  # the centre of mass remains in the middle


def test_replaces_a_fraction_by_images_that_are_not_digits(batch: Batch) -> None:
    images, labels = batch
    torch.manual_seed(0)
    changed, targets = NonDigits(0.2)(images, labels)
    assert changed.shape == images.shape
    is_replaced = targets.amax(dim=1) < 1
    assert 0.15 < is_replaced.float().mean() < 0.25
    assert torch.equal(targets[is_replaced], torch.full((int(is_replaced.sum()), 10), 0.1))
    is_kept = ~is_replaced
    assert torch.equal(changed[is_kept], images[is_kept])
    assert torch.equal(targets[is_kept], nn.functional.one_hot(labels[is_kept], 10).float())
    model = MNISTClassifier.from_pretrained().eval()
    confidence = [
        model.predict_step(part[is_replaced]).amax(dim=1).mean() for part in (images, changed)
    ]
    assert confidence[1] < confidence[0] - 0.1  # weights that were not trained to doubt do, too


def test_labels_pass_through_a_list_of_transforms(batch: Batch) -> None:
    transforms = nn.Sequential(NonDigits(0.1), nn.Sequential(RandomDistortion(rotation=5)))
    images, targets = augment_batch(transforms, *batch)
    assert images.shape == batch[0].shape
    assert targets.shape == (500, 10)
    images, labels = augment_batch(RandomDistortion(rotation=5), *batch)
    assert torch.equal(labels, batch[1])


def test_callbacks_accept_probabilities_as_labels(batch: Batch) -> None:
    images, targets = NonDigits(0.1)(*batch)
    _, labels = unpack_batch((images, targets))
    is_replaced = targets.amax(dim=1) < 1
    assert torch.equal(labels, batch[1].masked_fill(is_replaced, -1))


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda: EuropeanDigits(1.0), "probability is 1.0; it must be at least 0 and below 1"),
        (lambda: NonDigits(-0.1), "fraction is -0.1; it must be at least 0 and below 0.5"),
        (lambda: NonDigits(num_classes=1), "num_classes is 1; it must be an integer from 2"),
    ],
)
def test_rejects_invalid_arguments(create: object, message: str) -> None:
    assert callable(create)
    with pytest.raises(InvalidArgumentError, match=message):
        create()
