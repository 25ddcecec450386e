"""Track faces through a video, and group tracks by person.

A track is one face over consecutive frames, associated by position alone. :class:`FaceTracker` searches near
the last positions first and bridges short gaps in detection; :func:`group_tracks` decides by face embeddings
which tracks show the same person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from ..media.frames import Frame
from .blazeface import BlazeFaceDetector
from .detection import (
    DEFAULT_DETECTOR,
    Box,
    Detection,
    HogDetector,
    box_iou,
    get_detector,
    non_maximum_suppression,
    pixel_box,
    validate_detections,
)
from .dlib_backend import LOCK, load_dlib
from .near_search import NearSearch
from .turned import turn_of_frames


def track_patch(before: np.ndarray, after: np.ndarray, box: Box) -> tuple[tuple[float, ...], float]:
    """Locate the patch in ``box`` of one frame in the next frame.

    dlib's correlation tracker (Danelljan et al., "Accurate Scale Estimation for Robust Visual Tracking", BMVC
    2014); about 6 ms.

    Parameters
    ----------
    before, after
        (H, W, 3) uint8 RGB, of equal size.
    box
        (left, top, right, bottom) in pixels of ``before``, right and bottom exclusive.

    Returns
    -------
    box : tuple of float
        Box in ``after``; it may extend outside of the frame.
    psr : float
        Peak-to-sidelobe ratio of the correlation; under about 7 the patch is occluded or lost.
    """
    with LOCK:
        library = load_dlib()
        tracker = library.correlation_tracker()
        left, top, right, bottom = (int(v) for v in box)
        # dlib's right and bottom are inclusive.
        tracker.start_track(np.ascontiguousarray(before), library.rectangle(left, top, right - 1, bottom - 1))
        psr = tracker.update(np.ascontiguousarray(after))
        found = tracker.get_position()
    return (found.left(), found.top(), found.right() + 1, found.bottom() + 1), float(psr)


# A detection continues a track if their IoU is at least this, or, after a longer pause, if its centre has
# moved by at most this fraction of its side and its size has changed by at most this factor.
MIN_IOU = 0.3
MAX_SHIFT = 0.7
MAX_SIZE_RATIO = 1.6
# Seconds of video. After a longer absence a face begins a new track; a face without a detection is tracked by
# correlation for at most MAX_BRIDGE; frames further apart than MAX_FRAME_SPACING are each searched as a
# whole, and so is one frame per FULL_SEARCH_INTERVAL, because new people may appear. A rejected detection is
# not checked again for REJECTION_LIFETIME.
MAX_GAP = 2.0
MAX_BRIDGE = 1.0
MAX_FRAME_SPACING = 0.5
FULL_SEARCH_INTERVAL = 1.0
# The same two for BlazeFace, whose search of whole frames costs less.
_NEAR_SPACING, _WHOLE_INTERVAL = 0.2, 0.5
REJECTION_LIFETIME = 3.0
# The scene has changed if the correlation of the thumbnails of two frames is under this.
SCENE_CORRELATION = 0.6
# Peak-to-sidelobe ratio (Bolme et al., "Visual Object Tracking using Adaptive Correlation Filters", CVPR
# 2010, section 3.5: under about 7 a target is occluded or lost).
MIN_PSR = 8.0
_WINDOW = HogDetector.window
_COARSE_PIXELS = 2_000_000
_FINE_PIXELS = 8_400_000
_VIDEO_SIDES = (384, 1024)
_GRID = 48  # px at the scale of the search


@dataclass(frozen=True)
class TrackedDetection:
    """One face in one frame. ``bridged``: tracked by correlation, because the detector did not find it."""

    box: Box
    confidence: float | None
    track: int
    bridged: bool = False
    key_points: np.ndarray | None = field(default=None, repr=False, compare=False)


@dataclass
class _Track:
    number: int
    box: Box
    last_detection: float  # seconds
    last_update: float  # seconds, by detection or correlation


class FaceTracker:
    """Detects and tracks the faces of a video; called with its frames in order.

    Parameters
    ----------
    detector
        ``"blazeface"`` searches near the last boxes where frames are at most 0.2 s apart, else as a whole,
        and with its finer size one frame in a while if no face was found. ``"hog"`` searches coarse to fine,
        near the last boxes first. Any other name or callable, see :func:`redeepfake_nb.find_faces`, searches
        every frame as a whole.
    refresh
        Seconds of video after which a frame is searched as a whole even if all known faces were found.
        Default: 0.5 for ``"blazeface"``, else 1.

    Attributes
    ----------
    counts : dict
        Number of searches of whole frames, of searches near a known face, of fine searches, and of faces
        tracked by correlation.
    """

    def __init__(
        self,
        detector: str | Callable[[np.ndarray], Iterable] = DEFAULT_DETECTOR,
        *,
        refresh: float | None = None,
    ) -> None:
        self._local_search = detector == "hog" or isinstance(detector, HogDetector)
        self._detector: Callable[[np.ndarray], Iterable[Any]]
        # Of HOG, detections of low confidence are checked below, and only where no face is known.
        self._confirming: HogDetector | None = None
        self._fine_detector: Callable[[np.ndarray], list[Detection]] | None = None
        self._near_search: NearSearch | None = None
        if detector == "hog":
            self._detector = HogDetector((_COARSE_PIXELS,), confirm=False)
            self._confirming = self._fine_detector = HogDetector((_FINE_PIXELS,))
        elif detector == "blazeface":
            # The finest size costs ten times as much as the first, and half a second on a small machine.
            self._near_search = NearSearch(_VIDEO_SIDES[:1])
            self._detector = self._near_search
            self._fine_detector = BlazeFaceDetector(_VIDEO_SIDES)
        else:
            self._detector = get_detector(detector) if isinstance(detector, str) else detector
        self._thread_safe = self._local_search or isinstance(self._detector, BlazeFaceDetector)
        # Frames further apart are searched as a whole, as are all by detectors that do nothing else.
        self._spacing = MAX_FRAME_SPACING if self._local_search else -np.inf
        usual = FULL_SEARCH_INTERVAL
        if self._near_search is not None:
            self._spacing, usual = _NEAR_SPACING, _WHOLE_INTERVAL
        self.refresh = usual if refresh is None else refresh
        self.counts = {"whole": 0, "near": 0, "fine": 0, "followed": 0}
        self._tracks: list[_Track] = []
        self._next_track = 0
        self._last_image: np.ndarray | None = None
        self._last_thumbnail: np.ndarray | None = None
        self._last_time = -np.inf
        self._last_full_search = -np.inf
        self._last_fine_search = -np.inf
        self._fine_interval = MAX_FRAME_SPACING
        self._planned = (-np.inf, -np.inf)
        self._rejected: list[tuple[float, Detection]] = []

    def needs_full_search(self, timestamp: float) -> bool:
        """Tell in advance whether the frame at ``timestamp`` will certainly be searched as a whole.

        Must be called once for each frame, in order. The answer depends on the timestamps alone, so that
        starting the search early does not change the result.
        """
        searched, previous = self._planned
        whole = timestamp - searched >= self.refresh or timestamp - previous > self._spacing
        self._planned = (timestamp if whole else searched, timestamp)
        return self._thread_safe and whole

    def turn_of(self, frames: Iterable[Frame]) -> tuple[list[Frame], int]:
        """Find out whether the video lies on its side; see :mod:`redeepfake_nb.faces.turned`."""
        return turn_of_frames(frames, self._detector)

    def search(self, image: np.ndarray) -> list[Detection]:
        """Search a whole frame, for use by :meth:`__call__`. Thread-safe for the built-in detectors."""
        name = getattr(self._detector, "name", "detector")
        return validate_detections(self._detector(image), image.shape[1], image.shape[0], name)

    def __call__(
        self, image: np.ndarray, timestamp: float, searched: list[Detection] | None = None
    ) -> list[TrackedDetection]:
        """Detect and track the faces of the next frame.

        Parameters
        ----------
        image
            (H, W, 3) uint8 RGB.
        timestamp
            Time of the frame in seconds.
        searched
            Result of :meth:`search` for this frame, if it was called already.
        """
        thumbnail = _thumbnail(image)
        cut = self._last_thumbnail is not None and scene_changed(self._last_thumbnail, thumbnail)
        if cut or (self._last_image is not None and self._last_image.shape != image.shape):
            self._tracks, self._rejected, self._fine_interval = [], [], MAX_FRAME_SPACING
            self._last_image = None
        known = [t for t in self._tracks if timestamp - t.last_update <= MAX_GAP]
        detections = self._detect(image, timestamp, known, searched)
        found = self._update_tracks(image, timestamp, known, detections)
        self._last_image, self._last_thumbnail, self._last_time = image, thumbnail, timestamp
        return found

    # -- detection

    def _detect(
        self, image: np.ndarray, timestamp: float, known: list[_Track], searched: list[Detection] | None
    ) -> list[Detection]:
        height, width = image.shape[:2]
        whole = (
            searched is not None
            or not known
            or timestamp - self._last_full_search >= self.refresh
            or timestamp - self._last_time > self._spacing
        )
        found: list[Detection] = []
        if self._near_search is not None and not whole:
            self.counts["near"] += len(known)
            found = self._near_search.near(image, [t.box for t in known])
            boxes, pauses = [t.box for t in known], [timestamp - t.last_update for t in known]
            whole = len(match_boxes(boxes, [d.box for d in found], pauses)) < len(known)
            found = [] if whole else found
        elif self._local_search:
            nearby = [self._search_near(image, t.box) for t in known] if not whole else []
            whole = whole or any(n is None for n in nearby)
            found = [n for n in nearby if n is not None]
        if whole:
            self.counts["whole"] += 1
            self._last_full_search = timestamp
            seen = self.search(image) if searched is None else searched
            found = non_maximum_suppression(found + self._confirmed(image, timestamp, known, seen))
            if self._local_search:
                lost = [t for t in known if _continuation(t.box, found, timestamp - t.last_update) is None]
                again = [self._search_near(image, t.box) for t in lost]
                found = non_maximum_suppression(found + [n for n in again if n is not None])
        if (
            not found
            and self._fine_detector is not None
            and timestamp - self._last_fine_search >= self._fine_interval
        ):
            # This search of four times as many pixels costs as much as all else together. The interval
            # doubles each time it finds nothing.
            self.counts["fine"] += 1
            self._last_fine_search = timestamp
            found = self._fine_detector(image)
            self._fine_interval = (
                MAX_FRAME_SPACING if found else min(2 * self._fine_interval, 32 * MAX_FRAME_SPACING)
            )
        return validate_detections(found, width, height, "detector") if found else []

    def _confirmed(
        self, image: np.ndarray, timestamp: float, known: list[_Track], seen: list[Detection]
    ) -> list[Detection]:
        """Drop detections that the CNN detector rejects; a position is not checked again too soon."""
        if self._confirming is None:
            return seen
        self._rejected = [(time, d) for time, d in self._rejected if timestamp - time < REJECTION_LIFETIME]
        answers = [(Detection(t.box), True) for t in known] + [(d, False) for _, d in self._rejected]
        before = len(answers)
        confirmed = self._confirming.confirm_detections(image, seen, answers)
        self._rejected += [(timestamp, d) for d, agreed in answers[before:] if not agreed]
        return confirmed

    def _search_near(self, image: np.ndarray, box: Box) -> Detection | None:
        """Search the part of the frame around ``box`` for the face that continues it."""
        self.counts["near"] += 1
        side = max(box[2] - box[0], box[3] - box[1])
        # Two pyramid levels finer than the last size of the face, because it may have become smaller.
        scale = min(2.0, _WINDOW * 1.2**2 / side)
        # HOG divides the image into cells; with origins on a fixed grid a static face gets the same box
        # again.
        grid = max(round(_GRID / scale), 1)
        low = [max(round(v - side), 0) // grid * grid for v in box[:2]]
        limits = (image.shape[1], image.shape[0])
        high = [min(round(v + side), n) for v, n in zip(box[2:], limits, strict=True)]
        part = image[low[1] : high[1], low[0] : high[0]]
        near = HogDetector((part.shape[0] * part.shape[1] * scale**2 * 1.001,), confirm=False)
        offset = np.array([*low, *low])
        candidates = [Detection(tuple(np.add(d.box, offset)), d.confidence) for d in near(part)]
        return _continuation(box, candidates, MAX_FRAME_SPACING)

    # -- association

    def _update_tracks(
        self, image: np.ndarray, timestamp: float, known: list[_Track], detections: list[Detection]
    ) -> list[TrackedDetection]:
        found, kept = [], []
        pairs = match_boxes(
            [t.box for t in known], [d.box for d in detections], [timestamp - t.last_update for t in known]
        )
        taken = set(pairs.values())
        for i, track in enumerate(known):
            if i in pairs:
                d = detections[pairs[i]]
                track.box, track.last_detection, track.last_update = pixel_box(d), timestamp, timestamp
                found.append(TrackedDetection(track.box, d.confidence, track.number, key_points=d.key_points))
                kept.append(track)
                continue
            box = self._bridge(image, timestamp, track)
            # A correlation result on a face of another track is that other face.
            boxes = [d.box for d in detections]
            if box is not None and not (boxes and box_iou([box], boxes).max() >= MIN_IOU):
                self.counts["followed"] += 1
                track.box, track.last_update = box, timestamp
                found.append(TrackedDetection(box, None, track.number, bridged=True))
            kept.append(track)
        for j, d in enumerate(detections):
            if j not in taken:
                track = _Track(self._next_track, pixel_box(d), timestamp, timestamp)
                self._next_track += 1
                kept.append(track)
                found.append(TrackedDetection(track.box, d.confidence, track.number, key_points=d.key_points))
        self._tracks = kept
        return found

    def _bridge(self, image: np.ndarray, timestamp: float, track: _Track) -> Box | None:
        if self._last_image is None or track.last_update != self._last_time:
            return None
        if (
            timestamp - track.last_detection > MAX_BRIDGE
            or timestamp - self._last_time > MAX_FRAME_SPACING / 2
        ):
            return None
        box, psr = track_patch(self._last_image, image, track.box)
        if psr < MIN_PSR:
            return None
        inside = validate_detections([box], image.shape[1], image.shape[0], "correlation tracker")
        return pixel_box(inside[0]) if inside else None

    def start_new_track(self, number: int) -> int:
        """Give a track that has switched to another person a new number, which is returned."""
        track = next(t for t in self._tracks if t.number == number)
        track.number, self._next_track = self._next_track, self._next_track + 1
        return track.number


def match_boxes(
    old: Sequence[Sequence[float]], new: Sequence[Sequence[float]], pauses: Sequence[float]
) -> dict[int, int]:
    """Match boxes of two frames one to one so that the total IoU is largest.

    Parameters
    ----------
    old, new
        (left, top, right, bottom) in pixels.
    pauses
        Seconds since each old box was updated. After more than 0.1 s a face may have left its position, so
        that a small distance and a similar size suffice too.

    Returns
    -------
    dict
        Index in ``old`` -> index in ``new``.
    """
    from scipy.optimize import linear_sum_assignment

    if not len(old) or not len(new):
        return {}
    scores = box_iou(old, new)
    scores[scores < MIN_IOU] = 0
    for i, pause in enumerate(pauses):
        if pause > 0.1:
            for j, box in enumerate(new):
                if scores[i, j] == 0 and _could_be_same(old[i], box):
                    scores[i, j] = 1e-3
    rows, columns = linear_sum_assignment(-scores)
    return {int(i): int(j) for i, j in zip(rows, columns, strict=True) if scores[i, j] > 0}


def _could_be_same(a: Sequence[float], b: Sequence[float]) -> bool:
    """Tell whether two boxes are close and of similar size."""
    sides = [max(box[2] - box[0], box[3] - box[1]) for box in (a, b)]
    centres = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (a, b)]
    distance = np.hypot(centres[0][0] - centres[1][0], centres[0][1] - centres[1][1])
    return max(sides) <= MAX_SIZE_RATIO * min(sides) and distance <= MAX_SHIFT * max(sides)


def _continuation(box: Box, detections: Sequence[Detection], pause: float) -> Detection | None:
    """Find the detection that continues ``box``, if there is one."""
    pairs = match_boxes([box], [d.box for d in detections], [pause])
    return detections[pairs[0]] if pairs else None


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """Reduce a frame to (18, 32) float32 luma, the mean of at least 64 pixels of each cell."""
    step = max(min(image.shape[0] // (18 * 8), image.shape[1] // (32 * 8)), 1)
    small = cv2.resize(np.ascontiguousarray(image[::step, ::step]), (32, 18), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)


def scene_changed(before: np.ndarray, after: np.ndarray) -> bool:
    """Tell whether two thumbnails show different scenes, that is, whether their correlation is under 0.6.

    For uniform thumbnails, which have no correlation, a jump in brightness counts as a change.
    """
    a, b = before - before.mean(), after - after.mean()
    spread = np.sqrt((a * a).mean() * (b * b).mean())
    if spread < 1.0:
        return bool(abs(before.mean() - after.mean()) > 30)
    return bool((a * b).mean() / spread < SCENE_CORRELATION)


# Largest distance between face embeddings of one person. It is lower than that of face_recognition, which was
# chosen for single images: means over a track lie closer together, and joining two people does more harm than
# counting one twice, because a fake face would be averaged with a real one.
MAX_PERSON_DISTANCE = 0.5


# Distance between tracks that must not be joined; any mean that contains it is above every threshold.
_NEVER = 1e9


def group_tracks(
    embeddings: Mapping[int, Sequence[np.ndarray]],
    co_occurring: Sequence[Sequence[int]],
    *,
    distance: float = MAX_PERSON_DISTANCE,
) -> dict[int, int]:
    """Group tracks by person.

    Average-linkage clustering of the mean distances between the embeddings of tracks, cut at ``distance``.
    Two faces in one frame always belong to two people.

    Parameters
    ----------
    embeddings
        Maps a track to its face embeddings, each (128,). A track without embeddings is a person of its own.
    co_occurring
        For each frame, the tracks in it.
    distance
        Largest mean Euclidean distance within a person.

    Returns
    -------
    dict
        Maps a track to its person, numbered from 0 in the order of the persons' first tracks.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    tracks = sorted({t for frame in co_occurring for t in frame} | set(embeddings))
    if len(tracks) < 2:
        return dict.fromkeys(tracks, 0)
    row_of = {t: i for i, t in enumerate(tracks)}
    points = [np.asarray(embeddings.get(t, ()), np.float64).reshape(-1, 128) for t in tracks]
    between = np.full((len(tracks), len(tracks)), _NEVER)
    np.fill_diagonal(between, 0)
    for i, a in enumerate(points):
        for j, b in enumerate(points[:i]):
            if len(a) and len(b):
                between[i, j] = between[j, i] = np.linalg.norm(a[:, None] - b[None], axis=2).mean()
    for frame in co_occurring:
        rows = [row_of[t] for t in frame]
        for i in rows:
            for j in rows:
                if i != j:
                    between[i, j] = _NEVER
    clusters = fcluster(linkage(squareform(between), "average"), distance, "distance")
    numbers: dict[int, int] = {}
    return {t: numbers.setdefault(int(c), len(numbers)) for t, c in zip(tracks, clusters, strict=True)}
