"""Notes on how a file was read: what was ignored, assumed, repaired or not looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NoteKind = Literal["information", "doubt", "unseen"]


@dataclass(frozen=True)
class Note:
    """What a reader of a file has to know, and what it means for the answer.

    The code that finds something out decides on its kind; everything that shows or judges a file goes by it.

    Parameters
    ----------
    text
        A clause without a full stop.
    kind
        * ``"information"``: it does not change the answer, such as an ignored colour profile.
        * ``"doubt"``: it may change a score, such as a repaired or an assumed thing. It becomes a reason of
          the verdict.
        * ``"unseen"``: a part in which a fake could hide was not looked at. It becomes a reason, and a
          verdict that would be ``"real"`` is inconclusive.
    """

    text: str
    kind: NoteKind = "information"


def doubt(text: str) -> Note:
    """Make a note on what may change a score."""
    return Note(text, "doubt")


def unseen(text: str) -> Note:
    """Make a note on a part that was not looked at and in which a fake could hide."""
    return Note(text, "unseen")
