"""Random changes of complete batches, by this package and by torchvision."""

import math

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from mnist_lightning import MNISTDataModule, PerImage, RandomDistortion
from mnist_lightning.augment import compose
from mnist_lightning.errors import InvalidArgumentError


def ink(images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the fraction of each image's ink in each pixel, and the (x, y) of each pixel."""
    height, width = images.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    positions = torch.stack([x - (width - 1) / 2, y - (height - 1) / 2], dim=-1).flatten(0, 1)
    return images.flatten(1) / images.flatten(1).sum(1, keepdim=True), positions


def centres(images: Tensor) -> Tensor:
    """Returns the centre of mass of each image, (x, y) in pixels from the middle."""
    fractions, positions = ink(images)
    return fractions @ positions


def moments(images: Tensor) -> Tensor:
    """Returns the second moments xx, xy, yy of each image around its centre, in pixels²."""
    fractions, positions = ink(images)
    positions = positions - centres(images)[:, None]
    products = [positions[..., 0] ** 2, positions.prod(-1), positions[..., 1] ** 2]
    return torch.stack([(fractions * product).sum(1) for product in products], dim=1)


def bars(count: int, height: int = 40, width: int = 40) -> Tensor:
    """Returns images of a centred vertical bar, 4 pixels wide and 20 high."""
    images = torch.zeros(count, 1, height, width)
    y, x = height // 2, width // 2
    images[..., y - 10 : y + 10, x - 2 : x + 2] = 1.0
    return images


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_without_amounts_images_do_not_change() -> None:
    for shape in ((5, 1, 28, 28), (3, 3, 20, 32)):
        images = torch.rand(shape)
        torch.testing.assert_close(RandomDistortion()(images), images, rtol=0, atol=1e-4)


def test_distorts_each_image_differently_in_a_copy() -> None:
    images = bars(100)
    distort = RandomDistortion(5, 0.05, 0.05, 1, 0.5, 0.3)
    distorted = distort(images)
    assert len({tuple(image.flatten().tolist()) for image in distorted}) == 100
    torch.testing.assert_close(images, bars(100))
    assert not torch.equal(distort(images), distorted)
    assert (distorted.min(), distorted.max()) >= (0, 0.9)
    assert distorted.max() <= 1 + 1e-6
    torch.manual_seed(1)
    first = distort(images)
    torch.manual_seed(1)
    assert torch.equal(distort(images), first)


@pytest.mark.parametrize("size", [(40, 40), (40, 64)], ids=str)
def test_translates_by_pixels_along_both_axes(size: tuple[int, int]) -> None:
    shift = centres(RandomDistortion(translation=2)(bars(2000, *size))) - centres(bars(1, *size))
    assert shift.mean(0).tolist() == pytest.approx([0, 0], abs=0.2)
    assert shift.std(0).tolist() == pytest.approx([2, 2], rel=0.1)


@pytest.mark.parametrize("size", [(40, 40), (40, 64)], ids=str)
def test_rotates_by_degrees_without_scaling(size: tuple[int, int]) -> None:
    xx, xy, yy = moments(RandomDistortion(rotation=10)(bars(2000, *size))).unbind(1)
    angles = 0.5 * torch.atan2(2 * xy, yy - xx)
    assert float(angles.mean()) == pytest.approx(0, abs=math.radians(1))
    assert float(angles.std()) == pytest.approx(math.radians(10), rel=0.1)
    before = moments(bars(1, *size))[0]
    torch.testing.assert_close(
        xx + yy, torch.full((2000,), float(before[0] + before[2])), rtol=0.03, atol=0
    )


def test_scales_each_axis_independently() -> None:
    xx, _, yy = (moments(RandomDistortion(scale=0.1)(bars(2000))) / moments(bars(1))).unbind(1)
    scale_x, scale_y = xx.log() / 2, yy.log() / 2
    assert float(scale_y.mean()) == pytest.approx(0, abs=0.02)
    assert float(scale_y.std()) == pytest.approx(0.1, rel=0.15)
    assert float(scale_x.std()) == pytest.approx(0.1, rel=0.25)  # less exact: 4 pixels wide
    assert abs(float(torch.corrcoef(torch.stack([scale_x, scale_y]))[0, 1])) < 0.1


def test_shears_columns_but_not_rows() -> None:
    _, xy, yy = moments(RandomDistortion(shear=0.2)(bars(2000))).unbind(1)
    assert float((xy / yy).mean()) == pytest.approx(0, abs=0.02)
    assert float((xy / yy).std()) == pytest.approx(0.2, rel=0.1)
    torch.testing.assert_close(yy, moments(bars(1))[0, 2].expand(2000), rtol=0.02, atol=0)


def test_elastic_distortion_is_smooth() -> None:
    """A grey ramp shows how far each pixel is shifted."""
    ramp = torch.linspace(0, 1, 40).expand(2000, 1, 40, 40)
    shift = (RandomDistortion(elastic=1.5)(ramp) - ramp)[..., 8:-8, 8:-8] * 39
    assert float(shift.mean()) == pytest.approx(0, abs=0.1)
    assert 0.6 < float(shift.std()) < 1.5  # most pixels are further inside than the knots
    change_x, change_y = shift.diff(dim=-1).abs(), shift.diff(dim=-2).abs()
    assert max(float(change_x.max()), float(change_y.max())) < 1
    assert shift.std(dim=(-1, -2)).mean() > 0.2  # not only a translation


def test_makes_strokes_thicker_and_thinner() -> None:
    bar = bars(1)
    area = RandomDistortion(stroke=0.5)(bars(2000)).sum(dim=(1, 2, 3)) / bar.sum()
    assert 0.4 < float((area > 1).float().mean()) < 0.6
    thickest, thinnest = 6 * 22 / (4 * 20), 2 * 18 / (4 * 20)
    assert float(area.max()) == pytest.approx(thickest, rel=1e-3)
    assert float(area.min()) == pytest.approx(thinnest, rel=1e-3)
    slightly_changed = RandomDistortion(stroke=0.01)(bar)
    assert slightly_changed.sum() != bar.sum()
    assert float(slightly_changed.sum() / bar.sum()) == pytest.approx(1, abs=0.03)


def test_pixels_from_outside_are_black() -> None:
    white = torch.ones(500, 1, 28, 28)
    shifted = RandomDistortion(translation=5)(white)
    assert shifted[:, 0, 0, 0].min() == 0
    assert shifted.max() <= 1 + 1e-6


@pytest.mark.parametrize("name", ["rotation", "scale", "shear", "translation", "elastic", "stroke"])
@pytest.mark.parametrize("amount", [-0.1, math.inf, math.nan])
def test_rejects_negative_and_infinite_amounts(name: str, amount: float) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{name} is {amount!r}; it must be at least 0"):
        RandomDistortion(**{name: amount})


def test_a_distorted_digit_resembles_the_original(sample: MNISTDataModule) -> None:
    images = sample.train_set.images[:200] / 255
    distorted = RandomDistortion(5, 0.05, 0.05, 0.5, 0.3, 0.2)(images)
    pairs = torch.stack([images.flatten(1), distorted.flatten(1)], dim=1)
    correlations = [float(torch.corrcoef(pair)[0, 1]) for pair in pairs]
    assert 0.7 < sum(correlations) / len(correlations) < 0.99


def num_different(images: Tensor) -> int:
    """Returns the number of different images in a batch."""
    return len({image.numpy().tobytes() for image in images})


def test_torchvision_samples_once_per_batch_and_per_image_samples_for_each_image() -> None:
    images = bars(20)
    transform = v2.RandomAffine(20, translate=(0.1, 0.1))
    assert num_different(transform(images)) == 1
    changed = PerImage(transform)(images)
    assert changed.shape == images.shape
    assert num_different(changed) == 20
    assert num_different(images) == 1
    assert num_different(RandomDistortion(rotation=20)(images)) == 20


def test_per_image_keeps_the_order() -> None:
    images = torch.rand(5, 3, 20, 32)
    assert torch.equal(PerImage(nn.Identity())(images), images)


@pytest.mark.parametrize("transform", [None, abs, v2.RandomAffine, "rotate"], ids=repr)
def test_per_image_rejects_what_is_not_a_module(transform: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^transform is .*; it must be a torch.nn.Mod"):
        PerImage(transform)  # type: ignore[arg-type]


class Add(nn.Module):
    """Adds a number to images."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, images: Tensor) -> Tensor:
        """Returns the sums."""
        return images + self.number


def test_modules_of_a_list_are_applied_in_order() -> None:
    single = Add(1)
    assert compose(single) is single
    assert compose(None) is None
    for several in ([Add(1), v2.GaussianNoise(0, 0), Add(2)], (Add(1), Add(2))):
        augment = compose(several)
        assert augment is not None
        torch.testing.assert_close(augment(torch.zeros(2, 1, 4, 4)), torch.full((2, 1, 4, 4), 3.0))


@pytest.mark.parametrize(
    "augment", [3, [Add(1), 3], [None], [abs], nn.Module(), v2.RandomAffine], ids=repr
)
def test_rejects_what_cannot_augment(augment: object) -> None:
    message = r"^augment is .*; it must be a torch.nn.Module that maps images to images, or a list"
    with pytest.raises(InvalidArgumentError, match=message):
        MNISTDataModule(augment=augment)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "augment",
    [
        v2.RandomAffine(30, translate=(0.1, 0.1), scale=(0.9, 1.1)),
        v2.Compose([v2.RandomCrop(28, padding=2), v2.RandomErasing(p=1)]),
        [v2.ElasticTransform(20.0), RandomDistortion(stroke=0.5)],
        PerImage(v2.RandomRotation((10, 20))),
        nn.Sequential(Add(0.5), v2.RandomInvert(p=1)),
    ],
    ids=["affine", "compose", "list", "per image", "own module"],
)
def test_any_transform_augments_the_training_images(augment: nn.Module) -> None:
    data = MNISTDataModule(source="sample", augment=augment)
    data.setup("fit")
    originals = {image.numpy().tobytes() for image in data.train_set.images / 255}
    images, labels = next(iter(data.train_dataloader()))
    assert images.shape == (128, 1, 28, 28)
    assert labels.dtype == torch.int64
    assert not originals & {image.numpy().tobytes() for image in images}
    image, _ = data.train_set[0]
    assert image.numpy().tobytes() not in originals
    validation_images, _ = next(iter(data.val_dataloader()))
    torch.testing.assert_close(validation_images, data.val_set.images[:512] / 255)
