"""Segments of a video in which a person's frames are predicted fake, as times and in words."""

from __future__ import annotations

import numpy as np

from .intervals import format_segments as format_segments
from .intervals import join_times, sampling_interval
from .video_report import Person, VideoReport

# Smallest difference of mean P(fake) that is mentioned.
_MIN_DIFFERENCE = 0.1


def fake_segments(report: VideoReport, person: Person) -> list[tuple[float, float]]:
    """Find the segments in which all of a person's sampled frames reach the threshold.

    Parameters
    ----------
    report
        Supplies the threshold and the times of the sampled frames.
    person
        One of ``report.persons``.

    Returns
    -------
    list of (float, float)
        First and last sampled time of each segment in seconds, in order; equal for a single frame. A frame
        under the threshold ends a segment, and so does an absence from two or more sampled frames. Nothing is
        known about the time between two sampled frames.
    """
    times = [sighting.timestamp for sighting in person.sightings]
    over = [sighting.label(report.threshold) == "fake" for sighting in person.sightings]
    return join_times(times, over, sampling_interval(report.frame_times))


def describe_persons(report: VideoReport) -> list[str]:
    """Say for each person in which seconds the frames reach the threshold, one line each."""
    return [f"{person.name}: {format_segments(fake_segments(report, person))}" for person in report.persons]


def nearest_time(report: VideoReport, time: float) -> float | None:
    """Return the time in seconds of the sampled frame closest to ``time``; ``None`` without any frame."""
    if not report.frames:
        return None
    return float(report.frame_times[np.abs(report.frame_times - time).argmin()])


def describe_detection(report: VideoReport, manipulated: tuple[float, float] | None) -> list[str]:
    """Compare a report with the segment known to be manipulated, in sentences for a person to read.

    Parameters
    ----------
    report
        From :func:`redeepfake_nb.analyze_video`, with any model, sampling and threshold.
    manipulated
        Start and end of the segment in seconds, the end exclusive, such as
        :data:`redeepfake_nb.datasets.samples.MANIPULATED_SECONDS` for the sample clip; ``None`` where the
        truth is not known.
    """
    if manipulated is None:
        return ["It is not known whether this video was manipulated, so there is nothing to compare with."]
    start, end = manipulated
    inside = [s for s in report.sightings if start <= s.timestamp < end]
    outside = [s for s in report.sightings if not start <= s.timestamp < end]
    if not inside or not outside:
        return ["Faces were not found in both parts of the clip, so nothing can be compared."]
    sentences: list[str] = []
    rates: list[float] = []
    means: list[float] = []
    for name, part in (("manipulated", inside), ("untouched", outside)):
        positives = sum(s.label(report.threshold) == "fake" for s in part)
        rates.append(positives / len(part))
        means.append(float(np.mean([s.probability for s in part])))
        sentences.append(
            f"Of the {len(part)} {name} frames {positives} reach the threshold {report.threshold:.2f}; "
            f"their mean P(fake) is {means[-1]:.2f}."
        )
    return [*sentences, _conclusion(rates[0], rates[1], means[0] - means[1])]


def _conclusion(true_positive_rate: float, false_positive_rate: float, difference: float) -> str:
    """Sum up the rates over frames and the difference of mean P(fake) between the two parts."""
    if true_positive_rate == 0 and false_positive_rate == 0:
        missed = "So at this threshold the model missed this manipulation"
        if difference < _MIN_DIFFERENCE:
            return f"{missed}."
        return f"{missed}, though it scores these seconds higher than the others."
    if true_positive_rate <= false_positive_rate:
        return "So the model does not tell the manipulated seconds from the others."
    if false_positive_rate > 0:
        return "So the model points to the manipulated seconds more than to others, but to others as well."
    if true_positive_rate < 0.5:
        return "So the model noticed a few frames of this manipulation and missed most."
    return "So the model found this manipulation."
