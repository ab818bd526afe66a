"""Grids of images."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import PcolorImage
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn import functional

from mnist_lightning.figures.style import STYLE, VERMILION, WIDTH, write_title


@STYLE
def plot_prediction_grid(
    images: Tensor,
    labels: Tensor,
    probabilities: Tensor,
    class_names: Sequence[str],
    title: str = "Predictions",
    columns: int = 5,
) -> Figure:
    """Draws a grid of images with true and predicted label; wrong ones are framed and marked.

    Args:
        images: ``(N, 1 or 3, H, W)``; values outside [0, 1] are scaled into it.
        labels: True classes, integers of shape ``(N,)``.
        probabilities: ``(N, num_classes)``; the likeliest class counts as the prediction.
        class_names: A name for each class.
        title: Stands above the grid, with the number of right predictions.
        columns: Images in a row.
    """
    confidence, predicted = probabilities.max(dim=1)
    right = (predicted == labels).tolist()
    arrow = "→" if max(map(len, class_names)) <= 3 else "\n→ "  # short names fit into one line
    captions = [
        f"{class_names[true]}{arrow}{class_names[guess]}  {value:.0%}{'' if fits else ' ✗'}"
        for true, guess, value, fits in zip(
            labels.tolist(), predicted.tolist(), confidence.tolist(), right, strict=True
        )
    ]
    return _plot_mosaic(
        _displayable(images),
        captions,
        f"{title}: {sum(right)} of {len(images)} right",
        columns,
        legend="true label → predicted label and its probability",
        marked=[not fits for fits in right],
    )


@STYLE
def plot_misclassified_grid(
    images: Tensor,
    labels: Tensor,
    probabilities: Tensor,
    class_names: Sequence[str],
    title: str = "Mistakes",
    mistakes: int | None = None,
    columns: int = 5,
) -> Figure:
    """Draws a grid of wrongly classified images with the probabilities of both classes.

    Args:
        images: ``(N, 1 or 3, H, W)``; values outside [0, 1] are scaled into it.
        labels: True classes, integers of shape ``(N,)``.
        probabilities: ``(N, num_classes)``; the likeliest class counts as the prediction.
        class_names: A name for each class.
        title: Stands above the grid.
        mistakes: How many mistakes there are, of which these are the most confident; default: N.
        columns: Images in a row.
    """
    total = len(images) if mistakes is None else mistakes
    confidence, predicted = probabilities.max(dim=1)
    own = probabilities.gather(1, labels.unsqueeze(1)).squeeze(1)
    captions = [
        f"{class_names[true]}  {low:.0%}\n→ {class_names[guess]}  {high:.0%}"
        for true, low, guess, high in zip(
            labels.tolist(), own.tolist(), predicted.tolist(), confidence.tolist(), strict=True
        )
    ]
    legend = "true → predicted label, each with its probability"
    if total > len(images):
        legend = f"the {len(images)} most confident: {legend}"
    return _plot_mosaic(
        _displayable(images),
        captions,
        f"{title}: {total:,} mistake{'s' * (total != 1)}",
        columns,
        legend=legend if len(images) else "",
    )


@STYLE
def plot_pictures(
    pictures: np.ndarray,
    digits: Tensor,
    probabilities: Tensor,
    names: Sequence[str],
    class_names: Sequence[str],
    unsure: float,
    title: str = "Predictions",
    columns: int = 3,
) -> Figure:
    """Draws each picture, beside it what the network saw, and the three likeliest classes.

    Args:
        pictures: ``(N, S, S, 3)`` in [0, 1].
        digits: What was made of them, ``(N, 1, H, W)`` in [0, 1].
        probabilities: ``(N, num_classes)``.
        names: A name for each picture; the ends of long ones are shown.
        class_names: A name for each class.
        unsure: Pictures whose likeliest class has a lower probability are framed.
        title: Stands above the pictures.
        columns: Pictures in a row.
    """
    side = pictures.shape[1]
    seen = _displayable(functional.interpolate(digits, (side, side)))
    gap = np.ones((len(pictures), side, side // 12, 3))
    likeliest, classes = probabilities.topk(min(3, len(class_names)))
    captions = []
    for name, values, ranked in zip(names, likeliest.tolist(), classes.tolist(), strict=True):
        guesses = [
            f"{class_names[i]}: {value:.0%}" for i, value in zip(ranked, values, strict=True)
        ]
        captions.append(f"{name if len(name) <= 25 else '…' + name[-24:]}\n{'   '.join(guesses)}")
    return _plot_mosaic(
        np.concatenate([pictures, gap, seen], axis=2),
        captions,
        title,
        columns,
        legend=f"what the network saw, and what it takes it for; framed: below {unsure:.0%}",
        marked=[value < unsure for value in likeliest[:, 0].tolist()],
    )


@STYLE
def plot_training_images(
    images: Tensor,
    labels: Tensor,
    class_names: Sequence[str],
    title: str = "Training images",
    columns: int = 5,
) -> Figure:
    """Draws a grid of images with their labels.

    Args:
        images: ``(N, 1 or 3, H, W)``; values outside [0, 1] are scaled into it.
        labels: True classes, integers of shape ``(N,)``.
        class_names: A name for each class.
        title: Stands above the grid.
        columns: Images in a row.
    """
    captions = [class_names[label] for label in labels.tolist()]
    return _plot_mosaic(_displayable(images), captions, title, columns)


@STYLE
def plot_filters(weights: Tensor, title: str = "Filters of the first layer") -> Figure:
    """Draws the kernels of a convolution; what is dark answers to ink, as the images are drawn.

    Args:
        weights: ``(N, C, H, W)``; of several channels the mean is drawn, of N the first 64.
        title: Stands above the kernels.
    """
    kernels = weights[:64].detach().float().mean(dim=1).cpu().numpy()
    columns = 4 if len(kernels) <= 16 else 8
    limit = float(np.abs(kernels).max()) or 1.0
    shades = ScalarMappable(Normalize(-limit, limit), "Greys")
    pictures = np.asarray(shades.cmap(shades.norm(kernels)))[..., :3]
    figure = _plot_mosaic(pictures, [""] * len(kernels), title, columns, share=0.8)
    scale = figure.colorbar(
        shades, cax=figure.add_axes((0.84, 0.12, 0.025, 0.6)), ticks=[-limit, 0, limit]
    )
    scale.ax.yaxis.set_major_formatter("{x:.2g}")
    scale.ax.set_title("weight", fontsize=10)
    return figure


def _plot_mosaic(
    pictures: np.ndarray,
    captions: Sequence[str],
    heading: str,
    columns: int,
    legend: str = "",
    marked: Sequence[bool] = (),
    share: float = 1.0,
) -> Figure:
    """Draws pictures ``(N, H, W, 3)`` in rows, ``share`` of the figure's width wide."""
    marked = marked or [False] * len(pictures)
    rows = max(1, -(-len(pictures) // columns))
    enlarged = -(-24 // pictures.shape[1])  # small ones, so that margins are whole pixels
    pictures = pictures.repeat(enlarged, axis=1).repeat(enlarged, axis=2)
    height, width = pictures.shape[1:3]
    lines = max((caption.count("\n") + bool(caption) for caption in captions), default=0)
    pixel = WIDTH * share / (columns * round(1.15 * width))  # of the pictures, in inches
    caption_height = round((0.17 * lines + 0.06) / pixel) if lines else round(0.1 * height)
    below = max(round(0.05 * height), math.ceil(0.04 / pixel))
    pitch_y, pitch_x = height + caption_height + below, round(1.15 * width)
    above = round((0.54 if legend else 0.42) / pixel)
    size = (round(columns * pitch_x / share), rows * pitch_y + above)

    figure = Figure(figsize=(size[0] * pixel, size[1] * pixel))
    write_title(figure, heading)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    # One picture for all images: an axes for each of them would take five times as long.
    mosaic = np.full((rows * pitch_y, size[0], 3), 255, np.uint8)
    frames = []
    long = max((len(line) for caption in captions for line in caption.split("\n")), default=0)
    letter = 0.7 if any(marked) else 0.62  # width of one, in heights
    font = min(10.0, 72 * pitch_x * pixel / (letter * max(1, long)))
    for index, picture in enumerate(pictures):
        top = (index // columns) * pitch_y + caption_height
        start = (index % columns) * pitch_x + (pitch_x - width) // 2
        mosaic[top : top + height, start : start + width] = np.rint(255 * picture)
        frames.append(Rectangle((start - 0.5, top - 0.5), width, height))
        axes.text(
            start - 0.5,
            top - 0.5 - 0.05 / pixel,
            captions[index],
            fontsize=font,
            color=VERMILION if marked[index] else "0.2",
            weight="bold" if marked[index] else "normal",
        )
    # imshow would resample in floating point, which takes ten times as long.
    edges = np.arange(size[0] + 1) - 0.5, np.arange(len(mosaic) + 1) - 0.5
    axes.add_image(PcolorImage(axes, *edges, mosaic))
    axes.add_collection(
        PatchCollection(
            frames,
            facecolors="none",
            edgecolors=[VERMILION if mark else "0.8" for mark in marked],
            linewidths=[3.0 if mark else 1.0 for mark in marked],
        )
    )
    axes.text(size[0] / 2, -0.1 / pixel, legend, color="0.4", fontsize=9, ha="center")
    axes.set(xlim=(-0.5, size[0] - 0.5), ylim=(size[1] - above - 0.5, -above - 0.5))
    return figure


def _displayable(images: Tensor) -> np.ndarray:
    """Returns ``(N, H, W, 3)`` in [0, 1]; grey images as dark ink on white paper."""
    images = images.detach().float().cpu().nan_to_num()
    if len(images):
        low, high = float(images.min()), float(images.max())
        if low < 0 or high > 1:
            images = (images - low) / ((high - low) or 1.0)
    if images.shape[1] == 1:
        images = 1 - images.expand(-1, 3, -1, -1)
    array: np.ndarray = images.permute(0, 2, 3, 1).numpy()
    return array
