"""Scores many files with one classifier; every file has an outcome, whatever it holds.

Images are read ahead by a thread, and their faces scored in batches across files. With TensorFlow all batches
have the same number of rows, padded with zeros where necessary: the last bits of a convolution's result
depend on the batch size, and a file's score must not depend on the files that were scored with it. LiteRT
scores one face at a time.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ..analysis.aggregation import DEFAULT, check_strategy
from ..analysis.fragility import with_changes
from ..analysis.image import ImageReport
from ..analysis.options import AnalysisOptions
from ..analysis.report import Report, highest_probability
from ..analysis.verdict import Verdict, judge, with_provenance, without_face
from ..analysis.video import analyze_video
from ..analysis.video_report import VideoReport
from ..errors import UNEXPECTED, MediaTooLarge, RedeepfakeError, one_line_message
from ..faces.detection import DEFAULT_DETECTOR, Detector
from ..faces.face import Face, detector_name, find_faces
from ..faces.preprocessing import preprocess
from ..media.file_types import is_video
from ..media.frames import Frame, Source, read_image
from ..media.video import MAX_PIXELS as MAX_FRAME_PIXELS
from ..models.classifier import Classifier, Score
from ..models.prediction import as_prediction
from ..provenance.reading import provenance_or_reason
from ..provenance.records import Provenance
from .remote import local_copy

Status = Literal["done", "no face", "partial", "failed"]

# Rows of a batch. One CPU core gains next to nothing from more; padding costs as much as faces do. A GPU
# gains from as many as its memory holds, but a job has few pictures.
BATCH_SIZE, MOST_ON_GPU = 4, 16
# Decoded pixels that may be held until a batch is full.
_MAX_PENDING_PIXELS = 24_000_000
_VIDEOS_ONLY = "Scan videos with it, and pictures with a model of single pictures."
# Left out of the detail: what all files of a scan share, and what differs between copies of a file.
_NOT_IN_DETAIL = ("model", "versions", "settings", "timing", "source")


@dataclass(frozen=True)
class ScanSettings:
    """The settings that, with a file's bytes and the model, determine the file's outcome.

    Parameters
    ----------
    frames
        Frames sampled from a video; see :func:`redeepfake_nb.analyze_video`.
    detector, margin, min_size
        See :func:`redeepfake_nb.find_faces`.
    aggregation
        How the scores of a video's frames are combined.
    threshold
        Decision threshold on P(fake).
    max_pixels
        Most pixels of an image or frame; ``None``: the limit of each kind of file.
    stream
        Which video stream of a file with several, from 1; ``None``: the one that is chosen by itself.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    frames: int | Literal["all"] = 32
    detector: str | Detector = DEFAULT_DETECTOR
    margin: float | None = None
    aggregation: str = DEFAULT
    threshold: float = 0.5
    min_size: int | None = None
    max_pixels: int | None = None
    stream: int | None = None

    def __post_init__(self) -> None:
        for name, value in self._reading.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a number from 1, not {value!r}")
        whole = isinstance(self.frames, int) and not isinstance(self.frames, bool) and self.frames > 0
        if self.frames != "all" and not whole:
            raise ValueError(f'frames must be a number above 0 or "all", not {self.frames!r}')
        AnalysisOptions(self.detector, self.margin, self.min_size, self.threshold)
        check_strategy(self.aggregation)

    @property
    def _reading(self) -> dict[str, int]:
        """The settings of reading that are not the usual ones."""
        values = {"max_pixels": self.max_pixels, "stream": self.stream}
        return {name: value for name, value in values.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; a custom detector is given by its qualified name."""
        name = self.detector
        if not isinstance(name, str):
            home = name if inspect.isroutine(name) or inspect.isclass(name) else type(name)
            name = f"{home.__module__}.{getattr(home, '__qualname__', detector_name(name))}"
        values = {
            "frames": self.frames,
            "detector": name,
            "margin": self.margin,
            "aggregation": self.aggregation,
            "threshold": self.threshold,
        }
        # Left out where they change nothing, so that the digests in older journals stay valid.
        smallest = {} if self.min_size is None else {"min_size": self.min_size}
        return {**values, **smallest, **self._reading}

    def digest(self, model: Mapping[str, Any]) -> str:
        """Return the SHA-256 of the settings and of what identifies the model, as canonical JSON."""
        text = json.dumps({"settings": self.to_dict(), "model": model}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """The result of scoring one file, or the error that prevented it.

    Parameters
    ----------
    status
        ``"done"``; ``"no face"`` where a whole file shows none; ``"partial"`` where a part of a video could
        not be read; ``"failed"``.
    sha256
        Of the bytes that were scored; ``None`` where it failed.
    kind
        ``"image"`` or ``"video"``.
    faces
        Number of faces in an image, of persons in a video.
    score
        Highest P(fake) among them, 0..1; ``None`` without any.
    detail
        The report as plain JSON, without what all files of a scan have in common; of a video also
        ``sightings``, the score of every face in every sampled frame.
    declared
        See :class:`redeepfake_nb.scanning.FileResult`.
    error, cause, next_step
        Class and texts of the typed error.
    seconds
        Processing time. Differs from run to run; nothing else does.
    """

    status: Status
    sha256: str | None = None
    kind: str | None = None
    format: str | None = None
    size_bytes: int | None = None
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    faces: int | None = None
    score: float | None = None
    threshold: float | None = None
    verdict: str | None = None
    reasons: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    cause: str | None = None
    next_step: str | None = None
    seconds: float = 0.0
    declared: str | None = None

    @classmethod
    def from_error(cls, error: BaseException, seconds: float = 0.0) -> Outcome:
        """Make the outcome of a file that could not be scored."""
        if isinstance(error, MemoryError):
            error = MediaTooLarge("there is not enough memory for it", next_step="Make it smaller first.")
        if isinstance(error, RedeepfakeError):
            cause, next_step = error.cause, error.next_step
        else:
            cause = one_line_message(error, 300)
            next_step = UNEXPECTED
        return cls(
            "failed",
            error=type(error).__name__,
            cause=cause,
            next_step=next_step,
            seconds=round(seconds, 4),
        )

    @classmethod
    def from_image(cls, report: ImageReport, seconds: float) -> Outcome:
        """Make the outcome of an image that was read from a file."""
        return _from_report(report, "done", seconds)

    @classmethod
    def from_video(cls, report: VideoReport, seconds: float) -> Outcome:
        """Make the outcome of a video."""
        status: Status = "done" if report.completeness.complete else "partial"
        outcome = _from_report(report, status, seconds)
        return replace(outcome, detail={**outcome.detail, "sightings": _sightings(report)})

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Outcome:
        """Make an outcome from the values of :meth:`to_dict`."""
        return cls(**{**values, "reasons": tuple(values["reasons"])})


def _from_report(report: Report, status: Status, seconds: float) -> Outcome:
    values, source = report.to_dict(), report.source
    if source is None:
        raise ValueError("the report is on an image without a source")
    return Outcome(
        status="no face" if status == "done" and not report.scored else status,
        sha256=source.sha256,
        kind=report.kind,
        format=source.format,
        size_bytes=source.size_bytes,
        width=values["width"],
        height=values["height"],
        duration=values.get("duration_s"),
        faces=len(report.scored),
        score=highest_probability(report),
        threshold=report.threshold,
        verdict=report.verdict.label,
        reasons=_reasons(report.verdict, source),
        detail={
            **{key: value for key, value in values.items() if key not in _NOT_IN_DETAIL},
            "warnings": list(source.warnings),
        },
        seconds=round(seconds, 4),
        declared=_declared(report.provenance),
    )


def _declared(provenance: Provenance | None) -> str | None:
    if provenance is None:
        return None
    return "tampered" if provenance.tampered else provenance.declared_ai


def _sightings(report: VideoReport) -> dict[str, list[float]]:
    """Return frame, time, person and logit of every face, in four lists of equal length."""
    found = report.sightings
    return {
        "frame": [s.frame for s in found],
        "time_s": [round(s.timestamp, 4) for s in found],
        "person": [s.person + 1 for s in found],
        "logit": [round(s.logit, 6) for s in found],
    }


def _reasons(verdict: Verdict, source: Source) -> tuple[str, ...]:
    """The reasons of a row, which has no headline that names what the model cannot see, and no warnings."""
    limits = [verdict.limits] if verdict.label == "real" and verdict.limits else []
    return tuple(dict.fromkeys((*verdict.reasons, *limits, *source.warnings)))


@dataclass
class _PendingImage:
    """An image whose faces are still to be scored."""

    index: int
    frame: Frame
    faces: list[Face]
    seconds: float
    provenance: Provenance | None


class FileScorer:
    """Scores images and videos with one classifier."""

    def __init__(self, classifier: Classifier, settings: ScanSettings) -> None:
        self._classifier = classifier
        self._settings = settings
        self._rows = min(classifier.gpu_batch_size or BATCH_SIZE, MOST_ON_GPU)

    @property
    def uses_litert(self) -> bool:
        """Whether LiteRT computes the scores."""
        return self._classifier.uses_litert

    def score(self, paths: Sequence[str], started: Callable[[int], None]) -> Iterator[tuple[int, Outcome]]:
        """Yield the index in ``paths`` and the outcome of every file, as they become available.

        Parameters
        ----------
        paths
            Paths or addresses.
        started
            Called with an index before that file is processed, and with -1 before a batch of several files.
        """
        pending: list[_PendingImage] = []
        with ThreadPoolExecutor(1) as reader:
            ahead: Future[tuple[Frame | None, Provenance | None]] | None = None
            for index, path in enumerate(paths):
                started(index)
                start = time.perf_counter()
                limit = self._settings.max_pixels
                reading = ahead or reader.submit(_read, path, limit)
                ahead = reader.submit(_read, paths[index + 1], limit) if index + 1 < len(paths) else None
                try:
                    frame, provenance = reading.result()
                    if frame is None:
                        yield index, self._score_video(path, start)
                        continue
                    self._classifier.check_single_pictures(_VIDEOS_ONLY)
                    s = self._settings
                    faces = find_faces(frame, s.detector, margin=s.margin, min_size=s.min_size)
                    frame = faces[0].frame if faces else frame  # it may have been turned
                except Exception as error:
                    yield index, Outcome.from_error(error, time.perf_counter() - start)
                    continue
                seconds = time.perf_counter() - start
                pending.append(_PendingImage(index, frame, faces, seconds, provenance))
                if _fills_batches(pending, self._rows):
                    started(-1)
                    yield from self._score_images(pending)
                    pending = []
            started(-1)
            yield from self._score_images(pending)

    def _score_video(self, path: str, start: float) -> Outcome:
        s = self._settings
        with local_copy(path) as copy:
            report = analyze_video(
                copy,
                self._classifier,
                frames=s.frames,
                detector=s.detector,
                margin=s.margin,
                min_size=s.min_size,
                aggregation=s.aggregation,
                threshold=s.threshold,
                explain_top=0,
                stream=s.stream,
                max_pixels=MAX_FRAME_PIXELS if s.max_pixels is None else s.max_pixels,
            )
        return Outcome.from_video(report, time.perf_counter() - start)

    def _score_images(self, pending: list[_PendingImage]) -> Iterator[tuple[int, Outcome]]:
        start = time.perf_counter()
        faces = [face for image in pending for face in image.faces]
        try:
            scores = self._scores(faces)
        except Exception as error:
            if len(pending) == 1:
                yield pending[0].index, Outcome.from_error(error, pending[0].seconds)
                return
            # Only the file that causes the error fails.
            for image in pending:
                yield from self._score_images([image])
            return
        seconds_per_face = (time.perf_counter() - start) / max(len(faces), 1)
        for image in pending:
            own, scores = scores[: len(image.faces)], scores[len(image.faces) :]
            seconds = image.seconds + seconds_per_face * len(own)
            try:
                outcome = Outcome.from_image(self._report(image, own), seconds)
            except RedeepfakeError as error:  # its faces are scored again after mild changes
                outcome = Outcome.from_error(error, seconds)
            yield image.index, outcome

    def _scores(self, faces: list[Face]) -> list[Score]:
        scores: list[Score] = []
        for first in range(0, len(faces), self._rows):
            some = faces[first : first + self._rows]
            batch = preprocess(some, self._classifier.preprocessing)
            if not self._classifier.uses_litert:
                batch = np.pad(batch, ((0, self._rows - len(some)), (0, 0), (0, 0), (0, 0)))
            scores += self._classifier.score(batch)[: len(some)]
        return scores

    def _report(self, image: _PendingImage, scores: list[Score]) -> ImageReport:
        c = self._classifier
        predictions = [
            as_prediction(face, score, c.card) for face, score in zip(image.faces, scores, strict=True)
        ]
        predictions = with_changes(c, predictions)
        s = self._settings
        no_face = without_face(detector_name(s.detector), s.min_size)
        notes = image.frame.source.notes if image.frame.source else ()
        verdict = judge(predictions, c.card, s.threshold, no_face=no_face, notes=notes)
        verdict = with_provenance(verdict, image.provenance)
        return ImageReport(image.frame, tuple(predictions), verdict, c.card, provenance=image.provenance)


def _read(path: str, max_pixels: int | None) -> tuple[Frame | None, Provenance | None]:
    """Read an image and what it says of itself; None for a video, whose analysis reads both."""
    with local_copy(path) as copy:
        if is_video(copy):
            return None, None
        frame = read_image(copy) if max_pixels is None else read_image(copy, max_pixels=max_pixels)
        return frame, provenance_or_reason(copy, frame)


def _fills_batches(pending: list[_PendingImage], rows: int) -> bool:
    """Return whether the faces fill whole batches, or the images take too much memory."""
    faces = sum(len(image.faces) for image in pending)
    pixels = sum(image.frame.width * image.frame.height for image in pending)
    return (faces > 0 and faces % rows == 0) or pixels > _MAX_PENDING_PIXELS
