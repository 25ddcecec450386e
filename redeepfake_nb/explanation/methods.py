"""The methods that explain a score by a heatmap: their names, and what they have in common."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal

from ..errors import UnknownChoice

Target = Literal["fake", "real"]
# Name -> name in the literature.
METHODS = {
    "gradcam": "Grad-CAM",
    "hirescam": "HiResCAM",
    "gradcam++": "Grad-CAM++",
    "layercam": "Layer-CAM",
    "scorecam": "Score-CAM",
    "saliency": "SmoothGrad saliency",
    "attention": "Attention relevance",
}
# Methods for networks of any kind; attention needs a transformer.
GENERAL_METHODS = tuple(name for name in METHODS if name != "attention")
# Methods whose values are parts of the logit: over all cells they add up to what the map carries of it.
LOGIT_METHODS = ("gradcam", "hirescam", "gradcam++", "layercam", "saliency")


def check_choice(what: str, given: object, known: Iterable[object]) -> None:
    """Raise :class:`UnknownChoice`, which lists the choices, unless ``given`` is one of ``known``."""
    names = [str(name) for name in known]
    if given in names:
        return
    close = difflib.get_close_matches(str(given), names, 1)
    raise UnknownChoice(
        f"unknown {what} {given!r}; there are {', '.join(names)}",
        next_step=f"Did you mean {close[0]!r}?" if close else f"Choose one of them as {what}.",
    )
