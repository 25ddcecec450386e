"""One entry point for all pseudo-fakes: fakes made on the fly from genuine faces, for training."""

from __future__ import annotations

import numpy as np

from .blending import validated_image
from .compositing import composite
from .decoder_traces import generator_traces
from .face_swapping import face_swap
from .part_editing import part_edit
from .self_blending import self_blend

PSEUDO_FAKES: tuple[str, ...] = ("self_blend", "face_swap", "part_edit", "composite", "generator_traces")
# Kinds that need landmarks, and those that need a face of another person.
NEEDS_LANDMARKS: tuple[str, ...] = ("self_blend", "face_swap", "part_edit", "composite")
NEEDS_OTHER: tuple[str, ...] = ("face_swap", "composite")


def make_pseudo_fake(
    name: str,
    image: np.ndarray,
    landmarks: np.ndarray | None,
    rng: np.random.Generator,
    *,
    other: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Make a fake from a genuine face.

    Parameters
    ----------
    name
        One of :data:`PSEUDO_FAKES`.
    image
        (H, W, 3) uint8 RGB, a genuine face. Not changed.
    landmarks
        (68, 2) x, y in pixels, in the order of iBUG 300-W. May be None for ``"generator_traces"``.
    rng
        Source of all randomness; the same state gives the same result.
    other
        Picture and landmarks of another person, for ``"face_swap"`` and ``"composite"``.

    Returns
    -------
    fake : (H, W, 3) uint8
        Equal to ``image`` where the mask is 0.
    mask : (H, W) float32 in 0..1
        What was changed; 0 everywhere if nothing could be, as with landmarks outside the picture.

    Raises
    ------
    ValueError
        Unknown name, no landmarks or no other face where they are needed, wrong shape or dtype, or landmarks
        that are not finite.
    """
    if name not in PSEUDO_FAKES:
        raise ValueError(f"name must be one of {', '.join(PSEUDO_FAKES)}, not {name!r}")
    image = validated_image(image)
    if name not in NEEDS_LANDMARKS:
        return generator_traces(image, rng)
    if landmarks is None:
        raise ValueError(f"landmarks must be given for {name!r}")
    if name == "self_blend":
        return self_blend(image, landmarks, rng)
    if name == "part_edit":
        return part_edit(image, landmarks, rng)
    if other is None:
        raise ValueError(f"other must be given for {name!r}: picture and landmarks of another person")
    source, source_landmarks = other
    make = face_swap if name == "face_swap" else composite
    return make(image, landmarks, source, source_landmarks, rng)
