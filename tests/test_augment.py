"""Random distortions of complete batches."""

import math

import pytest
import torch
from torch import Tensor

from mnist_lightning import MNISTDataModule, RandomDistortion
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
