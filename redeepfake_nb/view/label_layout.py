"""Where to write beside boxes so that nothing is covered. Plain geometry, imports nothing of the package."""

from __future__ import annotations

from collections.abc import Sequence

Rectangle = tuple[float, float, float, float]

# Of the font size: mean advance of digits and letters in DejaVu Sans, a line's height, and the tag's rim.
CHARACTER, LINE, RIM = 0.62, 1.2, 0.25
# What is worst, in order: to hide another tag, to hide another face, to hide part of the own face.
_HIDES_TAG, _HIDES_FACE, _HIDES_OWN = 8.0, 3.0, 1.0


def tag_size(text: str, font: float) -> tuple[float, float]:
    """Width and height of one line of text with its rim, in the unit of ``font``."""
    return (len(text) * CHARACTER + 2 * RIM) * font, (LINE + 2 * RIM) * font


def place_labels(
    boxes: Sequence[Rectangle],
    forms: Sequence[Sequence[str]],
    bounds: tuple[float, float],
    font: float,
) -> tuple[int, list[tuple[float, float]]]:
    """Choose the longest form of the tags that leaves all of them legible, and a place for each.

    Parameters
    ----------
    boxes
        ``(left, top, right, bottom)`` of the faces, in pixels.
    forms
        The tags from long to short: ``forms[k][i]`` is the k-th form of face i's tag.
    bounds
        Width and height of the picture. Tags stay inside where they fit at all.
    font
        Font size in pixels of the picture.

    Returns
    -------
    form
        Index of the form that was chosen: the first in which no tag hides another, else the last.
    corners
        The left upper corner of each tag.
    """
    for form, texts in enumerate(forms):
        last = form == len(forms) - 1
        tags = _place(boxes, texts, bounds, font, clashes=last)
        if tags is not None:
            return form, [(tag[0], tag[1]) for tag in tags]
    return 0, []


def _place(
    boxes: Sequence[Rectangle],
    texts: Sequence[str],
    bounds: tuple[float, float],
    font: float,
    *,
    clashes: bool,
) -> list[Rectangle] | None:
    """A place for each tag; None where two of them would overlap although ``clashes`` are not allowed."""
    placed: list[Rectangle] = []
    for i, text in enumerate(texts):
        others = [box for j, box in enumerate(boxes) if j != i]
        choices = _candidates(boxes[i], tag_size(text, font), bounds)

        def cost(tag: Rectangle, own: Rectangle = boxes[i], others: list[Rectangle] = others) -> float:
            return (
                _HIDES_TAG * sum(overlap(tag, p) for p in placed)
                + _HIDES_FACE * sum(overlap(tag, o) for o in others)
                + _HIDES_OWN * overlap(tag, own)
            )

        # min() keeps the first of equals, so the order of the candidates is the order of preference.
        best = min(choices, key=cost)
        # A hundredth is a matter of rounding.
        if not clashes and any(overlap(best, p) > 0.01 for p in placed):
            return None
        placed.append(best)
    return placed


def _candidates(box: Rectangle, size: tuple[float, float], bounds: tuple[float, float]) -> list[Rectangle]:
    """Above, below, right, left, and inside the box, all moved into the picture."""
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
    """The share of ``a`` that ``b`` covers, 0..1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]))
