"""Windows of consecutive sightings of one face, for models that score several frames at once.

A window holds sampled sightings of one track that follow each other. Each window scores those of its
sightings that no window before it has scored: the first full windows of a track lie end to end, and the last
one reaches back, so that it is full, too. So every sighting of a track with enough of them has one score.

What is left are tracks with fewer sightings than a window has frames. Frames that are sampled more than two
seconds apart cannot be tracked at all, so after the last frame such tracks of one person are joined to runs
of neighbouring sampled frames, and windows are made of the runs. A run that is still too short becomes one
window in which the last sighting is repeated; how often is noted, since the model then sees a face that
stands still.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..faces.tracking import MAX_GAP

Item = TypeVar("Item")


@dataclass(frozen=True)
class Window(Generic[Item]):
    """One input of a model that scores several frames at once.

    Parameters
    ----------
    items
        In the order of time, as many as the model takes.
    fresh
        How many of them take the score of this window; they stand before the repeated ones.
    repeated
        How often the last sighting was repeated at the end.
    """

    items: tuple[Item, ...]
    fresh: int
    repeated: int = 0

    @property
    def scored(self) -> tuple[Item, ...]:
        """The items that take the score of this window."""
        end = len(self.items) - self.repeated
        return self.items[end - self.fresh : end]


@dataclass
class _Track(Generic[Item]):
    """The last sightings of a track, as many as a window has at most, and how many of them have no score."""

    entries: list[tuple[float, Item]] = field(default_factory=list)
    waiting: int = 0
    filled: bool = False

    def window(self) -> Window[Item]:
        return Window(tuple(item for _, item in self.entries), self.waiting)


class WindowBuffer(Generic[Item]):
    """Collects sightings and makes windows of them.

    It holds at most ``length`` sightings of each track that may go on, or that is too short for a window.

    Parameters
    ----------
    length
        Frames of a window.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._tracks: dict[int, _Track[Item]] = {}

    def add(self, track: int, time: float, item: Item) -> list[Window[Item]]:
        """Add a sighting, later than all of its track before, and return the windows that are complete."""
        known = self._tracks.setdefault(track, _Track())
        known.entries = [*known.entries[1 - self._length :], (time, item)]
        known.waiting += 1
        ended = [
            other
            for other in self._tracks.values()
            if other.filled and time - other.entries[-1][0] > MAX_GAP and other is not known
        ]
        complete = [other.window() for other in ended if other.waiting]
        self._tracks = {n: other for n, other in self._tracks.items() if other not in ended}
        if known.waiting == self._length:
            complete.append(known.window())
            known.filled, known.waiting = True, 0
        return complete

    def rest(self, persons: Mapping[int, int], longest_gap: float) -> list[Window[Item]]:
        """Return windows of everything that has no score yet, after the last frame.

        Parameters
        ----------
        persons
            Number of a track -> number of its person.
        longest_gap
            Seconds between sightings of one person that still count as neighbours.
        """
        found = [track.window() for track in self._tracks.values() if track.filled and track.waiting]
        short: dict[int, list[tuple[float, Item]]] = {}
        for number, track in self._tracks.items():
            if not track.filled:
                short.setdefault(persons[number], []).extend(track.entries)
        self._tracks = {}
        for _, entries in sorted(short.items()):
            entries.sort(key=lambda entry: entry[0])
            starts = [
                i for i, (time, _) in enumerate(entries) if not i or time - entries[i - 1][0] > longest_gap
            ]
            for start, end in zip(starts, [*starts[1:], len(entries)], strict=True):
                found += self._of_run([item for _, item in entries[start:end]])
        return found

    def _of_run(self, items: list[Item]) -> list[Window[Item]]:
        """Make windows of consecutive sightings."""
        length, count = self._length, len(items)
        if count < length:
            repeated = length - count
            return [Window((*items, *[items[-1]] * repeated), count, repeated)]
        found = [Window(tuple(items[i : i + length]), length) for i in range(0, count - length + 1, length)]
        if left := count % length:
            found.append(Window(tuple(items[-length:]), left))
        return found
