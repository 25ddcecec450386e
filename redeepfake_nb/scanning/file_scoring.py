"""Many files and one classifier -> an outcome each, whatever the files hold.

Pictures are read ahead by a thread, and their faces scored in batches across files. A batch has always the
same number of rows, the last ones empty if need be: convolutions give results that differ in the last bits
with the number of rows, and a file's score must not depend on which others were scored beside it.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from ..analysis.aggregation import DEFAULT, aggregate
from ..analysis.image import ImageReport
from ..analysis.verdict import judge
from ..analysis.video import analyze_video
from ..analysis.video_report import VideoReport
from ..errors import MediaTooLarge, RedeepfakeError, in_one_line
from ..faces.detection import Detector
from ..faces.face import Face, detector_name, find_faces
from ..faces.preprocessing import preprocess
from ..media.file_types import is_video
from ..media.frames import Frame, Source, read_image
from ..models.classifier import Classifier
from ..models.prediction import Prediction
from .inputs import local_copy

Status = Literal["done", "no face", "partial", "failed"]

# Rows of a batch. One core gains next to nothing from more; empty rows cost as much as full ones.
BATCH = 4
# Decoded pixels that may wait for a full batch.
_MAX_WAITING = 24_000_000
# Not in the detail: what all files of a scan have in common, and what copies of a file differ in.
_ELSEWHERE = ("model", "versions", "settings", "timing", "source")


@dataclass(frozen=True)
class ScanSettings:
    """What decides a file's outcome besides its bytes and the model.

    Parameters
    ----------
    frames
        Of a video; see :func:`redeepfake_nb.analyze_video`.
    detector, margin
        See :func:`redeepfake_nb.find_faces`.
    aggregation
        Of a video's frames.
    threshold
        Cut on P(fake).

    Raises
    ------
    ValueError
        A value out of range.
    """

    frames: int | Literal["all"] = 32
    detector: str | Detector = "hog"
    margin: float | None = None
    aggregation: str = DEFAULT
    threshold: float = 0.5

    def __post_init__(self) -> None:
        whole = isinstance(self.frames, int) and not isinstance(self.frames, bool) and self.frames > 0
        if self.frames != "all" and not whole:
            raise ValueError(f'frames must be a number above 0 or "all", not {self.frames!r}')
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie between 0 and 1, not {self.threshold}")
        if self.margin is not None and not 0 <= self.margin <= 4:
            raise ValueError(f"margin is a fraction from 0 to 4, not {self.margin!r}")
        if not isinstance(self.detector, str) and not callable(self.detector):
            raise ValueError(f"a detector is a name or a callable, not {type(self.detector).__name__}")
        aggregate([0.0], self.aggregation)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; a detector of one's own by its full name."""
        name = self.detector
        if not isinstance(name, str):
            home = name if inspect.isroutine(name) or inspect.isclass(name) else type(name)
            name = f"{home.__module__}.{getattr(home, '__qualname__', detector_name(name))}"
        return {
            "frames": self.frames,
            "detector": name,
            "margin": self.margin,
            "aggregation": self.aggregation,
            "threshold": self.threshold,
        }

    def digest(self, model: Mapping[str, Any]) -> str:
        """SHA-256 of the settings together with what identifies the model, as canonical JSON."""
        text = json.dumps({"settings": self.to_dict(), "model": model}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What came of one file.

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
        Faces of a picture, persons of a video.
    score
        Highest P(fake) among them, 0..1; ``None`` without any.
    detail
        The report as plain JSON, without what all files of a scan have in common.
    error, cause, next_step
        The typed error's class and words.
    seconds
        Spent on it. Differs from run to run; nothing else does.
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

    @classmethod
    def failure(cls, error: BaseException, seconds: float = 0.0) -> Outcome:
        """Of a file that could not be scored."""
        if isinstance(error, MemoryError):
            error = MediaTooLarge("there is not enough memory for it", next_step="Make it smaller first.")
        if isinstance(error, RedeepfakeError):
            words = (error.cause, error.next_step)
        else:
            words = (
                in_one_line(error, 300),
                "This should not happen: please report it together with the file.",
            )
        return cls(
            "failed",
            error=type(error).__name__,
            cause=words[0],
            next_step=words[1],
            seconds=round(seconds, 4),
        )

    @classmethod
    def of_image(cls, report: ImageReport, seconds: float) -> Outcome:
        """Of a picture."""
        return _outcome(report, report.frame.source, "image", "done", report.predictions, seconds)

    @classmethod
    def of_video(cls, report: VideoReport, seconds: float) -> Outcome:
        """Of a video."""
        status = "done" if report.completeness.complete else "partial"
        return _outcome(report, report.source, "video", status, report.persons, seconds)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Outcome:
        """Inverse of :meth:`to_dict`."""
        return cls(**{**values, "reasons": tuple(values["reasons"])})


def _outcome(
    report: ImageReport | VideoReport,
    source: Source,
    kind: str,
    status: Status,
    scored: Sequence,
    seconds: float,
) -> Outcome:
    found = report.to_dict()
    return Outcome(
        status="no face" if status == "done" and not scored else status,
        sha256=source.sha256,
        kind=kind,
        format=source.format,
        size_bytes=source.size_bytes,
        width=found["width"],
        height=found["height"],
        duration=found.get("duration_s"),
        faces=len(scored),
        score=max((float(one.probability) for one in scored), default=None),
        threshold=report.threshold,
        verdict=report.verdict.label,
        reasons=report.verdict.reasons,
        detail={
            **{key: value for key, value in found.items() if key not in _ELSEWHERE},
            "warnings": list(source.warnings),
        },
        seconds=round(seconds, 4),
    )


@dataclass
class _Waiting:
    """A picture whose faces are to be scored."""

    place: int
    frame: Frame
    faces: list[Face]
    seconds: float


class FileScorer:
    """Scores files of any kind with one classifier."""

    def __init__(self, classifier: Classifier, settings: ScanSettings) -> None:
        self._classifier = classifier
        self._settings = settings

    def score(self, paths: Sequence[str], began: Callable[[int], None]) -> Iterator[tuple[int, Outcome]]:
        """Outcomes of all files, with each one's place in ``paths``, as they come to be known.

        Parameters
        ----------
        paths
            Paths or addresses.
        began
            Called with a place before that file is looked at, and with -1 before a batch of several.
        """
        waiting: list[_Waiting] = []
        with ThreadPoolExecutor(1) as reader:
            ahead: Future | None = None
            for place, path in enumerate(paths):
                began(place)
                start = time.perf_counter()
                reading = ahead or reader.submit(_read, path)
                ahead = reader.submit(_read, paths[place + 1]) if place + 1 < len(paths) else None
                try:
                    frame = reading.result()
                    if frame is None:
                        yield place, self._video(path, start)
                        continue
                    faces = find_faces(frame, self._settings.detector, margin=self._settings.margin)
                except Exception as error:
                    yield place, Outcome.failure(error, time.perf_counter() - start)
                    continue
                waiting.append(_Waiting(place, frame, faces, time.perf_counter() - start))
                if _full(waiting):
                    began(-1)
                    yield from self._flush(waiting)
                    waiting = []
            began(-1)
            yield from self._flush(waiting)

    def _video(self, path: str, start: float) -> Outcome:
        s = self._settings
        with local_copy(path) as copy:
            report = analyze_video(
                copy,
                self._classifier,
                frames=s.frames,
                detector=s.detector,
                margin=s.margin,
                aggregation=s.aggregation,
                threshold=s.threshold,
                explain_top=0,
            )
        return Outcome.of_video(report, time.perf_counter() - start)

    def _flush(self, waiting: list[_Waiting]) -> Iterator[tuple[int, Outcome]]:
        start = time.perf_counter()
        faces = [face for one in waiting for face in one.faces]
        try:
            logits = self._logits(faces)
        except Exception as error:
            if len(waiting) == 1:
                yield waiting[0].place, Outcome.failure(error, waiting[0].seconds)
                return
            # One file must not take others with it.
            for one in waiting:
                yield from self._flush([one])
            return
        share = (time.perf_counter() - start) / max(len(faces), 1)
        for one in waiting:
            mine, logits = logits[: len(one.faces)], logits[len(one.faces) :]
            report = self._report(one, mine)
            yield one.place, Outcome.of_image(report, one.seconds + share * len(one.faces))

    def _logits(self, faces: list[Face]) -> list[float]:
        found: list[float] = []
        for first in range(0, len(faces), BATCH):
            some = faces[first : first + BATCH]
            batch = preprocess(some, self._classifier.preprocessing)
            batch = np.pad(batch, ((0, BATCH - len(some)), (0, 0), (0, 0), (0, 0)))
            found += self._classifier.logits(batch)[: len(some)].tolist()
        return found

    def _report(self, one: _Waiting, logits: list[float]) -> ImageReport:
        c = self._classifier
        predictions = [
            Prediction(face, logit, c.temperature, c.threshold)
            for face, logit in zip(one.faces, logits, strict=True)
        ]
        verdict = judge(predictions, c.card, self._settings.threshold)
        return ImageReport(one.frame, tuple(predictions), verdict, c.card)


def _read(path: str) -> Frame | None:
    """The picture, or None for a video."""
    with local_copy(path) as copy:
        return None if is_video(copy) else read_image(copy)


def _full(waiting: list[_Waiting]) -> bool:
    pixels = sum(one.frame.width * one.frame.height for one in waiting)
    return (
        sum(len(one.faces) for one in waiting) % BATCH == 0 and any(one.faces for one in waiting)
    ) or pixels > _MAX_WAITING
