"""Times of sampled frames joined to segments, and segments in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Two sightings are neighbours if at most this many times the median sampling interval lies between them.
MAX_GAP = 2.5


def sampling_interval(times: Sequence[float] | np.ndarray) -> float | None:
    """Return the median seconds between sampled frames; ``None`` for fewer than two."""
    return float(np.median(np.diff(times))) if len(times) > 1 else None


def join_times(
    times: Sequence[float], chosen: Sequence[bool], interval: float | None
) -> list[tuple[float, float]]:
    """Join the chosen times to segments.

    Parameters
    ----------
    times
        Seconds at which something was seen, in order.
    chosen
        Whether each of them belongs to a segment; one that does not ends it.
    interval
        Seconds between sampled frames; an absence from two or more of them ends a segment, too. ``None``
        counts as one second.

    Returns
    -------
    list of (float, float)
        First and last time of each segment, equal for a single one.
    """
    longest = MAX_GAP * (1.0 if interval is None else interval)
    segments: list[tuple[float, float]] = []
    last: float | None = None  # the time before, where it is in a segment
    for time, belongs in zip(times, chosen, strict=True):
        if not belongs:
            last = None
            continue
        if last is not None and time - last <= longest:
            segments[-1] = (segments[-1][0], time)
        else:
            segments.append((time, time))
        last = time
    return segments


def format_segments(segments: Sequence[tuple[float, float]], most: int = 6) -> str:
    """Write the first ``most`` segments as ``"2.0 to 3.9 s, 5.1 s"``; ``"never"`` where there are none."""
    if not segments:
        return "never"
    texts = [
        f"{a:.1f} s" if f"{a:.1f}" == f"{b:.1f}" else f"{a:.1f} to {b:.1f} s" for a, b in segments[:most]
    ]
    if len(segments) > most:
        texts.append(f"and {len(segments) - most} more")
    return ", ".join(texts)
