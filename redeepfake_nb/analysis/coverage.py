"""How much of a video was looked at, in words."""

from __future__ import annotations

from dataclasses import dataclass

# Seconds between sampled frames over which a verdict warns of the time between: up to here, whatever lasts a
# second is in two frames, and two are needed to be noticed for certain; see ``standing_out`` of
# :mod:`redeepfake_nb.analysis.verdict`.
DENSE = 0.5


def every_seconds(interval: float | None) -> str:
    """Return ``", one every 8.3 s"``; empty where no interval is known."""
    return "" if interval is None else f", one every {interval:.{1 if interval >= 0.95 else 2}f} s"


@dataclass(frozen=True)
class Coverage:
    """Which share of a video's frames was looked at.

    Parameters
    ----------
    frames
        Number of sampled frames.
    pictures
        Number of frames in the file.
    interval
        Seconds between sampled frames; ``None`` where there are fewer than two.
    """

    frames: int
    pictures: int
    interval: float | None

    @property
    def complete(self) -> bool:
        """Whether every frame was looked at."""
        return self.frames >= self.pictures

    @property
    def share(self) -> str:
        """``"36 of 7,500 frames, one every 8.3 s"`` or ``"all 150 frames"``."""
        if self.complete:
            return "the only frame" if self.frames == 1 else f"all {self.frames:,} frames"
        return f"{self.frames:,} of {self.pictures:,} frames{every_seconds(self.interval)}"

    @property
    def gaps(self) -> str:
        """What the time between the sampled frames means, as a clause; empty where they are dense."""
        if self.complete or (self.interval is not None and self.interval <= DENSE):
            return ""
        return "nothing is known of the time between"

    @property
    def summary(self) -> str:
        """``"36 of 7,500 frames looked at, one every 8.3 s, and nothing is known of the time between"``."""
        seconds = "" if self.complete else every_seconds(self.interval)
        words = f"{self.share.removesuffix(seconds)} looked at{seconds}"
        return f"{words}, and {self.gaps}" if self.gaps else words
