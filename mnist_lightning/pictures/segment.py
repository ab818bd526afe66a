"""Finds the digits in a picture: line by line, from left to right.

Connected components of ink are joined to digits by their position. Where position does not decide,
all hypotheses are kept for the network to choose from: two neighbours may be the parts of one digit
such as an open 4, and a wide component may be two digits that touch. This segmentation graph is
that of LeNet (LeCun, Bottou, Bengio and Haffner, 1998, section VI).

The page to draw on has the same functions in ``export/page/segment.js``.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mnist_lightning.pictures.components import Component, is_rule, measure_components
from mnist_lightning.pictures.image_math import (
    Array,
    dilate,
    fit_within,
    label_components,
    resize,
)

COMPONENT_SIDE = 512  # of the copy in which components are found, in pixels
COMPONENT_THRESHOLD = 0.3  # of a full stroke; thin strokes get lighter in a small copy
MIN_OVERLAP = 0.6  # of the widths of components above each other in the same digit
MAX_GAP_ABOVE = 0.25  # between them, relative to the longer side
MAX_GAP_IN_LOW_PAIR = 0.45  # the same, if both together are lower than two digits
MAX_ASPECT_RATIO_OF_LOW_PAIR = 1.5  # height by width
MAX_GAP_OF_PART = 0.15  # between a digit and a part of it, relative to the longer side
MAX_SIZE_OF_PART = 0.4  # relative to the digit
MAX_ASPECT_RATIO_OF_DIGIT = 2.5  # width by height; flatter components are parts of a digit
MAX_ASPECT_RATIO_OF_PART = 5  # flatter components are dashes or the edge of the paper
MIN_RELATIVE_SIZE = 0.3  # of a digit, relative to the tallest one
MAX_DIGIT_INK_RATIO = 16  # a digit has at least a 16th of the ink of the largest one
MIN_LINE_OVERLAP = 0.4  # of the heights of digits in the same line

MAX_GAP_IN_PAIR = 0.12  # between two components that may be one digit, relative to their height
MAX_ASPECT_RATIO_OF_PAIR = 1.2
MIN_ASPECT_RATIO_OF_CUT = 0.85  # narrower components are one digit
CUT_SLANTS = (-0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6)  # columns per row
CUT_RANGES = ((0.2, 0.4), (0.4, 0.6), (0.6, 0.8))  # of the ink may be to the left of a cut


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
    coarse, labels, digits = _find_components(ink)
    return [list(_list_hypotheses(coarse, labels, line)) for line in _split_into_lines(digits)]


def find_mask(ink: Array) -> Array:
    """Returns the pixels of all digits in the reduced copy of a picture, bool of shape ``(h, w)``.

    Args:
        ink: See ``find_lines``.

    Raises:
        UnreadablePictureError: See ``find_lines``.
    """
    _, labels, digits = _find_components(ink)
    return _with_edge(
        np.isin(labels, [label for digit in digits for label in digit.labels]), labels
    )


def _find_components(ink: Array) -> tuple[Array, Array, list[Component]]:
    """Returns a reduced copy, the labels of its components, and those that are digits."""
    height, width = ink.shape
    size = fit_within(COMPONENT_SIDE, width, height)
    coarse = resize(ink.clip(0, 1)[..., None], size)[..., 0]
    labels = label_components(coarse > COMPONENT_THRESHOLD)
    components = measure_components(coarse, labels)
    components = [
        component for component in components if not is_rule(component, components, labels)
    ] or components
    return coarse, labels, _remove_small_shapes(_join_parts(components))


def _join_parts(components: Sequence[Component]) -> list[Component]:
    """Joins components above each other first, since a flat part may be close to two digits."""
    for are_one_digit in (_are_above_each_other, _has_part_nearby):
        joined: list[Component] = []
        for component in components:
            while part := next((part for part in joined if are_one_digit(part, component)), None):
                joined.remove(part)
                component |= part
            joined.append(component)
        components = joined
    return joined


def _are_above_each_other(first: Component, second: Component) -> bool:
    both = first | second
    overlap = first.width + second.width - both.width
    gap = both.height - first.height - second.height
    is_low = both.height <= MAX_ASPECT_RATIO_OF_LOW_PAIR * both.width
    max_gap = MAX_GAP_IN_LOW_PAIR if is_low else MAX_GAP_ABOVE
    return overlap >= MIN_OVERLAP * min(
        first.width, second.width
    ) and gap <= max_gap * _longest_side(first, second)


def _has_part_nearby(first: Component, second: Component) -> bool:
    """Returns whether one of two components is a small or flat part close to the other."""
    both = first | second
    side = _longest_side(first, second)
    has_part = any(
        max(component.width, component.height) < MAX_SIZE_OF_PART * side
        or component.width > MAX_ASPECT_RATIO_OF_DIGIT * component.height
        for component in (first, second)
    )
    gap = max(both.width - first.width - second.width, both.height - first.height - second.height)
    return has_part and gap <= MAX_GAP_OF_PART * side


def _longest_side(*components: Component) -> int:
    return max(side for component in components for side in (component.width, component.height))


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
    for index, (component, mask) in enumerate(zip(line, masks, strict=True)):
        area = _with_edge(mask, labels)
        yield Hypothesis(index, index + 1, [area])
        if component.width > MIN_ASPECT_RATIO_OF_CUT * component.height:
            for is_left in _cut(coarse * area, component):
                yield Hypothesis(index, index + 1, [area & is_left, area & ~is_left])
        if index and _may_be_one_digit(line[index - 1], component, masks[index - 1], mask):
            yield Hypothesis(index - 1, index + 1, [_with_edge(masks[index - 1] | mask, labels)])


def _with_edge(mask: Array, labels: Array) -> Array:
    """Adds the lighter edge of the strokes to a mask, but no pixels of other components."""
    area: Array = dilate(mask) & (mask | (labels == 0))
    return area


def _may_be_one_digit(left: Component, right: Component, left_mask: Array, mask: Array) -> bool:
    """Returns whether two neighbours in a line are close to each other in a row of pixels."""
    both = left | right
    rows = left_mask.any(axis=1) & mask.any(axis=1)
    if both.width > MAX_ASPECT_RATIO_OF_PAIR * both.height or not rows.any():
        return False
    end = mask.shape[1] - left_mask[rows, ::-1].argmax(axis=1)
    gap = (mask[rows].argmax(axis=1) - end).min()
    return bool(gap <= MAX_GAP_IN_PAIR * max(left.height, right.height))


def _cut(ink: Array, component: Component) -> Iterator[Array]:
    """Cuts a component along straight lines that cross little ink.

    Args:
        ink: That of the component alone, shape ``(h, w)``.
        component: Its bounding box.

    Yields:
        For the best line in each of ``CUT_RANGES``, whether a pixel is to the left of it, bool of
        shape ``(h, w)``.
    """
    rows, columns = np.nonzero(ink)
    y, x = np.ogrid[: ink.shape[0], : ink.shape[1]]
    lines = []  # the slanted coordinate of each pixel, the first one, and the ink on each line
    for slant in CUT_SLANTS:
        slanted_x = np.rint(x - component.left + slant * (y - component.top)).astype(np.int64)
        first = slanted_x[rows, columns].min()
        profile = np.bincount(slanted_x[rows, columns] - first, ink[rows, columns])
        # Rounded, so that rounding errors do not decide.
        lines.append((slanted_x, first, np.rint(100 * profile)))
    for low, high in CUT_RANGES:
        best_ink, is_left = np.inf, None
        for slanted_x, first, profile in lines:
            ink_to_left = np.cumsum(profile) / profile.sum()
            is_allowed = (low <= ink_to_left) & (ink_to_left <= high)
            crossed = np.where(is_allowed, profile, np.inf)
            if crossed.min() < best_ink:
                best_ink, is_left = crossed.min(), slanted_x <= first + crossed.argmin()
        if is_left is not None:
            yield is_left
