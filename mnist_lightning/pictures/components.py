"""Connected components of ink, and those that are not handwriting.

The page to draw on has the same functions in ``export/page/segment.js``.
"""

from typing import NamedTuple, Self

import numpy as np

from mnist_lightning.pictures.image_math import Array
from mnist_lightning.pictures.ink import UnreadablePictureError

MAX_INK_RATIO = 25  # a component with less ink than a 25th of the largest one is a speck
MAX_COMPONENTS = 500

MIN_LENGTH_OF_RULE = 0.95  # of a ruled line or a grid, relative to the picture
MIN_ASPECT_RATIO_OF_RULE = 5  # of a horizontal one: width by height
MIN_ASPECT_RATIO_OF_VERTICAL_RULE = 15  # height by width; a 1 is less slender
MIN_HEIGHT_IN_FRAME = 0.2  # of a digit in a frame, relative to the frame
MIN_COVERED_SIDE = 0.9  # of the sides of a frame


class Component(NamedTuple):
    """Connected components of ink that belong to the same digit, and their bounding box."""

    labels: tuple[int, ...]
    ink: float
    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Width of the bounding box."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Height of the bounding box."""
        return self.bottom - self.top

    def __or__(self, other: Self) -> "Component":
        """Returns the union of two components."""
        return Component(
            self.labels + other.labels,
            self.ink + other.ink,
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )


def measure_components(coarse: Array, labels: Array) -> list[Component]:
    """Returns the components without specks, from left to right.

    Args:
        coarse: The amount of ink in each pixel, shape ``(h, w)``.
        labels: The label of each pixel's component, 0 on paper, shape ``(h, w)``.

    Raises:
        UnreadablePictureError: If there are none, or more than ``MAX_COMPONENTS``.
    """
    ink = np.bincount(labels.ravel(), coarse.ravel())
    ink[0] = 0
    remaining = np.flatnonzero(ink > ink.max() / MAX_INK_RATIO)
    if not len(remaining):
        raise UnreadablePictureError("contains no ink except specks")
    if len(remaining) > MAX_COMPONENTS:
        raise UnreadablePictureError(f"contains more than {MAX_COMPONENTS} separate shapes")
    components = []
    for label in remaining.tolist():
        rows, columns = np.nonzero(labels == label)
        box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        components.append(Component((label,), float(ink[label]), *map(int, box)))
    return sorted(components, key=lambda component: component[2:])


def is_rule(component: Component, components: list[Component], labels: Array) -> bool:
    """Returns whether a component is a line across the picture, a frame or a grid."""
    height, width = labels.shape
    crosses_x = component.width > MIN_LENGTH_OF_RULE * width
    crosses_y = component.height > MIN_LENGTH_OF_RULE * height
    if crosses_x and component.width > MIN_ASPECT_RATIO_OF_RULE * component.height:
        return True
    if crosses_y and component.height > MIN_ASPECT_RATIO_OF_VERTICAL_RULE * component.width:
        return True
    has_content = any(
        component.left < other.left
        and component.top < other.top
        and component.right > other.right
        and component.bottom > other.bottom
        and other.height > MIN_HEIGHT_IN_FRAME * component.height
        for other in components
    )
    return has_content and ((crosses_x and crosses_y) or _is_rectangle(component, labels))


def _is_rectangle(component: Component, labels: Array) -> bool:
    """Returns whether a component covers all four sides of its bounding box."""
    box = labels[component.top : component.bottom, component.left : component.right]
    ink = box == component.labels[0]
    rows, columns = (max(1, side // 10) for side in ink.shape)
    sides = (
        ink[:rows].any(0),
        ink[-rows:].any(0),
        ink[:, :columns].any(1),
        ink[:, -columns:].any(1),
    )
    return all(side.mean() >= MIN_COVERED_SIDE for side in sides)
