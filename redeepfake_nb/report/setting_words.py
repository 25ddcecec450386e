"""Settings of reports in plain words, for people who do not call functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..analysis.aggregation import STRATEGY_WORDS
from ..explanation.methods import METHODS

# In the order in which they are shown; others follow under their own names.
_NAMES = {
    "frames": "frames looked at in a video",
    "every": "seconds from one frame to the next",
    "start": "from second",
    "end": "to second",
    "stream": "video stream",
    "detector": "face detector",
    "min_size": "smallest face, px",
    "margin": "added around a face, as a share of its longer side",
    "max_pixels": "largest picture, pixels",
    "threshold": "threshold on P(fake)",
    "aggregation": "score of a person",
    "scored_by": "scores computed by",
    "explain": "heatmaps",
    "target": "heatmaps show",
    "layer": "layer of the heatmaps",
    "turned": "turned upright by, degrees",
    "searches": "searches for faces",
}
_VALUES: dict[str, Mapping[Any, str]] = {
    "aggregation": STRATEGY_WORDS,
    "explain": METHODS,
    "target": {"fake": "evidence for fake", "real": "evidence against fake"},
}
_SEARCHES = {
    "whole": "of whole frames",
    "near": "near the face's last place",
    "fine": "finer second looks",
    "followed": "faces followed without a search",
}
# Said only where they are chosen: there is nothing to say of a limit that is not set.
_OPTIONAL = {"every", "start", "end", "frames", "target", "layer", "min_size", "stream", "max_pixels"}


def in_plain_words(settings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return each setting with all values that it has in any of several reports, in words."""
    found: dict[str, list[str]] = {}
    for one in settings:
        for key, value in one.items():
            if value is None and key in _OPTIONAL:
                continue
            words = _value(key, value)
            if words not in found.setdefault(key, []):
                found[key].append(words)
    order = [*(key for key in _NAMES if key in found), *(key for key in found if key not in _NAMES)]
    return {_NAMES.get(key, key): ", ".join(found[key]) for key in order}


def _value(key: str, value: Any) -> str:
    if value is None:
        return "none" if key == "explain" else "the model's own"
    if isinstance(value, Mapping):
        return ", ".join(f"{number} {_SEARCHES.get(name, name)}" for name, number in value.items() if number)
    words = _VALUES.get(key, {})
    if isinstance(value, str) and value in words:
        return words[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
