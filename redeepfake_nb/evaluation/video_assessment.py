"""Evaluates scores of labelled videos, video by video and frame by frame; what has no score is listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..errors import InputError
from ..utils.numeric import plain
from .calibration import OperatingPoint, threshold_at
from .kinds import ORIGINS, origin_table
from .metrics import Metrics, evaluate
from .scored_labels import confusion_table
from .scoring import group_of
from .slices import plain_rows

# Columns of the table of videos that have no part in the metrics.
LEFT_OUT = ["file", "label", "reason", "error", "cause", "next_step"]
# What can become of a video: verdicts of those with a score, and reasons for none.
OUTCOMES = ["fake", "real", "inconclusive", "no face", "failed", "not analysed"]
_COUNTS = ("persons", "frames", "frames_with_face")
# Reasons that concern the labelled set rather than the video.
_DUPLICATE, _CONTRADICTING, _PICTURE = "duplicate", "contradicting labels", "a picture"


@dataclass(frozen=True, eq=False)
class LevelScores:
    """Scores and metrics of labelled videos, or of the sampled frames of labelled videos.

    Parameters
    ----------
    unit
        ``"videos"`` or ``"frames"``.
    table
        One row each, with ``file``, ``label`` and ``probability``, the P(fake).
    threshold
        Threshold on P(fake).
    temperature
        The model's calibration temperature, or ``None``.
    group
        Column of the groups that intervals resample; ``None`` where every video is its own.
    metrics
        With 95 % bootstrap intervals.
    origins
        One row per source, kind and generator; see :func:`redeepfake_nb.evaluation.kinds.origin_table`.
    """

    unit: Literal["videos", "frames"]
    table: pd.DataFrame
    threshold: float
    temperature: float | None
    group: str | None
    metrics: Metrics
    origins: pd.DataFrame

    def __len__(self) -> int:
        return len(self.table)

    @property
    def y(self) -> np.ndarray:
        """(N,) int64, 1 is fake."""
        return _labels(self.table)

    @property
    def groups(self) -> np.ndarray:
        """(N,) group of each; all frames of a video are in one."""
        return self.table[self.group or "file"].to_numpy()

    @property
    def probabilities(self) -> np.ndarray:
        """(N,) float64 P(fake)."""
        return self.table["probability"].to_numpy(np.float64)

    @property
    def predicted_fake(self) -> np.ndarray:
        """(N,) bool: P(fake) reaches the threshold."""
        return self.probabilities >= self.threshold

    def confusion(self) -> pd.DataFrame:
        """Return counts by true (rows) and predicted (columns) label."""
        return confusion_table(self.y, self.predicted_fake)

    def to_frame(self) -> pd.DataFrame:
        """Return the table with predicted labels."""
        predicted = np.where(self.predicted_fake, "FAKE", "REAL")
        return self.table.assign(predicted=predicted, correct=predicted == self.table["label"])

    def to_dict(self) -> dict[str, Any]:
        """Return counts, rates and metrics as plain JSON."""
        metrics = self.metrics.to_dict()
        del metrics["faces"]  # the name of a count that is one of videos or frames here
        predicted = self.predicted_fake
        return {
            self.unit: len(self),
            "real": int((self.y == 0).sum()),
            "fake": int((self.y == 1).sum()),
            "intervals_resample": self.group or "single videos",
            "false_positive_rate": float(predicted[self.y == 0].mean()),
            "true_positive_rate": float(predicted[self.y == 1].mean()),
            **metrics,
            "origins": plain_rows(self.origins),
        }


@dataclass(frozen=True, eq=False)
class VideoAssessment:
    """A model evaluated on labelled videos.

    Parameters
    ----------
    name, sha256
        Of the model.
    settings
        Those of the analysis, which all videos share.
    journal
        Path of the scan's journal, or an empty text.
    clips
        One row per labelled video, scored or not: the columns of the labelled set, ``probability`` (NaN
        without a score), ``status``, ``verdict``, ``persons``, ``frames`` (sampled), ``frames_with_face``,
        ``duration_s``, ``reason`` (empty, or why it has no part in the metrics), ``error``, ``cause`` and
        ``next_step``.
    videos
        Metrics of the videos, whose score is that of their verdict: the highest aggregated P(fake) of a
        person.
    frames
        Metrics of the sampled frames with a face, whose score is the highest P(fake) of a face; ``None``
        where the journal has none.
    without_frames
        Number of scored videos of which the journal has no scores of frames.
    operating_point, target_false_positive_rate
        Where the threshold was chosen on these videos, else ``None``.
    unlabelled
        Videos that lay in the folder and have no label.
    cancelled
        Whether the scan was stopped before the end.
    """

    name: str
    sha256: str | None
    settings: Mapping[str, Any]
    journal: str
    clips: pd.DataFrame
    videos: LevelScores
    frames: LevelScores | None
    without_frames: int
    operating_point: OperatingPoint | None
    target_false_positive_rate: float | None
    unlabelled: tuple[str, ...] = ()
    cancelled: bool = False

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def threshold(self) -> float:
        """Threshold on P(fake) of the metrics."""
        return self.videos.threshold

    @property
    def partial(self) -> int:
        """Number of videos that have a score and could be read in part only."""
        return int((self.videos.table["status"] == "partial").sum())

    def left_out(self) -> pd.DataFrame:
        """Return the videos that have no part in the metrics, and why."""
        clips = self.clips[self.clips["reason"] != ""]
        return clips[LEFT_OUT].reset_index(drop=True)

    def verdicts(self) -> pd.DataFrame:
        """Count what became of the real and of the fake videos, each distinct content once.

        Returns
        -------
        pandas.DataFrame
            Indexed by label; columns :data:`OUTCOMES`. Verdicts are at the scan's own threshold.
        """
        clips = self.clips
        outcome = clips["reason"].where(clips["reason"] != "", clips["verdict"])
        table = pd.crosstab(clips["label"], outcome)
        table = table.reindex(index=["REAL", "FAKE"], columns=OUTCOMES, fill_value=0)
        return table.rename_axis("label").rename_axis(None, axis=1)

    def worst(self, count: int | None = None) -> pd.DataFrame:
        """Return the misclassified videos, most confident first; ``wrong_by`` is P(predicted label)."""
        frame = self.videos.to_frame()
        p = frame["probability"]
        frame["wrong_by"] = np.where(frame["label"] == "FAKE", 1 - p, p)
        wrong = frame[~frame["correct"]].sort_values("wrong_by", ascending=False, kind="stable")
        return wrong.drop(columns="correct").head(len(wrong) if count is None else count)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without single videos that have a score."""
        reasons = self.clips.loc[self.clips["reason"] != "", "reason"].value_counts(sort=False)
        return {
            "model": {"name": self.name, "sha256": self.sha256, "temperature": self.videos.temperature},
            "settings": plain(dict(self.settings)),
            "labelled_videos": len(self),
            "scored": len(self.videos),
            "read_in_part": self.partial,
            "left_out": {str(reason): int(count) for reason, count in reasons.items()},
            "unlabelled": len(self.unlabelled),
            "cancelled": self.cancelled,
            "threshold": {
                "value": self.threshold,
                "chosen_on_these_videos": self.operating_point is not None,
                "target_false_positive_rate": self.target_false_positive_rate,
            },
            "verdicts": plain(self.verdicts().to_dict("index")),
            "videos": self.videos.to_dict(),
            "frames": None if self.frames is None else self.frames.to_dict(),
            "videos_without_frame_scores": self.without_frames,
            "left_out_videos": plain_rows(self.left_out()),
        }


def assess_clips(
    clips: pd.DataFrame,
    frames: pd.DataFrame,
    *,
    name: str,
    sha256: str | None,
    temperature: float | None,
    settings: Mapping[str, Any],
    journal: str = "",
    threshold: float | None = None,
    false_positive_rate: float | None = None,
    unlabelled: tuple[str, ...] = (),
    cancelled: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> VideoAssessment:
    """Evaluate videos that were scored.

    Parameters
    ----------
    clips
        As :attr:`VideoAssessment.clips`, without ``reason``, and with ``kind_of_file`` (image, video) and
        ``content`` (the SHA-256 of the bytes, or ``None``).
    frames
        One row per sampled frame with a face: ``row`` (position in ``clips``), ``frame``, ``time_s``,
        ``faces`` and ``probability``, the highest of its faces.
    settings
        Of the analysis; its ``threshold`` is that of the metrics where none is given.
    threshold, false_positive_rate, resamples, seed
        As for :func:`redeepfake_nb.assess`; the threshold is chosen by the scores of the videos. With fewer
        than :data:`redeepfake_nb.evaluation.metrics.MIN_GROUPS` groups no interval is computed.

    Raises
    ------
    InputError
        No real video, or no fake one, has a score.
    """
    clips = _with_reasons(clips).drop(columns=["kind_of_file", "content"])
    scored = clips[clips["reason"] == ""]
    y, p = _labels(scored), scored["probability"].to_numpy(np.float64)
    if len(set(y.tolist())) < 2:
        raise _too_few(clips, y, journal)
    point = None if false_positive_rate is None else threshold_at(y, p, false_positive_rate)
    if threshold is None:
        threshold = float(settings["threshold"]) if point is None else point.threshold
    unseen = ["reason", "error", "cause", "next_step", "frames_known"]
    of_videos = scored.drop(columns=unseen).reset_index(drop=True)
    # Numbers are missing of other videos alone, which made them fractional.
    counts = [name for name in _COUNTS if name in of_videos and of_videos[name].notna().all()]
    of_videos = of_videos.astype(dict.fromkeys(counts, "int64"))
    of_frames = frames[frames["row"].isin(scored.index)]
    shared = [name for name in ("file", "label", "identity", "original", *ORIGINS) if name in clips]
    of_clip = clips.loc[of_frames["row"], shared].reset_index(drop=True)
    of_frames = pd.concat([of_clip, of_frames.drop(columns="row").reset_index(drop=True)], axis=1)
    group = group_of(scored)
    options: dict[str, Any] = {"threshold": threshold, "temperature": temperature}
    options |= {"group": group, "resamples": resamples, "seed": seed}
    return VideoAssessment(
        name=name,
        sha256=sha256,
        settings=settings,
        journal=journal,
        clips=clips.drop(columns="frames_known"),
        videos=_level("videos", of_videos, **options),
        frames=_level("frames", of_frames, **options) if of_frames["label"].nunique() == 2 else None,
        without_frames=int((~scored["frames_known"]).sum()),
        operating_point=point,
        target_false_positive_rate=false_positive_rate,
        unlabelled=unlabelled,
        cancelled=cancelled,
    )


def _level(
    unit: Literal["videos", "frames"],
    table: pd.DataFrame,
    *,
    threshold: float,
    temperature: float | None,
    group: str | None,
    resamples: int,
    seed: int,
) -> LevelScores:
    p = table["probability"].to_numpy(np.float64)
    options: dict[str, Any] = {"groups": table[group or "file"].to_numpy(), "threshold": threshold}
    options |= {"resamples": resamples, "seed": seed}
    origins = origin_table(table, p, **options).rename(columns={"faces": unit})
    metrics = evaluate(_labels(table), p, **options)
    return LevelScores(unit, table, threshold, temperature, group, metrics, origins)


def _labels(table: pd.DataFrame) -> np.ndarray:
    return (table["label"] == "FAKE").to_numpy().astype(np.int64)


def _with_reasons(clips: pd.DataFrame) -> pd.DataFrame:
    """Say of each video why it has no part in the metrics, in ``reason``, which is empty where it has."""
    first: dict[str, tuple[str, str]] = {}
    contradicted = set()
    for content, file, label in clips[["content", "file", "label"]].itertuples(index=False):
        if content is not None and first.setdefault(content, (file, label))[1] != label:
            contradicted.add(content)
    reasons, causes = [], []
    for clip in clips.to_dict("records"):
        content, cause = clip["content"], clip["cause"]
        if clip["status"] == "waiting":
            reason = "not analysed"
        elif clip["status"] == "failed":
            reason = "failed"
        elif clip["kind_of_file"] == "image":
            reason = _PICTURE
        elif content in contradicted:
            reason, cause = _CONTRADICTING, "the same bytes are labelled REAL and FAKE"
        elif first[content][0] != clip["file"]:
            reason, cause = _DUPLICATE, f"it has the same bytes as {first[content][0]}"
        else:
            reason = "no face" if pd.isna(clip["probability"]) else ""
        reasons.append(reason)
        causes.append(cause)
    return clips.assign(reason=reasons, cause=pd.Series(causes, clips.index, dtype=object))


def _too_few(clips: pd.DataFrame, y: np.ndarray, journal: str) -> InputError:
    reasons = clips.loc[clips["reason"] != "", "reason"].value_counts(sort=False)
    lost = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    causes = clips.loc[clips["reason"] == "failed", "cause"]
    if len(causes):
        lost += f"; the first failure: {causes.iloc[0]}"
    return InputError(
        f"of the videos with a score {int((y == 0).sum())} are real and {int(y.sum())} fake, which is not "
        f"enough (without a score: {lost or 'none'})",
        subject=journal or "these videos",
        next_step="Evaluate on videos of both labels in which faces are found.",
    )
