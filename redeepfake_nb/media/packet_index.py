"""Index of a video's frames, built from its packets without decoding: timestamps and keyframes.

Frame counts, frame rates and durations in headers are unreliable, so all packets are demuxed once, which
takes about as long as reading the file. The index tells which frames a sample consists of and where decoding
can begin. It takes 16 bytes per frame: under 2 MB for an hour at 30 frames per second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

NO_PTS = -(2**63)
DISPLAYED, KEYFRAME = 1, 2
# Codecs reorder frames by at most 16 positions; more means that time jumps back.
_MAX_REORDERING = 64
# A time this many seconds before a frame still selects that frame, because times are sums of rounded numbers.
_EPSILON = 1e-6


class Keyframe(NamedTuple):
    """A keyframe: the position of its packet in the file, and its presentation and decoding timestamps."""

    position: int
    pts: int
    dts: int


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """The frames of a video in display order; the position of a frame in this order is called its rank.

    Parameters
    ----------
    pts
        (N,) int64, ascending: presentation timestamps in the stream's time base; empty without usable
        timestamps.
    times
        (N,) float64, ascending: seconds from the first frame.
    duration
        Seconds from the first frame to the end of the last.
    has_timestamps
        Whether the timestamps identify frames. Otherwise frames can only be counted, and ``times`` follow
        from the frame rate.
    keyframes
        (K, 3) int64, ascending: packet position, PTS and DTS of each keyframe; empty without usable
        timestamps.
    packets
        Number of all packets of the stream, including those without a displayed frame.
    skipped_leading
        Number of frames left out because they are predicted from frames before the file's first keyframe.
    """

    pts: np.ndarray
    times: np.ndarray
    duration: float
    has_timestamps: bool
    keyframes: np.ndarray
    packets: int
    skipped_leading: int = 0

    @classmethod
    def from_packets(
        cls, pts: np.ndarray, dts: np.ndarray, flags: np.ndarray, *, unit: float, rate: float, last: int = 0
    ) -> PacketIndex:
        """Build the index of a stream.

        Parameters
        ----------
        pts, dts
            (P,) int64 timestamps of the packets in file order; ``NO_PTS`` where there is none.
        flags
            (P,) uint8: ``DISPLAYED``, ``KEYFRAME``, both or neither.
        unit
            Seconds per unit of the timestamps.
        rate
            Frames per second, used if the timestamps are not usable.
        last
            Duration of the last frame in units of the timestamps; 0 if unknown.
        """
        displayed, key = (flags & DISPLAYED) > 0, (flags & KEYFRAME) > 0
        first_key = int(np.argmax(key)) if key.any() else 0
        decodable = displayed & (pts >= pts[first_key]) if key.any() else displayed
        decodable[:first_key] = False
        if not decodable.any() or not _are_usable(pts, displayed, key):
            count = int(displayed.sum())
            times = np.arange(count) / rate
            empty = np.empty(0, np.int64)
            return cls(empty, times, count / rate, False, empty.reshape(0, 3), len(pts))
        ordered = np.sort(pts[decodable])
        times = (ordered - ordered[0]) * unit
        gaps = np.diff(ordered)
        median = float(np.median(gaps)) if len(gaps) else 1 / (rate * unit)
        # The stated duration of the last frame is used only if it resembles that of the others.
        length = last if 0 < last <= 10 * max(median, 1) else median
        keyframes = np.stack([np.flatnonzero(key), pts[key], dts[key]], axis=1)
        duration = float(times[-1] + length * unit)
        skipped = int((displayed & ~decodable).sum())
        return cls(ordered, times, duration, True, keyframes, len(pts), skipped)

    def __len__(self) -> int:
        return len(self.times)

    def rank(self, pts: int | None, previous: int) -> int | None:
        """Find the rank of the frame with a timestamp; ``None`` if there is no such frame.

        ``previous`` is the rank of the frame decoded before it (-1: none), which distinguishes two frames
        with the same timestamp.
        """
        if pts is None:
            return None
        following = previous + 1
        if following < len(self) and self.pts[following] == pts:  # nearly always, and faster than a search
            return following
        found = int(np.searchsorted(self.pts, pts))
        return found if found < len(self) and self.pts[found] == pts else None

    def keyframe_before(self, rank: int) -> int:
        """Find the last keyframe at or before ``rank``: its index in ``keyframes``, -1 if there is none."""
        if not len(self.keyframes):
            return -1
        return int(np.searchsorted(self.keyframes[:, 1], self.pts[rank], side="right")) - 1

    def keyframe(self, index: int) -> Keyframe:
        """Get one of ``keyframes``."""
        return Keyframe(*self.keyframes[index].tolist())

    # -- selection of frames

    def evenly_spaced(self, count: int, start: float, end: float) -> np.ndarray:
        """Find the ranks displayed at the middle of ``count`` equal parts of [start, end) seconds."""
        targets = start + (np.arange(count) + 0.5) * ((end - start) / count)
        return np.unique(self._displayed_at(targets))

    def at_interval(self, seconds: float, start: float, end: float) -> np.ndarray:
        """Find the ranks displayed at ``start``, ``start + seconds``, ... before ``end``."""
        # Each frame is tested for a target within its display time, because the number of targets is
        # unlimited.
        lower = np.maximum(self.times, start) - self._slack
        upper = np.minimum(np.append(self.times[1:], self.duration), end) - self._slack
        target = start + np.ceil((lower - start) / seconds) * seconds
        return np.flatnonzero((target < upper) & (target >= lower))

    def between(self, start: float, end: float) -> range:
        """Find the ranks of all frames whose display begins in [start, end) seconds."""
        low, high = np.searchsorted(self.times, (start - self._slack, end - self._slack))
        return range(int(low), int(high))

    @property
    def _slack(self) -> float:
        return min(_EPSILON, self.duration / len(self) / 8)

    def _displayed_at(self, times: np.ndarray) -> np.ndarray:
        return np.maximum(np.searchsorted(self.times, times + self._slack, side="right") - 1, 0)


def _are_usable(pts: np.ndarray, displayed: np.ndarray, key: np.ndarray) -> bool:
    """Tell whether timestamps identify frames: none missing, hardly any duplicates, no jumps back."""
    if not key.any() or not displayed.any() or (pts == NO_PTS).any():
        return False
    if np.ptp(pts.astype(np.float64)) > 2**62 or (np.diff(pts[key]) <= 0).any():
        return False
    of_frames = pts[displayed]
    if len(np.unique(of_frames)) < 0.99 * len(of_frames):
        return False
    ranks = np.empty(len(pts), np.int64)
    ranks[np.argsort(pts, kind="stable")] = np.arange(len(pts))
    return bool(np.abs(ranks - np.arange(len(pts))).max() <= _MAX_REORDERING)
