"""A video -> a report: decode, find and follow faces, score them in batches, tell persons apart, judge.

Four things go on at a time: PyAV decodes ahead in a thread of its own, frames that will be searched as a
whole are searched ahead in others, faces are followed in the calling thread, and batches across frames and
persons are scored in one more. Of a frame only its faces with their surroundings wait for a score; afterwards
pixels stay only for the few that become evidence or a portrait, so memory does not grow with the video.
"""

from __future__ import annotations

import heapq
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Literal

import numpy as np

from ..explanation.heatmaps import explain as explain_predictions
from ..faces.detection import Box, Detector, find_landmarks
from ..faces.face import Face, crop_frame, crop_sharpness, detector_name
from ..faces.preprocessing import preprocess
from ..faces.tracking import FaceTracker, TrackedDetection, group_tracks
from ..media.frames import Frame
from ..media.video import open_video
from ..models.classifier import Classifier
from ..models.embedding import embed_faces
from ..models.loading import default_classifier
from ..models.prediction import Prediction
from ..utils.jobs import Cancel, Progress, as_cancel_check
from ..utils.numeric import check_threshold
from .aggregation import DEFAULT, aggregate
from .video_report import Sighting, VideoReport

_BATCH = 8
# Frames decoded, and searched, before they are looked at. Each keeps its pixels meanwhile.
_AHEAD = 2
_SEARCHERS = min(os.cpu_count() or 1, 4)
# A track is looked at for its identity this often, in seconds of video, and this many times at most; beyond
# this distance from its former looks it has jumped to somebody else.
_IDENTIFY_EVERY = 1.0
_LOOKS = 12
_SOMEBODY_ELSE = 0.65
_SMALLEST_IDENTITY = 40  # px; below it 128 numbers say little
# What is kept around a face, as a share of its longer side.
_SURROUNDINGS = 1.0


def analyze_video(
    source: Any,
    classifier: Classifier | None = None,
    *,
    frames: int | Literal["all"] | None = 32,
    every: float | None = None,
    start: float = 0.0,
    end: float | None = None,
    detector: str | Detector = "hog",
    margin: float | None = None,
    aggregation: str = DEFAULT,
    threshold: float | None = None,
    explain_top: int = 4,
    explain: str = "gradcam",
    time_limit: float | None = None,
    progress: Progress | None = None,
    cancel: Cancel = None,
) -> VideoReport:
    """Analyse a video.

    Parameters
    ----------
    source
        Path, bytes or upload; see :func:`redeepfake_nb.open_video`.
    classifier
        Default: the model that ships, loaded once per process.
    frames
        How many frames to look at, spread evenly over the time, or ``"all"``. Ignored where ``every`` is
        given.
    every
        Seconds between frames.
    start, end
        Seconds; only this part is looked at.
    detector, margin
        See :func:`redeepfake_nb.find_faces`; ``"hog"`` looks near the last place of a face first.
    aggregation
        A name in :data:`redeepfake_nb.analysis.aggregation.STRATEGIES`; the report can show another one later.
    threshold
        Cut on P(fake). Default: the model's.
    explain_top
        How many of the strongest frames to keep and to explain; 0 for none.
    explain
        Method of :func:`redeepfake_nb.explain`.
    time_limit
        Seconds that reading the video may take; see :func:`redeepfake_nb.open_video`.
    progress
        Called as ``progress(done, total)`` after each frame, in the calling thread; the total is an estimate,
        or None where nothing is known.
    cancel
        An event, or a callable that says whether to stop. What was done is reported.

    Returns
    -------
    VideoReport

    Raises
    ------
    InputError
        The file is no video, or not one frame can be read. Damage further on is in ``completeness``.
    ModelError
        The model cannot be used.
    ValueError
        An option out of range.
    """
    aggregate([0.0], aggregation)
    classifier = default_classifier() if classifier is None else classifier
    cut = classifier.threshold if threshold is None else threshold
    check_threshold(cut)
    if explain_top < 0:
        raise ValueError(f"explain_top must be 0 or more, not {explain_top}")
    began = time.perf_counter()
    stop = as_cancel_check(cancel)
    work = _Work(classifier, detector, margin, keep=explain_top)
    sampling = {"every": every} if every is not None else {"frames": frames}
    with (
        open_video(source, time_limit=time_limit) as video,
        ThreadPoolExecutor(1) as scorer,
        ThreadPoolExecutor(_SEARCHERS) as searchers,
    ):
        sample = video.sample(**sampling, start=start, end=end)
        with _ahead(sample) as stream:
            for frame, search in _searched_ahead(stream, work.finder, searchers):
                if stop():
                    work.cancelled = True
                    break
                work.look(frame, search, scorer)
                if progress is not None:
                    progress(len(work.times), sample.expected)
        work.flush(scorer)
        completeness = video.completeness
        timing = {"scan": round(time.perf_counter() - began, 4)}
        persons = group_tracks(work.embeddings, work.together)
        evidence = [_with_landmarks(_of_person(p, persons)) for p in work.evidence()]
        explanations = explain_predictions(classifier, evidence, explain) if evidence else []
        timing["total"] = round(time.perf_counter() - began, 4)
        return VideoReport(
            source=video.source,
            sightings=tuple(replace(s, person=persons[s.track]) for s in work.sightings),
            frame_times=np.array(work.times),
            frame_size=work.frame_size or (video.width, video.height),
            duration=video.duration,
            card=classifier.card,
            threshold=cut,
            completeness=completeness,
            aggregation=aggregation,
            cancelled=work.cancelled,
            evidence=tuple(evidence),
            explanations=tuple(explanations),
            portraits=work.best_views(persons),
            settings={
                "frames": None if every is not None else frames,
                "every": every,
                "start": start,
                "end": end,
                "detector": detector_name(detector),
                "margin": classifier.preprocessing.margin if margin is None else margin,
                "aggregation": aggregation,
                "threshold": cut,
                "explain": explain if evidence else None,
                "searches": dict(work.finder.counts),
            },
            timing=timing,
            origin=source,
        )


@dataclass
class _Waiting:
    """A face that is to be scored, cut out of its frame, and its box in the whole frame."""

    face: Face
    box: Box
    bridged: bool


@dataclass
class _Work:
    """What an analysis has gathered so far."""

    classifier: Classifier
    detector: str | Detector
    margin: float | None
    keep: int
    cancelled: bool = False
    sightings: list[Sighting] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    frame_size: tuple[int, int] | None = None
    embeddings: dict[int, list[np.ndarray]] = field(default_factory=dict)
    together: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.finder = FaceTracker(self.detector)
        self._looked: dict[int, float] = {}
        self._waiting: list[_Waiting] = []
        self._batches: list[tuple[list[_Waiting], Future]] = []
        self._top: list[tuple[float, int, Prediction]] = []
        self._portraits: dict[int, tuple[float, Prediction]] = {}
        self._order = count()

    def look(self, frame: Frame, search: Future | None, scorer: ThreadPoolExecutor) -> None:
        """Find, name and queue the faces of one frame."""
        self.times.append(frame.timestamp)
        self.frame_size = self.frame_size or (frame.width, frame.height)
        found = self.finder(frame.image, frame.timestamp, search and search.result())
        faces = [self._face(frame, f) for f in found]
        self.together.append([face.track for face in faces])
        self._waiting += [_Waiting(face, f.box, f.bridged) for face, f in zip(faces, found, strict=True)]
        while len(self._waiting) >= _BATCH:
            self._submit(scorer, _BATCH)
        self._collect(most=2)

    def _face(self, frame: Frame, found: TrackedDetection) -> Face:
        left, top, right, bottom = found.box
        sharpness = crop_sharpness(frame.image[top:bottom, left:right])
        landmarks = None
        track = found.track
        due = frame.timestamp - self._looked.get(track, -np.inf) >= _IDENTIFY_EVERY
        size = min(right - left, bottom - top)
        identify = due and not found.bridged and size >= _SMALLEST_IDENTITY
        if identify or self.classifier.preprocessing.align:
            (landmarks,) = find_landmarks(frame.image, [found.box])
        if identify:
            track = self._identify(frame, landmarks, track)
        face = Face(
            frame,
            found.box,
            landmarks,
            found.confidence,
            self.margin,
            sharpness,
            track=track,
            detector=detector_name(self.detector),
        )
        margin = self.classifier.preprocessing.margin if self.margin is None else self.margin
        return crop_frame(face, max(_SURROUNDINGS, margin))

    def _identify(self, frame: Frame, landmarks: np.ndarray, track: int) -> int:
        """Remember how the face looks; a track that shows somebody else from here on gets a new number."""
        (looks,) = embed_faces(frame.image, [landmarks])
        known = self.embeddings.setdefault(track, [])
        if known and np.median([np.linalg.norm(looks - k) for k in known]) > _SOMEBODY_ELSE:
            track = self.finder.split(track)
            known = self.embeddings.setdefault(track, [])
        if len(known) < _LOOKS:
            known.append(looks)
        self._looked[track] = frame.timestamp
        return track

    # -- scores

    def _submit(self, scorer: ThreadPoolExecutor, size: int) -> None:
        batch, self._waiting = self._waiting[:size], self._waiting[size:]
        if batch:
            self._batches.append((batch, scorer.submit(self._score, [w.face for w in batch])))

    def _score(self, faces: list[Face]) -> np.ndarray:
        return self.classifier.logits(preprocess(faces, self.classifier.preprocessing))

    def _collect(self, most: int) -> None:
        """Take over finished batches; wait while more than ``most`` are under way, which bounds memory."""
        while self._batches and (len(self._batches) > most or self._batches[0][1].done()):
            batch, future = self._batches.pop(0)
            for waiting, logit in zip(batch, future.result(), strict=True):
                self._record(waiting, float(logit))

    def flush(self, scorer: ThreadPoolExecutor) -> None:
        """Score what is left."""
        self._submit(scorer, len(self._waiting))
        self._collect(most=0)
        self.sightings.sort(key=lambda s: (s.timestamp, s.track))

    def _record(self, waiting: _Waiting, logit: float) -> None:
        face, c = waiting.face, self.classifier
        frame = face.frame
        self.sightings.append(
            Sighting(
                frame=frame.index,
                timestamp=frame.timestamp,
                box=waiting.box,
                track=face.track,
                person=-1,
                logit=logit,
                temperature=c.temperature,
                confidence=face.confidence,
                sharpness=face.sharpness,
                bridged=waiting.bridged,
            )
        )
        prediction = Prediction(face, logit, c.temperature, c.threshold)
        if self.keep and not waiting.bridged:
            entry = (logit, -next(self._order), prediction)
            (heapq.heappush if len(self._top) < self.keep else heapq.heappushpop)(self._top, entry)
        worth = face.size * min(face.sharpness, 200.0) * (0.1 if waiting.bridged else 1.0)
        if worth > self._portraits.get(face.track, (-1.0, None))[0]:
            self._portraits[face.track] = worth, prediction

    def evidence(self) -> list[Prediction]:
        """The frames that speak loudest for fake, strongest first."""
        return [prediction for *_, prediction in sorted(self._top, key=lambda e: e[:2], reverse=True)]

    def best_views(self, persons: dict[int, int]) -> dict[int, Prediction]:
        """Person -> the largest and sharpest of its tracks' views."""
        best: dict[int, tuple[float, Prediction]] = {}
        for track, view in sorted(self._portraits.items()):
            person = persons[track]
            if view[0] > best.get(person, (-1.0, None))[0]:
                best[person] = view
        return {person: _of_person(view[1], persons) for person, view in sorted(best.items())}


def _of_person(prediction: Prediction, persons: dict[int, int]) -> Prediction:
    face = prediction.face
    return replace(prediction, face=replace(face, person=persons[face.track]))


def _with_landmarks(prediction: Prediction) -> Prediction:
    """Where they were not needed before: to tell the parts of a face that is shown."""
    face = prediction.face
    if face.landmarks is not None:
        return prediction
    (points,) = find_landmarks(face.frame.image, [face.box])
    return replace(prediction, face=replace(face, landmarks=points))


def _searched_ahead(
    frames: Iterable[Frame], finder: FaceTracker, searchers: ThreadPoolExecutor
) -> Iterator[tuple[Frame, Future | None]]:
    """Each frame with the search of it, begun early, where it is certain to be searched as a whole."""
    waiting: deque[tuple[Frame, Future | None]] = deque()
    for frame in frames:
        due = finder.due(frame.timestamp)
        waiting.append((frame, searchers.submit(finder.search, frame.image) if due else None))
        if len(waiting) > _SEARCHERS:
            yield waiting.popleft()
    yield from waiting


@contextmanager
def _ahead(frames: Iterable[Frame]) -> Iterator[Iterator[Frame]]:
    """``frames``, decoded by a thread that is a few frames ahead. Leaving the block stops the thread."""
    line: queue.Queue = queue.Queue(_AHEAD)
    left = threading.Event()

    def put(item: tuple[str, Any]) -> bool:
        while not left.is_set():
            try:
                line.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def decode() -> None:
        try:
            for frame in frames:
                if not put(("frame", frame)):
                    return
            put(("end", None))
        except BaseException as error:
            put(("error", error))

    def take() -> Iterator[Frame]:
        while True:
            kind, value = line.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value

    thread = threading.Thread(target=decode, name="redeepfake-decode", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        left.set()
        thread.join()
