"""What a score does while a face is taken away place by place, in the order of a heatmap.

Deletion and insertion after Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box
Models", BMVC 2018. Deletion replaces the hottest places first and ends at a neutral picture; insertion
starts there and puts the hottest places back first. If a heatmap names the places that count, the score falls
at once in the one and rises at once in the other.

Places are the cells of a grid on the model's input, at most 16 a side: coarse enough that a picture is taken
away in a few steps, and finer than the maps that heatmaps come from.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..faces.preprocessing import Preprocessing, frame_to_input, prepare_crop
from ..models.classifier import Classifier
from .heatmaps import Explanation

CELLS = 16
# Faces per call of the network: more of them take longer each, on a processor with a cache of common size.
_BATCH = 8


def heat_on_input(explanation: Explanation, preprocessing: Preprocessing) -> np.ndarray:
    """The heatmap on the pixels of the model's input, (S, S) float32."""
    size = preprocessing.input_size
    face = explanation.prediction.face
    left, top, _, _ = face.crop_box(explanation.margin)
    # Frame pixel -> input pixel is known; a heatmap lies on the frame shifted by the crop's corner.
    shift = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], np.float64)
    return cv2.warpAffine(
        np.ascontiguousarray(explanation.heatmap, np.float32),
        frame_to_input(face, preprocessing) @ shift,
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT if preprocessing.align else cv2.BORDER_REPLICATE,
    )


def on_cells(heat: np.ndarray) -> np.ndarray:
    """(S, S) -> (n, n) float32 means over cells, n being S or :data:`CELLS`, whichever is less."""
    side = min(CELLS, len(heat))
    return cv2.resize(heat, (side, side), interpolation=cv2.INTER_AREA)


def neutral_pictures(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What removed places are replaced by: the same face blurred, its mean colour, black, and white.

    Parameters
    ----------
    pixels
        (S, S, 3) uint8 RGB.

    Returns
    -------
    dict
        Words -> (S, S, 3) uint8 RGB. The blur is Gaussian with a sigma of an eighth of the side, which
        leaves the light and no feature.
    """
    mean = np.rint(pixels.reshape(-1, 3).mean(axis=0)).astype(np.uint8)
    return {
        "the face blurred": cv2.GaussianBlur(pixels, (0, 0), len(pixels) / 8),
        "the face's mean colour": np.broadcast_to(mean, pixels.shape).copy(),
        "black": np.zeros_like(pixels),
        "white": np.full_like(pixels, 255),
    }


def random_field(heat: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random map as rough or as smooth as a heatmap, (n, n) float64.

    The amplitude of every spatial frequency is the heatmap's own and its phase is drawn (Theiler et al.,
    "Testing for nonlinearity in time series: the method of surrogate data", Physica D 58, 1992), on the
    heatmap mirrored at its edges so that no edge is taken for a feature. The negative of such a map is as
    likely as itself.
    """
    centred = heat - heat.mean()
    twice = np.block([[centred, centred[:, ::-1]], [centred[::-1], centred[::-1, ::-1]]])
    phase = np.angle(np.fft.fft2(rng.standard_normal(twice.shape)))
    field = np.fft.ifft2(np.abs(np.fft.fft2(twice)) * np.exp(1j * phase)).real
    return field[: len(heat), : len(heat)]


def ranking(heat: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """(n * n,) indices of cells from hot to cold; among equals the larger of ``ties`` comes first.

    Where a heatmap is 0 over half of the face, the order there is to be neither that of reading nor salt and
    pepper, which hurts a score more than taking away whole places: a random field settles it.
    """
    return np.lexsort((-ties.ravel(), -heat.ravel()))


def removed(order: np.ndarray, share: float) -> np.ndarray:
    """(n, n) bool: the first ``share`` of the cells in an order."""
    mask = np.zeros(len(order), bool)
    mask[order[: round(share * len(order))]] = True
    side = round(len(order) ** 0.5)
    return mask.reshape(side, side)


def area(scores: np.ndarray) -> np.ndarray:
    """Area under curves over 0..1 in even steps by the trapezoid rule; (..., steps + 1) -> (...)."""
    scores = np.asarray(scores, np.float64)
    return (scores[..., 1:] + scores[..., :-1]).sum(axis=-1) / 2 / (scores.shape[-1] - 1)


class Eraser:
    """Scores one face with parts of it replaced.

    Parameters
    ----------
    classifier
        Whose score.
    pixels
        (S, S, 3) uint8 RGB, what the model judges.
    sign
        1 where a high score is of interest, -1 for a low one.
    tick
        Called after each batch; may raise, to stop.
    """

    def __init__(
        self, classifier: Classifier, pixels: np.ndarray, sign: int, tick: Callable[[], None]
    ) -> None:
        self._classifier, self.pixels, self._sign, self._tick = classifier, pixels, sign, tick
        self.neutral = pixels

    @staticmethod
    def batches(pictures: int) -> int:
        """How often ``tick`` is called for so many pictures."""
        return -(-pictures // _BATCH)

    def scores(self, pictures: list[np.ndarray]) -> np.ndarray:
        """(N,) float64 log-odds of the target, each for one (S, S, 3) uint8 picture."""
        found = []
        settings = self._classifier.preprocessing
        for start in range(0, len(pictures), _BATCH):
            batch = np.stack([prepare_crop(p, settings) for p in pictures[start : start + _BATCH]])
            found.append(self._classifier.logits(batch))
            self._tick()
        logits = np.concatenate(found).astype(np.float64)
        return self._sign * logits / (self._classifier.temperature or 1.0)

    def without(self, places: np.ndarray) -> np.ndarray:
        """The picture with these places, (n, n) in 0..1, wholly or partly replaced by the neutral picture."""
        size = len(self.pixels)
        share = cv2.resize(places.astype(np.float32), (size, size), interpolation=cv2.INTER_NEAREST)
        mixed = self.pixels * (1 - share[..., None]) + self.neutral * share[..., None]
        return np.rint(mixed).astype(np.uint8)

    def curves(
        self, order: np.ndarray, steps: int, ends: tuple[float, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log-odds of the target while cells are deleted and while they are inserted, (steps + 1,) each.

        ``ends`` are those of the whole face and of the neutral picture, which every order shares.
        """
        shares = np.arange(1, steps) / steps
        masks = [removed(order, share) for share in shares]
        found = self.scores([self.without(m) for m in masks] + [self.without(~m) for m in masks])
        whole, none = ends
        deletion = np.concatenate([[whole], found[: steps - 1], [none]])
        insertion = np.concatenate([[none], found[steps - 1 :], [whole]])
        return deletion, insertion
