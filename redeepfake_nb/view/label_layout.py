"""Place the labels of face boxes so that they cover neither each other nor the faces. Plain geometry."""

from __future__ import annotations

from collections.abc import Sequence

Rectangle = tuple[float, float, float, float]

# Relative to the font size: mean width of digits and letters in DejaVu Sans, line height, padding of a label.
CHARACTER, LINE, PADDING = 0.62, 1.2, 0.25
# Cost of covering another label, another face, and the label's own face.
_COST_LABEL, _COST_FACE, _COST_OWN = 8.0, 3.0, 1.0


def label_size(text: str, font: float) -> tuple[float, float]:
    """Return the width and height of one line of text with its padding, in the unit of ``font``."""
    return (len(text) * CHARACTER + 2 * PADDING) * font, (LINE + 2 * PADDING) * font


def place_labels(
    boxes: Sequence[Rectangle],
    variants: Sequence[Sequence[str]],
    bounds: tuple[float, float],
    font: float,
) -> tuple[int, list[tuple[float, float]]]:
    """Choose the longest variant of the labels in which all are legible, and place each of them.

    Parameters
    ----------
    boxes
        ``(left, top, right, bottom)`` of the faces, in pixels.
    variants
        The labels from long to short: ``variants[k][i]`` is the k-th variant of the label of face i.
    bounds
        Width and height of the image. Labels stay inside where they fit at all.
    font
        Font size in image pixels.

    Returns
    -------
    variant
        Index of the chosen variant: the first in which no label covers another, else the last.
    corners
        The upper left corner of each label.
    """
    for variant, texts in enumerate(variants):
        last = variant == len(variants) - 1
        labels = _place(boxes, texts, bounds, font, allow_overlap=last)
        if labels is not None:
            return variant, [(label[0], label[1]) for label in labels]
    return 0, []


def _place(
    boxes: Sequence[Rectangle],
    texts: Sequence[str],
    bounds: tuple[float, float],
    font: float,
    *,
    allow_overlap: bool,
) -> list[Rectangle] | None:
    """Place each label; None where two would overlap and ``allow_overlap`` is false."""
    placed: list[Rectangle] = []
    for i, text in enumerate(texts):
        others = [box for j, box in enumerate(boxes) if j != i]
        choices = _candidates(boxes[i], label_size(text, font), bounds)

        def cost(label: Rectangle, own: Rectangle = boxes[i], others: list[Rectangle] = others) -> float:
            return (
                _COST_LABEL * sum(overlap(label, p) for p in placed)
                + _COST_FACE * sum(overlap(label, o) for o in others)
                + _COST_OWN * overlap(label, own)
            )

        # min() returns the first of equal candidates, so their order is the order of preference.
        best = min(choices, key=cost)
        # Up to a hundredth is rounding.
        if not allow_overlap and any(overlap(best, p) > 0.01 for p in placed):
            return None
        placed.append(best)
    return placed


def _candidates(box: Rectangle, size: tuple[float, float], bounds: tuple[float, float]) -> list[Rectangle]:
    """Places above, below, right, left, and inside the box, all moved into the image."""
    left, top, right, bottom = box
    width, height = size
    corners = [
        (left, top - height),
        (right - width, top - height),
        (left, bottom),
        (right - width, bottom),
        (right, top),
        (left - width, top),
        (left, top),
        (left, bottom - height),
    ]
    moved = []
    for x, y in corners:
        x = max(min(x, bounds[0] - width), 0)
        y = max(min(y, bounds[1] - height), 0)
        moved.append((x, y, x + width, y + height))
    return moved


def overlap(a: Rectangle, b: Rectangle) -> float:
    """Return the share of ``a`` that ``b`` covers, 0..1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]))
