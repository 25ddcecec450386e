"""Which kind of fake a face is, if it is one: probabilities beside the logit, and their words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

KindGroup = Literal["generated", "swapped", "edited"]

# As a reader is told of them. What re-enactment changes, mouth and eyes, it blends into a genuine face as a
# swap does, so the two are one group.
KIND_GROUPS: dict[KindGroup, str] = {
    "generated": "wholly generated",
    "swapped": "swapped or re-enacted",
    "edited": "edited by hand",
}
# Kinds of redeepfake_nb.models.tested_kinds.KINDS -> group.
GROUP_OF: dict[str, KindGroup] = {
    "generated": "generated",
    "swapped": "swapped",
    "reenacted": "swapped",
    "edited": "edited",
}

# Below this probability no kind is named: with three kinds, the likeliest one is then wrong in two of five
# cases. The model's card says how often a kind is named, and right, for sources that were left out.
NAMED_FROM = 0.6


def kinds_in_words(kinds: Mapping[str, float] | None) -> str:
    """Say which kind of fake a face more likely is, if it is one.

    Parameters
    ----------
    kinds
        Key of :data:`KIND_GROUPS` -> probability given that the face is fake, 0..1, summing to 1; None where
        the model does not tell kinds apart.

    Returns
    -------
    str
        Such as ``"if fake, then more likely wholly generated (0.87)"``; empty without kinds, and where none
        of them reaches :data:`NAMED_FROM`.
    """
    if not kinds:
        return ""
    likeliest = max(kinds, key=lambda kind: kinds[kind])
    if kinds[likeliest] < NAMED_FROM:
        return ""
    return f"if fake, then more likely {KIND_GROUPS.get(likeliest, likeliest)} ({kinds[likeliest]:.2f})"  # type: ignore[call-overload]


def mean_kinds(kinds: Iterable[Mapping[str, float]], weights: Sequence[float]) -> dict[str, float]:
    """Average the kinds of several sightings of one face.

    Parameters
    ----------
    kinds
        Of each sighting, all with the same keys.
    weights
        Of each sighting, such as its P(fake): what does not look fake says little about the kind. At least
        one is above 0.
    """
    rows = list(kinds)
    if not rows:
        return {}
    mean = np.average([list(row.values()) for row in rows], axis=0, weights=weights)
    return dict(zip(rows[0], mean.tolist(), strict=True))
