"""Finds the digits in a picture: line by line, from left to right.

Connected components of ink are joined to digits by their position. Where position does not decide,
all hypotheses are kept for the network to choose from: two neighbours may be the parts of one digit
such as an open 4, and a wide component may be two digits that touch. This segmentation graph is
that of LeNet (LeCun, Bottou, Bengio and Haffner, 1998, section VI).

The page to draw on has the same functions in ``export/page/segment.js``.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np

from mnist_lightning.pictures.image_math import (
    Array,
    dilate,
    fit_within,
    label_components,
    resize,
)
from mnist_lightning.pictures.ink import UnreadablePictureError

COMPONENT_SIDE = 512  # of the copy in which components are found, in pixels
COMPONENT_THRESHOLD = 0.3  # of a full stroke; thin strokes get lighter in a small copy
MAX_INK_RATIO = 25  # a component with less ink than a 25th of the largest one is a speck
MAX_COMPONENTS = 500

MIN_LENGTH_OF_RULE = 0.95  # of a ruled line or a grid, relative to the picture
MIN_ASPECT_RATIO_OF_VERTICAL_RULE = 15  # height by width; a 1 is less slender
MIN_HEIGHT_IN_FRAME = 0.2  # of a digit in a frame, relative to the frame
MIN_COVERED_SIDE = 0.9  # of the sides of a frame

MIN_OVERLAP = 0.6  # of the widths of components above each other in the same digit
MAX_GAP_ABOVE = 0.25  # between them, relative to the longer side
MAX_GAP_OF_PART = 0.15  # between a digit and a part of it, relative to the longer side
MAX_SIZE_OF_PART = 0.4  # relative to the digit
MAX_ASPECT_RATIO_OF_DIGIT = 2.5  # width by height; flatter components are parts of a digit
MAX_ASPECT_RATIO_OF_PART = 5  # flatter components are ruled lines or the edge of the paper
MIN_RELATIVE_SIZE = 0.3  # of a digit, relative to the tallest one
MAX_DIGIT_INK_RATIO = 12  # a digit has at least a 12th of the ink of the largest one
MIN_LINE_OVERLAP = 0.4  # of the heights of digits in the same line

MAX_GAP_IN_PAIR = 0.12  # between two components that may be one digit, relative to their height
MAX_ASPECT_RATIO_OF_PAIR = 1.2
MIN_ASPECT_RATIO_OF_CUT = 0.85  # narrower components are one digit
CUT_SLANTS = (-0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6)  # columns per row
MIN_INK_BESIDE_CUT = 0.2  # of a component


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


class Hypothesis(NamedTuple):
    """One way to read the components from ``start`` to ``stop`` of a line."""

    start: int
    stop: int
    masks: list[Array]
    """For each digit the pixels in the reduced copy, bool of shape ``(h, w)``."""


def find_lines(ink: Array) -> list[list[Hypothesis]]:
    """Finds the digits in a picture.

    Args:
        ink: The amount of ink in each pixel, shape ``(H, W)``, 1 in a full stroke.

    Returns:
        For each line of digits all hypotheses, ordered by their end. Each component by itself is
        among them.

    Raises:
        UnreadablePictureError: If there is no stroke, or more than ``MAX_COMPONENTS`` components.
    """
    height, width = ink.shape
    size = fit_within(COMPONENT_SIDE, width, height)
    coarse = resize(ink.clip(0, 1)[..., None], size)[..., 0]
    labels = label_components(coarse > COMPONENT_THRESHOLD)
    components = _measure_components(coarse, labels)
    components = [
        component for component in components if not _is_rule(component, components, labels)
    ] or components
    digits = _remove_small_shapes(_join_parts(components))
    return [list(_list_hypotheses(coarse, labels, line)) for line in _split_into_lines(digits)]


def _measure_components(coarse: Array, labels: Array) -> list[Component]:
    """Returns the components without specks, from left to right."""
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


def _is_rule(component: Component, components: list[Component], labels: Array) -> bool:
    """Returns whether a component is a line across the picture, a frame or a grid."""
    height, width = labels.shape
    crosses_x = component.width > MIN_LENGTH_OF_RULE * width
    crosses_y = component.height > MIN_LENGTH_OF_RULE * height
    if crosses_x and component.width > MAX_ASPECT_RATIO_OF_PART * component.height:
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


def _join_parts(components: Sequence[Component]) -> list[Component]:
    joined: list[Component] = []
    for component in components:
        while part := next((other for other in joined if _are_one_digit(other, component)), None):
            joined.remove(part)
            component |= part
        joined.append(component)
    return joined


def _are_one_digit(first: Component, second: Component) -> bool:
    """Returns whether two components are above each other, or one is a small part of the other."""
    gap_x = max(first.left, second.left) - min(first.right, second.right)
    gap_y = max(first.top, second.top) - min(first.bottom, second.bottom)
    side = max(first.width, first.height, second.width, second.height)
    if -gap_x >= MIN_OVERLAP * min(first.width, second.width) and gap_y <= MAX_GAP_ABOVE * side:
        return True
    has_part = any(
        max(component.width, component.height) < MAX_SIZE_OF_PART * side
        or component.width > MAX_ASPECT_RATIO_OF_DIGIT * component.height
        for component in (first, second)
    )
    return has_part and max(gap_x, gap_y) <= MAX_GAP_OF_PART * side


def _remove_small_shapes(components: list[Component]) -> list[Component]:
    """Removes dots, dashes and edges of the paper."""
    digits = [
        component
        for component in components
        if component.width <= MAX_ASPECT_RATIO_OF_PART * component.height
    ] or components
    ink = max(component.ink for component in digits)
    height = max(component.height for component in digits)
    return [
        component
        for component in digits
        if component.ink > ink / MAX_DIGIT_INK_RATIO
        and max(component.width, component.height) >= MIN_RELATIVE_SIZE * height
    ]


def _split_into_lines(digits: list[Component]) -> list[list[Component]]:
    lines: list[list[Component]] = []
    for digit in sorted(digits, key=lambda digit: digit.top + digit.bottom):
        for line in lines:
            top = sum(other.top for other in line) / len(line)
            bottom = sum(other.bottom for other in line) / len(line)
            overlap = min(bottom, digit.bottom) - max(top, digit.top)
            if overlap >= MIN_LINE_OVERLAP * min(bottom - top, digit.height):
                line.append(digit)
                break
        else:
            lines.append([digit])
    return [sorted(line, key=lambda digit: digit.left + digit.right) for line in lines]


def _list_hypotheses(
    coarse: Array, labels: Array, line: Sequence[Component]
) -> Iterator[Hypothesis]:
    masks = [np.isin(labels, component.labels) for component in line]

    def with_edge(mask: Array) -> Array:
        """Adds the lighter edge of the strokes, but no pixels of other components."""
        area: Array = dilate(mask) & (mask | (labels == 0))
        return area

    for index, (component, mask) in enumerate(zip(line, masks, strict=True)):
        area = with_edge(mask)
        yield Hypothesis(index, index + 1, [area])
        if component.width > MIN_ASPECT_RATIO_OF_CUT * component.height:
            is_left = _cut(coarse * area, component)
            yield Hypothesis(index, index + 1, [area & is_left, area & ~is_left])
        if index and _may_be_one_digit(line[index - 1], component, masks[index - 1], mask):
            yield Hypothesis(index - 1, index + 1, [with_edge(masks[index - 1] | mask)])


def _may_be_one_digit(left: Component, right: Component, left_mask: Array, mask: Array) -> bool:
    """Returns whether two neighbours in a line are close to each other in a row of pixels."""
    both = left | right
    rows = left_mask.any(axis=1) & mask.any(axis=1)
    if both.width > MAX_ASPECT_RATIO_OF_PAIR * both.height or not rows.any():
        return False
    end = mask.shape[1] - left_mask[rows, ::-1].argmax(axis=1)
    gap = (mask[rows].argmax(axis=1) - end).min()
    return bool(gap <= MAX_GAP_IN_PAIR * max(left.height, right.height))


def _cut(ink: Array, component: Component) -> Array:
    """Cuts a component along the straight line that crosses the least ink.

    Args:
        ink: That of the component alone, shape ``(h, w)``.
        component: Its bounding box.

    Returns:
        Whether a pixel is to the left of the line, bool of shape ``(h, w)``.
    """
    rows, columns = np.nonzero(ink)
    y, x = np.ogrid[: ink.shape[0], : ink.shape[1]]
    best_ink, is_left = np.inf, np.zeros(ink.shape, bool)
    for slant in CUT_SLANTS:
        slanted_x = np.rint(x - component.left + slant * (y - component.top)).astype(np.int64)
        columns_of_ink = slanted_x[rows, columns]
        first = columns_of_ink.min()
        profile = np.bincount(columns_of_ink - first, ink[rows, columns])
        profile = np.rint(100 * profile)  # so that rounding errors do not decide
        ink_to_left = np.cumsum(profile) / profile.sum()
        is_central = np.abs(ink_to_left - 0.5) <= 0.5 - MIN_INK_BESIDE_CUT
        crossed = np.where(is_central, profile, np.inf)
        if crossed.min() < best_ink:
            best_ink = crossed.min()
            is_left = slanted_x <= first + crossed.argmin()
    return is_left
