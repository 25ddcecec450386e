"""Evaluates a model on labelled videos, which it analyses as a scan: in parallel, and resumable."""

from __future__ import annotations

import json
import os
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ..analysis.aggregation import DEFAULT
from ..datasets.labelled_videos import LabelledVideos
from ..errors import InputError
from ..evaluation.scoring import sample
from ..evaluation.video_assessment import VideoAssessment, assess_clips
from ..faces.detection import DEFAULT_DETECTOR, Detector
from ..models.classifier import Classifier
from ..utils.jobs import Cancel, Progress
from ..utils.numeric import check_threshold, probability
from .journal import Journal
from .records import FileResult
from .result import ScanResult
from .scheduler import TIME_LIMIT, scan

if TYPE_CHECKING:
    from distributed import Client

_FRAME_COLUMNS = ["row", "frame", "time_s", "faces", "probability"]


def assess_videos(
    classifier: Classifier | str | os.PathLike | None,
    videos: LabelledVideos,
    journal: str | os.PathLike = "results.sqlite",
    *,
    threshold: float | None = None,
    false_positive_rate: float | None = None,
    limit: int | None = None,
    frames: int | Literal["all"] = 32,
    detector: str | Detector = DEFAULT_DETECTOR,
    margin: float | None = None,
    min_size: int | None = None,
    aggregation: str = DEFAULT,
    executor: Executor | Client | None = None,
    workers: int | None = None,
    time_limit: float = TIME_LIMIT,
    retry_failed: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: Cancel = None,
) -> VideoAssessment:
    """Evaluate a model on labelled videos, video by video and frame by frame.

    The videos are scanned into a journal (:func:`redeepfake_nb.scan`): a second call resumes where the first
    one stopped, and another threshold or more resamples analyse nothing again.

    Parameters
    ----------
    classifier
        A classifier, or the path of a model. ``None``: the model that ships with the package.
    videos
        From :func:`redeepfake_nb.datasets.read_videos`, of people that the model has not seen in training, or
        the metrics are too optimistic.
    journal
        The SQLite file; created if it does not exist.
    threshold
        Threshold on P(fake) of the metrics, above 0 and below 1. Default: the model's own, which the verdicts
        of the journal use in any case.
    false_positive_rate
        Choose the threshold on these videos instead: the one with the highest true positive rate at which at
        most this share of real videos is predicted fake.
    limit
        Evaluate a sample of at most this many videos, half of them fake if there are enough.
    frames, detector, margin, min_size, aggregation, executor, workers, time_limit, retry_failed
        See :func:`redeepfake_nb.scan`.
    resamples
        Bootstrap samples for the intervals, which resample people (column ``identity``), else source videos
        (``original``), else single videos; frames of one video always stay together. 0 for none.
    seed
        Of the sample and of the bootstrap.
    progress
        Called as ``progress(done, total)`` in the calling thread after videos.
    cancel
        An event, or a function that returns whether to stop; what was analysed by then is evaluated.

    Returns
    -------
    VideoAssessment
        Videos without a face, and those that could not be read, are in ``left_out()``.

    Raises
    ------
    InputError
        No real video, or no fake one, has a score, or none is listed.
    JournalError, ModelError, RedeepfakeError
        See :func:`redeepfake_nb.scan`.
    ValueError
        An option out of range, or both ``threshold`` and ``false_positive_rate``.
    """
    if threshold is not None and false_positive_rate is not None:
        raise ValueError("give a threshold or a false positive rate, not both")
    if threshold is not None:
        check_threshold(threshold)
    if false_positive_rate is not None and not 0 <= false_positive_rate <= 1:
        raise ValueError(f"false_positive_rate must lie between 0 and 1, not {false_positive_rate}")
    videos = sample(videos, limit, seed)
    # Before the scan, which may take a day.
    fakes = int(videos.y.sum())
    if fakes in (0, len(videos)):
        raise InputError(
            f"{len(videos) - fakes} videos are labelled REAL and {fakes} FAKE; metrics need both labels",
            subject=videos.root,
            next_step="Add videos of the other label, or name a folder that holds both.",
        )
    result = scan(
        [path for path in videos.paths if not _stands_for_others(path)],
        journal,
        classifier,
        executor=executor,
        workers=workers,
        frames=frames,
        detector=detector,
        margin=margin,
        min_size=min_size,
        aggregation=aggregation,
        time_limit=time_limit,
        retry_failed=retry_failed,
        progress=progress,
        cancel=cancel,
    )
    return assess_scan(
        result,
        videos,
        threshold=threshold,
        false_positive_rate=false_positive_rate,
        resamples=resamples,
        seed=seed,
    )


def assess_scan(
    result: ScanResult,
    videos: LabelledVideos,
    *,
    threshold: float | None = None,
    false_positive_rate: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> VideoAssessment:
    """Evaluate the model of a scan on labelled videos that were scanned; the journal is only read.

    Parameters
    ----------
    result
        A scan of these videos, finished or not.
    videos, threshold, false_positive_rate, resamples, seed
        As for :func:`assess_videos`.

    Raises
    ------
    InputError
        No real video, or no fake one, has a score.
    """
    rows = {row.path if row.raw is None else os.fsdecode(row.raw): row for row in result.rows()}
    temperature = result.model.get("temperature")
    clips: list[dict[str, Any]] = []
    of_frames: list[pd.DataFrame] = []
    with Journal(result.journal) as journal:
        for position, path in enumerate(videos.paths):
            row = rows.get(path)
            text = None if row is None or row.sha256 is None else journal.detail(result.scan, row.sha256)
            detail: dict[str, Any] = {} if text is None else json.loads(text)
            sightings = detail.get("sightings")
            found = _frame_scores(position, sightings or {}, temperature)
            clips.append(_clip(path, row, detail) | {"frames_known": sightings is not None})
            clips[-1]["frames_with_face"] = len(found) if sightings is not None else None
            if len(found):
                of_frames.append(found)
    model = result.model
    return assess_clips(
        pd.concat([videos.table.reset_index(drop=True), pd.DataFrame(clips)], axis=1),
        pd.concat(of_frames, ignore_index=True) if of_frames else pd.DataFrame(columns=_FRAME_COLUMNS),
        name=f"{model['name']} {model['version']}",
        sha256=result.scan.model_sha256,
        temperature=temperature,
        settings=result.settings,
        journal=str(result.journal),
        threshold=threshold,
        false_positive_rate=false_positive_rate,
        unlabelled=videos.unlabelled,
        cancelled=result.cancelled,
        resamples=resamples,
        seed=seed,
    )


def _stands_for_others(path: str) -> str:
    """Say why a scan would take a path for several files; empty for a file, which need not exist."""
    if os.path.isdir(path):
        return "this is a folder"
    return "this is a list, not a video" if path.lower().endswith(".csv") else ""


def _clip(path: str, row: FileResult | None, detail: dict[str, Any]) -> dict[str, Any]:
    """Return what the journal has of a video as columns; ``None`` for a video that was not scanned."""
    if row is None:
        empty = ["kind_of_file", "content", "verdict", "persons", "frames", "duration_s"]
        clip = {"probability": np.nan, **dict.fromkeys([*empty, "error", "cause", "next_step"])}
        if cause := _stands_for_others(path):
            step = "List the video files themselves."
            return clip | {"status": "failed", "error": "UnsupportedMedia", "cause": cause, "next_step": step}
        return clip | {"status": "waiting"}
    return {
        "kind_of_file": row.kind,
        "content": row.sha256,
        "status": row.status,
        "verdict": row.verdict,
        "probability": np.nan if row.score is None else row.score,
        "persons": row.faces,
        "frames": detail.get("frames"),
        "duration_s": row.duration_s,
        "error": row.error,
        "cause": row.cause,
        "next_step": row.next_step,
    }


def _frame_scores(position: int, sightings: dict[str, Any], temperature: float | None) -> pd.DataFrame:
    """Return one row per sampled frame with a face: the highest P(fake) of its faces."""
    table = pd.DataFrame(sightings, columns=["frame", "time_s", "logit"])
    if table.empty:
        return pd.DataFrame(columns=_FRAME_COLUMNS)
    # Frames of a damaged video may share an index, but not a time.
    grouped = table.groupby(["frame", "time_s"], sort=True)["logit"]
    found = grouped.agg(["size", "max"]).reset_index()
    found["probability"] = probability(found.pop("max").to_numpy(np.float64), temperature)
    found = found.rename(columns={"size": "faces"})
    return found.assign(row=position)[_FRAME_COLUMNS]
