"""Analyses one video: tracks and scores faces in sampled frames, groups tracks by person, derives verdicts.

Four steps run concurrently: one thread decodes ahead, others search ahead the frames that will be searched as
a whole, the calling thread tracks faces, and further ones score and measure batches across frames and
persons. Of a frame only its faces with their surroundings wait for a score; afterwards pixels are kept only
for the few that become evidence or a portrait, so memory does not grow with the video.
"""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import Any, Literal

import numpy as np

from ..explanation.methods import Target
from ..faces.detection import DEFAULT_DETECTOR, Box, Detection, Detector, fallback_notes, find_landmarks
from ..faces.face import Face, crop_frame, crop_sharpness, detector_name, left_out_note
from ..faces.pose import is_profile
from ..faces.preprocessing import preprocess
from ..faces.tracking import FaceTracker, TrackedDetection, group_tracks
from ..faces.turned import turn_note, turned_frame
from ..media.frames import Frame
from ..media.notes import Note, unseen
from ..media.video import MAX_PIXELS, Sample, Video, open_video
from ..models.classifier import Classifier, Score
from ..models.embedding import embed_faces
from ..models.loading import default_classifier
from ..models.prediction import Prediction, as_prediction
from ..provenance.reading import provenance_or_reason
from ..utils.jobs import Cancel, Progress, as_cancel_check
from ..utils.threads import opencv_in_one_thread, scoring_jobs, search_threads
from ..utils.wording import pluralize
from .aggregation import DEFAULT, check_strategy
from .fragility import with_changes
from .intervals import MAX_GAP, sampling_interval
from .options import AnalysisOptions
from .video_report import Sighting, VideoReport
from .windows import Window, WindowBuffer

# Faces in a batch. LiteRT scores them one or two at a time, and the sooner a batch is full, the less is left
# to do after the last frame.
_BATCH_SIZE, _LITERT_BATCH_SIZE = 8, 2
# Frames decoded ahead; each holds its pixels meanwhile.
_FRAMES_AHEAD = 2
# Seconds of video between two embeddings of a track, and how many are kept. Beyond this median distance from
# them, the track has jumped to another person.
_IDENTIFY_INTERVAL = 1.0
_MAX_EMBEDDINGS = 12
_OTHER_PERSON_DISTANCE = 0.65
_MIN_IDENTITY_SIZE = 40  # px; the embedding of a smaller face is unreliable
# Margin of pixels kept around a face, as a fraction of its longer side.
_SURROUNDINGS = 1.0

# Faces of each person that are scored again after mild changes.
_CHECKED_FACES = 4

Search = Future[list[Detection]]
# Logit, order of appearance, face.
_Ranked = tuple[float, int, Prediction]


def analyze_video(
    source: Any,
    classifier: Classifier | None = None,
    *,
    frames: int | Literal["all"] | None = 32,
    every: float | None = None,
    start: float = 0.0,
    end: float | None = None,
    detector: str | Detector = DEFAULT_DETECTOR,
    margin: float | None = None,
    min_size: int | None = None,
    aggregation: str = DEFAULT,
    threshold: float | None = None,
    explain_top: int = 4,
    explain: str | None = None,
    target: Target = "fake",
    layer: str | None = None,
    time_limit: float | None = None,
    max_pixels: int = MAX_PIXELS,
    stream: int | None = None,
    progress: Progress | None = None,
    cancel: Cancel = None,
) -> VideoReport:
    """Analyse one video.

    Options are checked before anything else is done; see :class:`redeepfake_nb.analysis.AnalysisOptions`.

    A model that takes several frames at once scores windows of sampled frames that follow each other, so
    ``frames`` or ``every`` also set how far apart the frames of a window are; sample as in its training. See
    :mod:`redeepfake_nb.analysis.windows`.

    Parameters
    ----------
    source
        Path, bytes or upload; see :func:`redeepfake_nb.open_video`.
    classifier
        Default: the model that ships, loaded once per process.
    frames
        Number of frames to sample, spread evenly over the time, or ``"all"``. Ignored where ``every`` is
        given.
    every
        Seconds between sampled frames.
    start, end
        Seconds; only this part is sampled.
    detector, margin, min_size
        See :func:`redeepfake_nb.find_faces`; ``"hog"`` searches near the last position of a face first. A
        video whose first frames show lying faces only is turned by ``"blazeface"``.
    aggregation
        How a person's frames become one score: a name in
        :data:`redeepfake_nb.analysis.aggregation.STRATEGIES`. The report can be aggregated differently later.
    threshold
        Threshold on P(fake), above 0 and below 1. Default: the model's.
    explain_top
        How many of the faces with the highest P(fake) to keep as evidence, and to explain; 0 for none. The
        verdict does not depend on it.
    explain
        Heatmap method of :func:`redeepfake_nb.explain`; ``None`` for no heatmaps.
    target, layer
        Of the heatmaps; see :func:`redeepfake_nb.explain`.
    time_limit
        Seconds that reading the video may take; see :func:`redeepfake_nb.open_video`.
    max_pixels
        Largest width x height of a frame.
    stream
        Which video stream to analyse, where the file has several: 1, 2, ... By default one is chosen, and the
        verdict says that the others were not looked at.
    progress
        Called as ``progress(done, total)`` after each frame, in the calling thread; the total is an estimate,
        or ``None`` where nothing is known.
    cancel
        An event, or a callable that says whether to stop. The report covers what was done by then.

    Returns
    -------
    VideoReport
        Where heatmaps cannot be computed, ``heatmap_error`` says why; scores and verdict are there.

    Raises
    ------
    InputError
        The file is not a video, or no frame can be read. Later damage is described in ``completeness``.
    ModelError
        The model cannot be used.
    UnknownChoice
        Unknown detector, method, target or layer; also a ``ValueError``.
    ValueError
        An option out of range.
    """
    options = AnalysisOptions(detector, margin, min_size, threshold, explain, target, layer)
    check_strategy(aggregation)
    if explain_top < 0:
        raise ValueError(f"explain_top must be 0 or more, not {explain_top}")
    classifier = default_classifier() if classifier is None else classifier
    options.check_layer(classifier)
    start_time = time.perf_counter()
    stop = as_cancel_check(cancel)
    run = _VideoRun(classifier, options, keep=explain_top)
    reading = {"stream": stream, "max_pixels": None if max_pixels == MAX_PIXELS else max_pixels}
    sampling = {"every": every} if every is not None else {"frames": frames}
    with (
        opencv_in_one_thread(),
        open_video(source, time_limit=time_limit, max_pixels=max_pixels, stream=stream) as video,
        ThreadPoolExecutor(scoring_jobs()) as scorer,
        ThreadPoolExecutor(search_threads()) as searchers,
    ):
        options.prepare(classifier)
        sample = video.sample(**sampling, start=start, end=end)
        upright, run.turned = _upright(video, sample, run.tracker)
        with _decode_ahead(upright) as decoded:
            for frame, search in _search_ahead(decoded, run.tracker, searchers):
                if stop():
                    run.cancelled = True
                    break
                run.add_frame(frame, search, scorer)
                if progress is not None:
                    progress(len(run.times), sample.expected)
        run.flush(scorer)
        completeness = video.completeness
        timing = {"scan": round(time.perf_counter() - start_time, 4)}
        persons = group_tracks(run.embeddings, run.tracks_by_frame)
        evidence, checked = _checked(classifier, run, persons)
        explanations, heatmap_error = options.explanations(classifier, evidence)
        # Of a window of frames that one is shown which has the most evidence.
        evidence = [e.prediction for e in explanations] or evidence
        notes = [*fallback_notes(detector_name(detector)), *_range_notes(start, end, video.duration)]
        if run.left_out:
            times = f"in {pluralize(run.left_out, 'frame')} of {len(run.times):,}"
            notes.append(left_out_note(f"{times}, faces", min_size or 0))
        timing["total"] = round(time.perf_counter() - start_time, 4)
        return VideoReport(
            source=replace(video.source, notes=(*video.source.notes, *notes)),
            sightings=tuple(replace(s, person=persons[s.track]) for s in run.sightings),
            frame_times=np.array(run.times),
            frame_size=run.frame_size or (video.width, video.height),
            duration=video.duration,
            card=classifier.card,
            threshold=options.threshold_for(classifier.card),
            completeness=completeness,
            aggregation=aggregation,
            cancelled=run.cancelled,
            evidence=tuple(evidence),
            checked=tuple(checked),
            explanations=explanations,
            heatmap_error=heatmap_error,
            portraits=run.portraits(persons),
            settings={
                "frames": None if every is not None else frames,
                "every": every,
                "start": start,
                "end": end,
                **{key: value for key, value in reading.items() if value is not None},
                **options.settings(classifier),
                "aggregation": aggregation,
                **({"turned": run.turned} if run.turned else {}),
                "searches": dict(run.tracker.counts),
            },
            timing=timing,
            origin=source,
            provenance=provenance_or_reason(source, origin=video.source),
        )


@dataclass
class _PendingFace:
    """A face waiting to be scored, on a crop of its frame, with its box in the whole frame."""

    face: Face
    box: Box
    track: int
    bridged: bool


@dataclass
class _VideoRun:
    """The state of one analysis."""

    classifier: Classifier
    options: AnalysisOptions
    keep: int
    cancelled: bool = False
    turned: int = 0
    left_out: int = 0  # frames with a face under the smallest size
    sightings: list[Sighting] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    frame_size: tuple[int, int] | None = None
    embeddings: dict[int, list[np.ndarray]] = field(default_factory=dict)
    tracks_by_frame: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tracker = FaceTracker(self.options.detector)
        self._identified: dict[int, float] = {}
        self._pending: list[_PendingFace] = []
        self._batches: list[tuple[list[_PendingFace], Future[list[Score]]]] = []
        self._highest: list[_Ranked] = []
        self._highest_of_track: dict[int, list[_Ranked]] = {}
        self._portraits: dict[int, tuple[float, Prediction]] = {}
        self._order = count()
        on_cpu = _LITERT_BATCH_SIZE if self.classifier.uses_litert else _BATCH_SIZE
        self._batch_size = self.classifier.gpu_batch_size or on_cpu
        length = self.classifier.preprocessing.frames
        self._buffer: WindowBuffer[_PendingFace] | None = WindowBuffer(length) if length > 1 else None
        self._windows: list[tuple[Window[_PendingFace], Future[list[Score]]]] = []
        self._window_numbers = count()

    def add_frame(self, frame: Frame, search: Search | None, scorer: ThreadPoolExecutor) -> None:
        """Find, identify and queue the faces of one frame."""
        self.times.append(frame.timestamp)
        self.frame_size = self.frame_size or (frame.width, frame.height)
        found = self.tracker(frame.image, frame.timestamp, None if search is None else search.result())
        min_size = self.options.min_size
        if min_size is not None:
            large = [f for f in found if _shorter_side(f.box) >= min_size]
            self.left_out += len(large) < len(found)
            found = large
        faces = [self._face(frame, f) for f in found]
        self.tracks_by_frame.append([face.track for face in faces])
        if self._buffer is None:
            self._pending += faces
        else:
            for face in faces:
                self._submit_windows(scorer, self._buffer.add(face.track, frame.timestamp, face))
        while len(self._pending) >= self._batch_size:
            self._submit(scorer, self._batch_size)
        self._collect(most=2 * scoring_jobs())

    def _face(self, frame: Frame, found: TrackedDetection) -> _PendingFace:
        left, top, right, bottom = found.box
        sharpness = crop_sharpness(frame.image[top:bottom, left:right])
        landmarks = None
        track = found.track
        due = frame.timestamp - self._identified.get(track, -np.inf) >= _IDENTIFY_INTERVAL
        identify = due and not found.bridged and _shorter_side(found.box) >= _MIN_IDENTITY_SIZE
        profile = is_profile(found.key_points)
        if (identify or self.classifier.preprocessing.align) and not profile:
            (landmarks,) = find_landmarks(frame.image, [found.box])
        if identify and landmarks is not None:
            track = self._identify(frame, landmarks, track)
        margin = self.options.margin
        face = Face(
            frame,
            found.box,
            landmarks,
            found.confidence,
            margin,
            sharpness,
            track=track,
            detector=detector_name(self.options.detector),
            key_points=found.key_points,
        )
        surroundings = max(_SURROUNDINGS, self.classifier.preprocessing.margin if margin is None else margin)
        return _PendingFace(crop_frame(face, surroundings), found.box, track, found.bridged)

    def _identify(self, frame: Frame, landmarks: np.ndarray, track: int) -> int:
        """Store the face's embedding; a track that has jumped to another person gets a new number."""
        (embedding,) = embed_faces(frame.image, [landmarks])
        known = self.embeddings.setdefault(track, [])
        if known and np.median([np.linalg.norm(embedding - k) for k in known]) > _OTHER_PERSON_DISTANCE:
            track = self.tracker.start_new_track(track)
            known = self.embeddings.setdefault(track, [])
        if len(known) < _MAX_EMBEDDINGS:
            known.append(embedding)
        self._identified[track] = frame.timestamp
        return track

    # -- scores

    def _submit(self, scorer: ThreadPoolExecutor, size: int) -> None:
        batch, self._pending = self._pending[:size], self._pending[size:]
        if batch:
            self._batches.append((batch, scorer.submit(self._score, [pending.face for pending in batch])))

    def _submit_windows(self, scorer: ThreadPoolExecutor, windows: Iterable[Window[_PendingFace]]) -> None:
        """Score windows of frames one by one, since one may hold as many faces as a batch."""
        for window in windows:
            faces = [[pending.face for pending in window.items]]
            self._windows.append((window, scorer.submit(self._score, faces)))

    def _score(self, faces: list[Face] | list[list[Face]]) -> list[Score]:
        scores = self.classifier.score(preprocess(faces, self.classifier.preprocessing))
        for face in chain.from_iterable([one] if isinstance(one, Face) else one for one in faces):
            # Measured here, since the calling thread is busy with tracking; the face keeps the results.
            _ = face.detail, face.covered, face.key_points is not None and face.mouth_covered
        return scores

    def _collect(self, most: int) -> None:
        """Record finished batches; wait while more than ``most`` are running, which bounds memory."""
        while self._batches and (len(self._batches) > most or self._batches[0][1].done()):
            batch, future = self._batches.pop(0)
            for pending, score in zip(batch, future.result(), strict=True):
                self._record(pending, score)
        while self._windows and (len(self._windows) > most or self._windows[0][1].done()):
            window, running = self._windows.pop(0)
            self._record_window(window, running.result()[0])

    def flush(self, scorer: ThreadPoolExecutor) -> None:
        """Score the remaining faces."""
        if self._buffer is not None:
            persons = group_tracks(self.embeddings, self.tracks_by_frame)
            longest_gap = MAX_GAP * (sampling_interval(self.times) or 1.0)
            self._submit_windows(scorer, self._buffer.rest(persons, longest_gap))
        self._submit(scorer, len(self._pending))
        self._collect(most=0)
        self.sightings.sort(key=lambda s: (s.timestamp, s.track))

    def _record_window(self, window: Window[_PendingFace], score: Score) -> None:
        """Give a window's score to its sightings, and keep the window if it is among the highest."""
        number = next(self._window_numbers)
        for pending in window.scored:
            self._record(pending, score, number, window.repeated)
        shown = [pending for pending in window.scored if not pending.bridged]
        if shown:
            face = shown[len(shown) // 2].face
            faces = tuple(pending.face for pending in window.items)
            self._keep_highest(replace(as_prediction(face, score, self.classifier.card), window=faces))

    def _keep_highest(self, prediction: Prediction) -> None:
        entry = (prediction.logit, -next(self._order), prediction)
        _push(self._highest, entry, self.keep)
        if not prediction.window:  # windows are not checked
            own = self._highest_of_track.setdefault(prediction.face.track or 0, [])
            _push(own, entry, _CHECKED_FACES)

    def _record(
        self, pending: _PendingFace, score: Score, window: int | None = None, repeated: int = 0
    ) -> None:
        face, c = pending.face, self.classifier
        sharpness = face.sharpness or 0.0
        self.sightings.append(
            Sighting(
                frame=face.frame.index,
                timestamp=face.frame.timestamp,
                box=pending.box,
                track=pending.track,
                person=-1,
                logit=score.logit,
                temperature=c.temperature,
                confidence=face.confidence,
                sharpness=sharpness,
                bridged=pending.bridged,
                detail=face.detail,
                covered=face.covered,
                mouth_covered=None if face.key_points is None else face.mouth_covered,
                uncertain=None if face.key_points is None else face.uncertain,
                profile=None if face.key_points is None else face.profile,
                window=window,
                repeated=repeated,
                kinds=tuple(score.kinds.values()),
            )
        )
        prediction = as_prediction(face, score, c.card)
        if window is None and not pending.bridged:
            self._keep_highest(prediction)
        quality = face.size * min(sharpness, 200.0) * (0.1 if pending.bridged else 1.0)
        best = self._portraits.get(pending.track)
        if best is None or quality > best[0]:
            self._portraits[pending.track] = quality, prediction

    def evidence(self) -> list[Prediction]:
        """Return the kept faces, highest score first."""
        return _ranked(self._highest)

    def strongest(self, persons: dict[int, int]) -> list[Prediction]:
        """Return the faces with the highest scores of each person, highest first."""
        of_person: dict[int, list[_Ranked]] = {}
        for track, entries in self._highest_of_track.items():
            of_person.setdefault(persons[track], []).extend(entries)
        return [p for _, entries in sorted(of_person.items()) for p in _ranked(entries)[:_CHECKED_FACES]]

    def portraits(self, persons: dict[int, int]) -> dict[int, Prediction]:
        """Return the largest and sharpest view of each person."""
        best: dict[int, tuple[float, Prediction]] = {}
        for track, view in sorted(self._portraits.items()):
            person = persons[track]
            if person not in best or view[0] > best[person][0]:
                best[person] = view
        return {person: _with_person(view[1], persons) for person, view in sorted(best.items())}


def _range_notes(start: float, end: float | None, duration: float | None) -> list[Note]:
    """Say that only a part of the video was chosen."""
    ends = end is not None and (duration is None or end < duration)
    if start <= 0 and not ends:
        return []
    until = f"{end:g} s" if end is not None and ends else "the end"
    whole = "" if duration is None else f" of {duration:.1f} s"
    return [unseen(f"only the part from {start:g} s to {until}{whole} looked at, as chosen")]


def _push(heap: list[_Ranked], entry: _Ranked, most: int) -> None:
    """Keep the highest ``most`` entries."""
    if most:
        (heapq.heappush if len(heap) < most else heapq.heappushpop)(heap, entry)


def _ranked(entries: list[_Ranked]) -> list[Prediction]:
    return [prediction for *_, prediction in sorted(entries, key=lambda e: e[:2], reverse=True)]


def _checked(
    classifier: Classifier, run: _VideoRun, persons: dict[int, int]
) -> tuple[list[Prediction], list[Prediction]]:
    """Score the evidence and the strongest faces of each person again after mild changes; return both."""
    evidence, strongest = run.evidence(), run.strongest(persons)
    found = {id(p): _with_person(p, persons) for p in strongest}
    found |= {id(p): _with_landmarks(_with_person(p, persons)) for p in evidence}
    found = dict(zip(found, with_changes(classifier, list(found.values())), strict=True))
    return [found[id(p)] for p in evidence], [found[id(p)] for p in strongest]


def _shorter_side(box: Box) -> int:
    return min(box[2] - box[0], box[3] - box[1])


def _with_person(prediction: Prediction, persons: dict[int, int]) -> Prediction:
    face = prediction.face
    return replace(prediction, face=replace(face, person=None if face.track is None else persons[face.track]))


def _with_landmarks(prediction: Prediction) -> Prediction:
    """Add landmarks where scoring did not need them; heatmaps are summed over the parts of the face."""
    window = {id(face): _face_with_landmarks(face, prediction.face.person) for face in prediction.window}
    face = window.get(id(prediction.face)) or _face_with_landmarks(prediction.face, prediction.face.person)
    return replace(prediction, face=face, window=tuple(window[id(one)] for one in prediction.window))


def _face_with_landmarks(face: Face, person: int | None) -> Face:
    if face.landmarks is None and not face.profile:
        (points,) = find_landmarks(face.frame.image, [face.box])
        face = replace(face, landmarks=points)
    return replace(face, person=person)


def _search_ahead(
    frames: Iterable[Frame], tracker: FaceTracker, searchers: ThreadPoolExecutor
) -> Iterator[tuple[Frame, Search | None]]:
    """Yield each frame with its search, begun early where it is certain that the whole frame is searched."""
    waiting: deque[tuple[Frame, Search | None]] = deque()
    for frame in frames:
        due = tracker.needs_full_search(frame.timestamp)
        waiting.append((frame, searchers.submit(tracker.search, frame.image) if due else None))
        if len(waiting) > search_threads():
            yield waiting.popleft()
    yield from waiting


def _upright(video: Video, sample: Sample, tracker: FaceTracker) -> tuple[Iterator[Frame], int]:
    """Turn the video if its first frames show lying faces only; return its frames and the degrees."""
    first, degrees = tracker.turn_of(sample)
    if degrees:
        first = [turned_frame(frame, degrees) for frame in first]
        video.turn(degrees, turn_note(degrees))
    return chain(first, sample), degrees


@contextmanager
def _decode_ahead(frames: Iterable[Frame]) -> Iterator[Iterator[Frame]]:
    """Decode ``frames`` in a thread that is a few frames ahead. Leaving the block stops the thread."""
    ahead: queue.Queue[Frame | BaseException | None] = queue.Queue(_FRAMES_AHEAD)  # None: the end
    stopped = threading.Event()

    def put(item: Frame | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                ahead.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def decode() -> None:
        try:
            for frame in frames:
                if not put(frame):
                    return
            put(None)
        except BaseException as error:
            put(error)

    def decoded() -> Iterator[Frame]:
        while (item := ahead.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = threading.Thread(target=decode, name="redeepfake-decode", daemon=True)
    thread.start()
    try:
        yield decoded()
    finally:
        stopped.set()
        thread.join()
