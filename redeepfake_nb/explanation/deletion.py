"""Deletion and insertion curves: a face's score while its hottest places are removed, or put back.

After Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018.
Deletion replaces the hottest places first and ends at a baseline image without features; insertion starts
from the baseline and restores the hottest places first. If a heatmap marks the places that matter, the score
falls at once in the former and rises at once in the latter.

Places are the cells of a grid on the model's input, at most 16 x 16: coarse enough for few steps, and finer
than the feature maps that heatmaps come from.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..faces.preprocessing import Preprocessing, frame_to_input, prepare_crop
from ..models.classifier import Classifier
from .heatmaps import Explanation

# Cells per side of the grid.
GRID = 16
# Images per forward pass: larger batches take longer per image on a CPU with a cache of common size.
_BATCH = 8


def heatmap_on_input(explanation: Explanation, preprocessing: Preprocessing) -> np.ndarray:
    """Warp a heatmap from the pixels of the crop to those of the model's input.

    Returns
    -------
    numpy.ndarray
        (S, S) float32, 0..1.
    """
    size = preprocessing.input_size
    face = explanation.prediction.face
    left, top, _, _ = face.crop_box(explanation.margin)
    # Crop pixel -> frame pixel -> input pixel.
    shift = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], np.float64)
    return cv2.warpAffine(
        np.ascontiguousarray(explanation.heatmap, np.float32),
        frame_to_input(face, preprocessing) @ shift,
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT if preprocessing.align else cv2.BORDER_REPLICATE,
    )


def to_grid(heatmap: np.ndarray) -> np.ndarray:
    """Average a heatmap (S, S) over the cells of the grid: (n, n) float32, n = min(S, :data:`GRID`)."""
    side = min(GRID, len(heatmap))
    return cv2.resize(heatmap, (side, side), interpolation=cv2.INTER_AREA)


def baseline_images(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the images that can replace removed places: the face blurred, its mean colour, black, and white.

    Parameters
    ----------
    pixels
        (S, S, 3) uint8 RGB.

    Returns
    -------
    dict
        Name in words -> (S, S, 3) uint8 RGB. The blur is Gaussian with a sigma of an eighth of the side,
        which keeps the lighting and no facial feature.
    """
    mean = np.rint(pixels.reshape(-1, 3).mean(axis=0)).astype(np.uint8)
    return {
        "the face blurred": cv2.GaussianBlur(pixels, (0, 0), len(pixels) / 8),
        "the face's mean colour": np.broadcast_to(mean, pixels.shape).copy(),
        "black": np.zeros_like(pixels),
        "white": np.full_like(pixels, 255),
    }


def random_heatmap(heatmap: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a random map with the power spectrum of a heatmap, (n, n) float64.

    The amplitude of every spatial frequency is that of the heatmap, the phase is random (Theiler et al.,
    "Testing for nonlinearity in time series: the method of surrogate data", Physica D 58, 1992). The heatmap
    is mirrored at its edges first, so that no edge counts as a feature. The negative of such a map is equally
    likely.
    """
    centred = heatmap - heatmap.mean()
    mirrored = np.block([[centred, centred[:, ::-1]], [centred[::-1], centred[::-1, ::-1]]])
    phase = np.angle(np.fft.fft2(rng.standard_normal(mirrored.shape)))
    surrogate = np.fft.ifft2(np.abs(np.fft.fft2(mirrored)) * np.exp(1j * phase)).real
    return surrogate[: len(heatmap), : len(heatmap)]


def rank_cells(heatmap: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Order cells from hot to cold, (n * n,) int; among equals the one with the larger ``ties`` comes first.

    Where a heatmap is 0 over half of the face, neither reading order nor white noise should decide the order
    there: scattered cells hurt a score more than contiguous regions do. Pass a smooth random map as ``ties``.
    """
    return np.lexsort((-ties.ravel(), -heatmap.ravel()))


def mask_of_top(order: np.ndarray, share: float) -> np.ndarray:
    """Mask the first ``share`` (0..1) of the cells of an order, (n, n) bool."""
    mask = np.zeros(len(order), bool)
    mask[order[: round(share * len(order))]] = True
    side = round(len(order) ** 0.5)
    return mask.reshape(side, side)


def area_under_curve(scores: np.ndarray) -> np.ndarray:
    """Integrate curves over 0..1 in even steps by the trapezoidal rule: (..., steps + 1) -> (...)."""
    scores = np.asarray(scores, np.float64)
    return (scores[..., 1:] + scores[..., :-1]).sum(axis=-1) / 2 / (scores.shape[-1] - 1)


class PerturbationScorer:
    """Score one face with parts of it replaced by a baseline image.

    Parameters
    ----------
    classifier
        The classifier that scores.
    pixels
        (S, S, 3) uint8 RGB: the face as cut out for the model.
    sign
        1 to score the target fake, -1 for real.
    on_batch
        Called after each forward pass; may raise to stop.

    Attributes
    ----------
    baseline
        (S, S, 3) uint8 RGB, what replaces removed places.
    """

    def __init__(
        self, classifier: Classifier, pixels: np.ndarray, sign: int, on_batch: Callable[[], None]
    ) -> None:
        self._classifier, self.pixels, self._sign, self._on_batch = classifier, pixels, sign, on_batch
        self.baseline = pixels

    @staticmethod
    def batch_count(images: int) -> int:
        """Return how many forward passes a number of images takes."""
        return -(-images // _BATCH)

    def scores(self, images: list[np.ndarray]) -> np.ndarray:
        """Return the target's log-odds for (S, S, 3) uint8 images, (N,) float64, temperature included."""
        logits = []
        preprocessing = self._classifier.preprocessing
        for start in range(0, len(images), _BATCH):
            batch = np.stack([prepare_crop(i, preprocessing) for i in images[start : start + _BATCH]])
            logits.append(self._classifier.logits(batch))
            self._on_batch()
        joined = np.concatenate(logits).astype(np.float64)
        return self._sign * joined / (self._classifier.temperature or 1.0)

    def replace(self, weights: np.ndarray) -> np.ndarray:
        """Blend the baseline into the face, with the weights (n, n) of the grid's cells, bool or 0..1."""
        size = len(self.pixels)
        share = cv2.resize(weights.astype(np.float32), (size, size), interpolation=cv2.INTER_NEAREST)
        mixed = self.pixels * (1 - share[..., None]) + self.baseline * share[..., None]
        return np.rint(mixed).astype(np.uint8)

    def curves(
        self, order: np.ndarray, steps: int, ends: tuple[float, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the deletion and the insertion curve for an order of cells.

        Parameters
        ----------
        order
            From :func:`rank_cells`.
        steps
            Each removes or restores an equal share of the cells.
        ends
            Log-odds of the whole face and of the baseline, which all orders share.

        Returns
        -------
        deletion, insertion : (steps + 1,) float64
            Log-odds of the target.
        """
        masks = [mask_of_top(order, share) for share in np.arange(1, steps) / steps]
        found = self.scores([self.replace(m) for m in masks] + [self.replace(~m) for m in masks])
        whole, empty = ends
        deletion = np.concatenate([[whole], found[: steps - 1], [empty]])
        insertion = np.concatenate([[empty], found[steps - 1 :], [whole]])
        return deletion, insertion
