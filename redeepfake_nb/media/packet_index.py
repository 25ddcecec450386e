"""When each picture of a video is shown and where decoding can begin, from its packets, without decoding.

Headers lie about counts, rates and durations, so all packets are gone through once, which takes about as long
as reading the file. From the list that results it is known which pictures a sample needs. It takes
16 bytes per picture: under 2 MB for an hour at 30 pictures per second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

NO_STAMP = -(2**63)
SHOWN, KEY = 1, 2
# Pictures are coded ahead of their turn by 16 places at most in any codec here; more is a jump in time.
_FARTHEST = 64
# A target this many seconds before a picture still means that picture: times are sums of rounded numbers.
_EPSILON = 1e-6


class Key(NamedTuple):
    """A picture that needs no other one: its packet's place in the file, and its two time stamps."""

    place: int
    stamp: int
    dts: int


@dataclass(frozen=True, eq=False)
class PacketTable:
    """The pictures of a video in the order they are shown; a picture's place in it is its rank.

    Parameters
    ----------
    stamps
        (N,) int64, ascending: presentation stamps in units of the stream; empty where ``trusted`` is false.
    times
        (N,) float64, ascending: seconds from the first picture.
    duration
        Seconds from the first picture to the end of the last.
    trusted
        Whether the stamps name pictures. Otherwise pictures can only be counted, and ``times`` are assumed
        from the rate.
    keys
        (K, 3) int64, ascending: place, stamp and decoding stamp of each picture that needs no other one;
        empty where ``trusted`` is false.
    packets
        All packets of the stream, also those that show nothing.
    leading
        Pictures left out because those they build upon come before the file's first key picture.
    """

    stamps: np.ndarray
    times: np.ndarray
    duration: float
    trusted: bool
    keys: np.ndarray
    packets: int
    leading: int = 0

    @classmethod
    def of(
        cls, pts: np.ndarray, dts: np.ndarray, flags: np.ndarray, *, unit: float, rate: float, last: int = 0
    ) -> PacketTable:
        """The table of a stream.

        Parameters
        ----------
        pts, dts
            (P,) int64 stamps of its packets in file order; ``NO_STAMP`` where there is none.
        flags
            (P,) uint8: ``SHOWN``, ``KEY``, both or neither.
        unit
            Seconds per unit of the stamps.
        rate
            Pictures per second, used where stamps cannot be.
        last
            Units the last picture is shown for; 0 where unknown.
        """
        shown, key = (flags & SHOWN) > 0, (flags & KEY) > 0
        first_key = int(np.argmax(key)) if key.any() else 0
        seen = shown & (pts >= pts[first_key]) if key.any() else shown
        seen[:first_key] = False
        if not _trustworthy(pts, shown, key):
            count = int(shown.sum())
            times = np.arange(count) / rate
            nothing = np.empty(0, np.int64)
            return cls(nothing, times, count / rate, False, nothing.reshape(0, 3), len(pts))
        stamps = np.sort(pts[seen])
        times = (stamps - stamps[0]) * unit
        gaps = np.diff(stamps)
        usual = float(np.median(gaps)) if len(gaps) else 1 / (rate * unit)
        # The last picture's own length is believed only where it resembles the others'.
        length = last if 0 < last <= 10 * max(usual, 1) else usual
        keys = np.stack([np.flatnonzero(key), pts[key], dts[key]], axis=1)
        duration = float(times[-1] + length * unit)
        return cls(stamps, times, duration, True, keys, len(pts), int((shown & ~seen).sum()))

    def __len__(self) -> int:
        return len(self.times)

    def rank(self, stamp: int | None, previous: int) -> int | None:
        """Rank of the picture with this stamp; ``None`` where there is no such picture.

        ``previous`` is the rank of the picture decoded before it (-1: none), which tells two apart that
        bear the same stamp.
        """
        if stamp is None:
            return None
        after = previous + 1
        if after < len(self) and self.stamps[after] == stamp:  # nearly always, and quicker than a search
            return after
        found = int(np.searchsorted(self.stamps, stamp))
        return found if found < len(self) and self.stamps[found] == stamp else None

    def key_before(self, rank: int) -> int:
        """Index in ``keys`` of the last one shown at ``rank`` or before; -1 where there is none."""
        if not len(self.keys):
            return -1
        return int(np.searchsorted(self.keys[:, 1], self.stamps[rank], side="right")) - 1

    def key(self, index: int) -> Key:
        """One of ``keys``."""
        return Key(*self.keys[index].tolist())

    # -- which pictures a sample takes

    def spread(self, count: int, start: float, end: float) -> np.ndarray:
        """Ranks of what is shown in the middle of ``count`` equal parts of [start, end), once each."""
        targets = start + (np.arange(count) + 0.5) * ((end - start) / count)
        return np.unique(self._shown_at(targets))

    def every(self, seconds: float, start: float, end: float) -> np.ndarray:
        """Ranks of what is shown at ``start``, ``start + seconds``, ... before ``end``, once each."""
        # Asked of each picture whether a target falls into its time: the number of targets has no limit.
        lower = np.maximum(self.times, start) - self._slack
        upper = np.minimum(np.append(self.times[1:], self.duration), end) - self._slack
        target = start + np.ceil((lower - start) / seconds) * seconds
        return np.flatnonzero((target < upper) & (target >= lower))

    def between(self, start: float, end: float) -> range:
        """Ranks of all that begin to be shown in [start, end)."""
        low, high = np.searchsorted(self.times, (start - self._slack, end - self._slack))
        return range(int(low), int(high))

    @property
    def _slack(self) -> float:
        return min(_EPSILON, self.duration / len(self) / 8)

    def _shown_at(self, times: np.ndarray) -> np.ndarray:
        return np.maximum(np.searchsorted(self.times, times + self._slack, side="right") - 1, 0)


def _trustworthy(pts: np.ndarray, shown: np.ndarray, key: np.ndarray) -> bool:
    """Whether presentation stamps name pictures: all there, hardly any twice, and time never jumps back."""
    if not key.any() or not shown.any() or (pts == NO_STAMP).any():
        return False
    if np.ptp(pts.astype(np.float64)) > 2**62 or (np.diff(pts[key]) <= 0).any():
        return False
    stamps = pts[shown]
    if len(np.unique(stamps)) < 0.99 * len(stamps):
        return False
    ranks = np.empty(len(pts), np.int64)
    ranks[np.argsort(pts, kind="stable")] = np.arange(len(pts))
    return bool(np.abs(ranks - np.arange(len(pts))).max() <= _FARTHEST)
