"""In which seconds a person of a video scores high, in figures and in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .video_report import Person, VideoReport

# Beyond this many times the usual distance between looked-at frames, a person was away in between.
_GAP = 2.5


def stretches(report: VideoReport, person: Person) -> list[tuple[float, float]]:
    """When a person's frames reach the threshold without interruption.

    Parameters
    ----------
    report
        Its threshold and its frames' times are used.
    person
        One of ``report.persons``.

    Returns
    -------
    list of (float, float)
        Seconds of the first and of the last frame of each stretch, in order; the same twice for a single
        frame. A frame under the threshold ends a stretch, and so does an absence of more than two frames.
        What happens between two looked-at frames is not known.
    """
    step = float(np.median(np.diff(report.frame_times))) if report.frames > 1 else 1.0
    found: list[tuple[float, float]] = []
    last: float | None = None  # time of the frame before, where that was over the threshold
    for sighting in person.sightings:
        time = sighting.timestamp
        if sighting.label(report.threshold) == "real":
            last = None
            continue
        if last is not None and time - last <= _GAP * step:
            found[-1] = (found[-1][0], time)
        else:
            found.append((time, time))
        last = time
    return found


def in_words(spans: Sequence[tuple[float, float]], most: int = 6) -> str:
    """Stretches as ``"2.0 to 3.9 s, 5.1 s"``, the first ``most`` of them; ``"never"`` where there is none."""
    if not spans:
        return "never"
    words = [f"{a:.1f} s" if f"{a:.1f}" == f"{b:.1f}" else f"{a:.1f} to {b:.1f} s" for a, b in spans[:most]]
    if len(spans) > most:
        words.append(f"and {len(spans) - most} more")
    return ", ".join(words)


def nearest_time(report: VideoReport, time: float) -> float | None:
    """Seconds of the looked-at frame that is closest to ``time``; None where no frame was looked at."""
    if not report.frames:
        return None
    return float(report.frame_times[np.abs(report.frame_times - time).argmin()])


# A difference of mean P(fake) worth a word.
_RISE = 0.1


def describe_detection(report: VideoReport, manipulated: tuple[float, float]) -> list[str]:
    """Compare a report with the interval known to be manipulated, in sentences for a person to read.

    Parameters
    ----------
    report
        From :func:`redeepfake_nb.analyze_video`, with any model, sampling and threshold.
    manipulated
        From the first of these seconds to before the second, such as
        :data:`redeepfake_nb.datasets.samples.MANIPULATED` for the sample clip.
    """
    begin, end = manipulated
    inside = [s for s in report.sightings if begin <= s.timestamp < end]
    outside = [s for s in report.sightings if not begin <= s.timestamp < end]
    if not inside or not outside:
        return ["Faces were not found in both parts of the clip, so nothing can be compared."]
    found, shares, means = [], [], []
    for name, part in (("manipulated", inside), ("untouched", outside)):
        over = sum(s.label(report.threshold) == "fake" for s in part)
        means.append(float(np.mean([s.probability for s in part])))
        shares.append(over / len(part))
        found.append(
            f"Of the {len(part)} {name} frames {over} reach the threshold {report.threshold:.2f}; "
            f"their mean P(fake) is {means[-1]:.2f}."
        )
    return [*found, _summed_up(*shares, rise=means[0] - means[1])]


def _summed_up(hits: float, alarms: float, rise: float) -> str:
    """From the shares of manipulated and untouched frames over the threshold, and the means' difference."""
    if hits == 0 and alarms == 0:
        though = ", though it scores these seconds higher than the others" if rise >= _RISE else ""
        return f"So at this threshold the model missed this manipulation{though}."
    if hits <= alarms:
        return "So the model does not tell the manipulated seconds from the others."
    if alarms > 0:
        return "So the model points to the manipulated seconds more than to others, but to others as well."
    if hits < 0.5:
        return "So the model noticed a few frames of this manipulation and missed most."
    return "So the model found this manipulation."
