"""Faces over time: found where they were a moment ago, followed through a blink, numbered as tracks.

A track is one face over consecutive frames, on the evidence of place alone; whether two tracks show the same
person is for :mod:`redeepfake_nb.faces.tracking` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .detection import Box, Detection, HogDetector, box_iou, checked_detections, get_detector, merge
from .dlib_backend import LOCK, load_dlib


def follow(before: np.ndarray, after: np.ndarray, box: Box) -> tuple[tuple[float, ...], float]:
    """Where the patch in ``box`` of one frame lies in the next.

    dlib's correlation tracker (Danelljan et al., "Accurate Scale Estimation for Robust Visual Tracking", BMVC
    2014); about 6 ms.

    Parameters
    ----------
    before, after
        (H, W, 3) uint8 RGB, of one size.
    box
        (left, top, right, bottom) in ``before``, pixels, right and bottom exclusive.

    Returns
    -------
    box : tuple of float
        In ``after``; it may reach outside.
    strength : float
        Peak to side-lobe ratio of the correlation; under about 7 the patch is hidden or lost.
    """
    with LOCK:
        library = load_dlib()
        tracker = library.correlation_tracker()
        left, top, right, bottom = (int(v) for v in box)
        # dlib's right and bottom are inclusive.
        tracker.start_track(np.ascontiguousarray(before), library.rectangle(left, top, right - 1, bottom - 1))
        strength = tracker.update(np.ascontiguousarray(after))
        place = tracker.get_position()
    return (place.left(), place.top(), place.right() + 1, place.bottom() + 1), float(strength)


# A face in the next frame is the same one if boxes overlap this much, or if, after a longer pause, its centre
# has moved by less than this share of its side and its size has kept within this factor.
OVERLAP = 0.3
MOVED = 0.7
GROWN = 1.6
# Seconds of video: after a longer absence a face begins a new track; a face that no detector sees is followed
# by its pattern for at most this long; frames further apart than this are each searched as a whole; and so is
# one frame in this time, since people enter. A place that held no face is not looked at again for this long.
MAX_GAP = 2.0
BRIDGE = 1.0
APART = 0.5
REFRESH = 1.0
NO_FACE = 3.0
# Correlation of two frames' thumbnails under which the scene has changed.
CUT = 0.6
# Peak to side-lobe ratio (Bolme et al., "Visual Object Tracking using Adaptive Correlation Filters", CVPR
# 2010, section 3.5: under about 7 a target is hidden or lost).
FOLLOWED = 8.0
_WINDOW = HogDetector.window
_COARSE = 2_000_000
_FINE = 8_400_000
_GRID = 48  # px at the scale of the search


@dataclass(frozen=True)
class Found:
    """One face in one frame. ``bridged``: followed by its pattern, no detector saw it there."""

    box: Box
    confidence: float | None
    track: int
    bridged: bool = False


@dataclass
class _Track:
    number: int
    box: Box
    seen: float  # seconds, by a detector
    updated: float  # seconds, by a detector or followed


class FaceFinder:
    """Finds the faces of a video's frames, given in order.

    Parameters
    ----------
    detector
        ``"hog"`` searches coarse to fine, near the last boxes first. Any other name or callable, see
        :func:`redeepfake_nb.find_faces`, is asked for every whole frame.
    refresh
        Seconds of video after which a frame is searched as a whole even if all known faces were found.
    """

    def __init__(
        self, detector: str | Callable[[np.ndarray], Iterable] = "hog", *, refresh: float = REFRESH
    ) -> None:
        self.near = detector == "hog" or isinstance(detector, HogDetector)
        ours = detector == "hog"
        if ours:
            # What it is not sure of is looked at again only where no face is known to be.
            self._search = HogDetector((_COARSE,), confirm=False)
        else:
            self._search = get_detector(detector) if isinstance(detector, str) else detector
        self._fine = HogDetector((_FINE,)) if ours else None
        self.refresh = refresh
        self.counts = {"whole": 0, "near": 0, "fine": 0, "followed": 0}
        self._tracks: list[_Track] = []
        self._made = 0
        self._previous: np.ndarray | None = None
        self._thumbnail: np.ndarray | None = None
        self._time = -np.inf
        self._searched = -np.inf
        self._fine_at = -np.inf
        self._fine_pause = APART
        self._planned = (-np.inf, -np.inf)
        self._no_face: list[tuple[float, Detection]] = []

    def due(self, timestamp: float) -> bool:
        """Whether the frame shown at ``timestamp`` will be searched as a whole whatever is seen until then.

        To be asked once for every frame, in order. The answer depends on the times alone, so a search that is
        begun early on its account changes no result.
        """
        searched, previous = self._planned
        whole = timestamp - searched >= self.refresh or timestamp - previous > APART
        self._planned = (timestamp if whole else searched, timestamp)
        return self.near and whole

    def search(self, image: np.ndarray) -> list[Detection]:
        """The search of a whole frame, for :meth:`__call__`. May run in any thread, several at a time."""
        name = getattr(self._search, "name", "detector")
        return checked_detections(self._search(image), image.shape[1], image.shape[0], name)

    def __call__(
        self, image: np.ndarray, timestamp: float, searched: list[Detection] | None = None
    ) -> list[Found]:
        """The faces of the next frame.

        Parameters
        ----------
        image
            (H, W, 3) uint8 RGB.
        timestamp
            Seconds at which it is shown.
        searched
            What :meth:`search` found in it, where that was asked already.
        """
        thumbnail = _thumbnail(image)
        cut = self._thumbnail is not None and scene_changed(self._thumbnail, thumbnail)
        if cut or (self._previous is not None and self._previous.shape != image.shape):
            self._tracks, self._no_face, self._fine_pause = [], [], APART
            self._previous = None
        known = [t for t in self._tracks if timestamp - t.updated <= MAX_GAP]
        detections = self._detect(image, timestamp, known, searched)
        found = self._assign(image, timestamp, known, detections)
        self._previous, self._thumbnail, self._time = image, thumbnail, timestamp
        return found

    # -- detection

    def _detect(
        self, image: np.ndarray, timestamp: float, known: list[_Track], searched: list[Detection] | None
    ) -> list[Detection]:
        height, width = image.shape[:2]
        whole = (
            not self.near
            or searched is not None
            or not known
            or timestamp - self._searched >= self.refresh
            or timestamp - self._time > APART
        )
        found: list[Detection] = []
        if self.near:
            nearby = [self._look_near(image, t.box) for t in known] if not whole else []
            whole = whole or any(n is None for n in nearby)
            found = [n for n in nearby if n is not None]
        if whole:
            self.counts["whole"] += 1
            self._searched = timestamp
            seen = self.search(image) if searched is None else searched
            found = merge(found + self._confirmed(image, timestamp, known, seen))
            if self.near:
                lost = [t for t in known if _best(t.box, found, timestamp - t.updated) is None]
                again = [self._look_near(image, t.box) for t in lost]
                found = merge(found + [n for n in again if n is not None])
        if not found and self._fine is not None and timestamp - self._fine_at >= self._fine_pause:
            # A search four times as fine costs as much as all else together. Where it finds nothing
            # it is tried ever more rarely.
            self.counts["fine"] += 1
            self._fine_at = timestamp
            found = self._fine(image)
            self._fine_pause = APART if found else min(2 * self._fine_pause, 32 * APART)
        return checked_detections(found, width, height, "hog") if found else []

    def _confirmed(
        self, image: np.ndarray, timestamp: float, known: list[_Track], seen: list[Detection]
    ) -> list[Detection]:
        """Without what looks like a face to HOG alone. A place is not looked at twice within a short time."""
        if self._fine is None:
            return seen
        self._no_face = [(time, d) for time, d in self._no_face if timestamp - time < NO_FACE]
        answers = [(Detection(t.box), True) for t in known] + [(d, False) for _, d in self._no_face]
        before = len(answers)
        confirmed = self._fine.confirmed(image, seen, answers)
        self._no_face += [(timestamp, d) for d, agreed in answers[before:] if not agreed]
        return confirmed

    def _look_near(self, image: np.ndarray, box: Box) -> Detection | None:
        """The face at or beside ``box``, searched for on the part of the frame around it."""
        self.counts["near"] += 1
        side = max(box[2] - box[0], box[3] - box[1])
        # Begin two steps of the pyramid finer than the face was: it may have shrunk.
        scale = min(2.0, _WINDOW * 1.2**2 / side)
        # HOG sees the picture in cells; on a fixed grid of starts a face at rest gets the same box again.
        grid = max(round(_GRID / scale), 1)
        low = [max(round(v - side), 0) // grid * grid for v in box[:2]]
        limits = (image.shape[1], image.shape[0])
        high = [min(round(v + side), n) for v, n in zip(box[2:], limits, strict=True)]
        part = image[low[1] : high[1], low[0] : high[0]]
        near = HogDetector((part.shape[0] * part.shape[1] * scale**2 * 1.001,), confirm=False)
        offset = np.array([*low, *low])
        candidates = [Detection(tuple(np.add(d.box, offset)), d.confidence) for d in near(part)]
        return _best(box, candidates, APART)

    # -- tracks

    def _assign(
        self, image: np.ndarray, timestamp: float, known: list[_Track], detections: list[Detection]
    ) -> list[Found]:
        found, kept = [], []
        pairs = match(
            [t.box for t in known], [d.box for d in detections], [timestamp - t.updated for t in known]
        )
        taken = set(pairs.values())
        for i, track in enumerate(known):
            if i in pairs:
                d = detections[pairs[i]]
                track.box, track.seen, track.updated = tuple(d.box), timestamp, timestamp
                found.append(Found(track.box, d.confidence, track.number))
                kept.append(track)
                continue
            box = self._follow(image, timestamp, track)
            # What is followed onto a face that another track has is that other face.
            boxes = [d.box for d in detections]
            if box is not None and not (boxes and box_iou([box], boxes).max() >= OVERLAP):
                self.counts["followed"] += 1
                track.box, track.updated = box, timestamp
                found.append(Found(box, None, track.number, bridged=True))
            kept.append(track)
        for j, d in enumerate(detections):
            if j not in taken:
                track = _Track(self._made, tuple(d.box), timestamp, timestamp)
                self._made += 1
                kept.append(track)
                found.append(Found(track.box, d.confidence, track.number))
        self._tracks = kept
        return found

    def _follow(self, image: np.ndarray, timestamp: float, track: _Track) -> Box | None:
        if self._previous is None or track.updated != self._time:
            return None
        if timestamp - track.seen > BRIDGE or timestamp - self._time > APART / 2:
            return None
        box, strength = follow(self._previous, image, track.box)
        if strength < FOLLOWED:
            return None
        (checked,) = checked_detections([box], image.shape[1], image.shape[0], "follow") or (None,)
        return None if checked is None else checked.box

    def split(self, number: int) -> int:
        """Say that a track has jumped to another person: from now on it goes by the number returned."""
        track = next(t for t in self._tracks if t.number == number)
        track.number, self._made = self._made, self._made + 1
        return track.number


def match(old: Sequence[Box], new: Sequence[Box], pauses: Sequence[float]) -> dict[int, int]:
    """Which new box continues which old one, each at most once: the pairing with the most overlap.

    Parameters
    ----------
    old, new
        (left, top, right, bottom) in pixels.
    pauses
        Seconds since each old box was seen. After more than 0.1 s a face may have moved off its place, and
        nearness and like size count too.

    Returns
    -------
    dict
        Index in ``old`` -> index in ``new``.
    """
    from scipy.optimize import linear_sum_assignment

    if not len(old) or not len(new):
        return {}
    worth = box_iou(old, new)
    worth[worth < OVERLAP] = 0
    for i, pause in enumerate(pauses):
        if pause > 0.1:
            for j, box in enumerate(new):
                if worth[i, j] == 0 and _is_near(old[i], box):
                    worth[i, j] = 1e-3
    rows, columns = linear_sum_assignment(-worth)
    return {int(i): int(j) for i, j in zip(rows, columns, strict=True) if worth[i, j] > 0}


def _is_near(a: Box, b: Box) -> bool:
    sides = [max(box[2] - box[0], box[3] - box[1]) for box in (a, b)]
    centres = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (a, b)]
    distance = np.hypot(centres[0][0] - centres[1][0], centres[0][1] - centres[1][1])
    return max(sides) <= GROWN * min(sides) and distance <= MOVED * max(sides)


def _best(box: Box, detections: Sequence[Detection], pause: float) -> Detection | None:
    """The detection that continues ``box``, if one does."""
    pairs = match([box], [d.box for d in detections], [pause])
    return detections[pairs[0]] if pairs else None


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """(18, 32) float32 luma."""
    small = cv2.resize(image, (32, 18), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)


def scene_changed(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether two thumbnails show different scenes: their correlation is under 0.6.

    A fade to one flat grey has no correlation; it counts as a change where the brightness jumps.
    """
    a, b = before - before.mean(), after - after.mean()
    spread = np.sqrt((a * a).mean() * (b * b).mean())
    if spread < 1.0:
        return bool(abs(before.mean() - after.mean()) > 30)
    return bool((a * b).mean() / spread < CUT)


# Distance of two faces' 128 numbers under which face_recognition calls them one person. It was chosen for
# single pictures; means over a track lie closer, and wrongly joined people do more harm than one person
# counted twice, since a fake one would be averaged with a real one.
SAME_PERSON = 0.5


# Put between tracks that must not be joined; any mean over pairs that holds it is above every threshold.
_NEVER = 1e9


def group_tracks(
    embeddings: Mapping[int, Sequence[np.ndarray]],
    together: Sequence[Sequence[int]],
    *,
    distance: float = SAME_PERSON,
) -> dict[int, int]:
    """Which person each track shows.

    Average linkage over the mean distances between tracks' embeddings, cut at ``distance``. Two faces in
    one frame are two people, whatever they look like.

    Parameters
    ----------
    embeddings
        Track -> its face embeddings, each (128,). A track without any is a person of its own.
    together
        For each frame, the tracks seen in it.
    distance
        Largest mean Euclidean distance within a person.

    Returns
    -------
    dict
        Track -> person, numbered from 0 in the order of the persons' first tracks.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    tracks = sorted({t for frame in together for t in frame} | set(embeddings))
    if len(tracks) < 2:
        return dict.fromkeys(tracks, 0)
    place = {t: i for i, t in enumerate(tracks)}
    points = [np.asarray(embeddings.get(t, ()), np.float64).reshape(-1, 128) for t in tracks]
    between = np.full((len(tracks), len(tracks)), _NEVER)
    np.fill_diagonal(between, 0)
    for i, a in enumerate(points):
        for j, b in enumerate(points[:i]):
            if len(a) and len(b):
                between[i, j] = between[j, i] = np.linalg.norm(a[:, None] - b[None], axis=2).mean()
    for frame in together:
        rows = [place[t] for t in frame]
        for i in rows:
            for j in rows:
                if i != j:
                    between[i, j] = _NEVER
    clusters = fcluster(linkage(squareform(between), "average"), distance, "distance")
    numbers: dict[int, int] = {}
    return {t: numbers.setdefault(int(c), len(numbers)) for t, c in zip(tracks, clusters, strict=True)}
