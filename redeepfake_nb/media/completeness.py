"""What was read of a video, and what was not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Completeness:
    """What was read of a video, and what was not.

    Parameters
    ----------
    read
        Frames handed out by the latest sample.
    expected
        Frames it would have handed out of an undamaged video.
    decoded
        Pictures that were decoded for them.
    pictures
        Pictures in the file, counted.
    claimed
        Pictures in the file as its header says; ``None`` where it does not, and to be trusted nowhere.
    damaged
        Pictures that were to be decoded and could not. They are left out.
    doubtful
        Frames handed out that build upon damaged ones; ``frame.source.warnings`` says so on each.
    corrupt_packets
        Parts of the file that its container marks as damaged.
    last_timestamp
        Seconds; of the last frame handed out.
    finished
        Whether the sample was read to its end.
    missing
        What the header claims and the file does not hold.
    first_error
        The first thing that went wrong.
    complete
        Whether all that was asked for came, undamaged, from a file that is whole as far as can be told.
    """

    read: int
    expected: int
    decoded: int
    pictures: int
    claimed: int | None
    damaged: int
    doubtful: int
    corrupt_packets: int
    last_timestamp: float | None
    finished: bool
    missing: str | None
    first_error: str | None
    complete: bool

    @property
    def summary(self) -> str:
        """All of it as one clause."""
        text = f"{self.read} of {self.expected} frames read"
        if self.damaged:
            text += f", {self.damaged} damaged pictures left out"
        if self.doubtful:
            text += f", {self.doubtful} frames in doubt behind them"
        if not self.finished:
            text += ", stopped before the end"
        reasons = [reason for reason in dict.fromkeys((self.first_error, self.missing)) if reason]
        return f"{text}: {'; '.join(reasons)}" if reasons else text

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
