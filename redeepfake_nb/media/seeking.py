"""Wanted pictures of a stream by the cheapest way that gives exactly the same ones as decoding everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import av

from .video_stream import SeekFailed, Stream

# Going back to a key picture costs about as much as decoding this many pictures.
_WORTH_SEEKING = 12
# After so many key pictures at which decoding could not begin, no further ones are tried.
_MAX_FAILURES = 3


class Picture(NamedTuple):
    """A decoded picture, its rank, and whether it builds upon damaged ones."""

    rank: int
    picture: av.VideoFrame
    doubtful: bool


def wanted_pictures(stream: Stream, ranks: Sequence[int], damaged: set[int]) -> Iterator[Picture]:
    """The pictures of these ranks, each once.

    In the place of a damaged picture comes the one shown before it, if it was not given already.

    Parameters
    ----------
    stream
        Nothing else may read from it meanwhile.
    ranks
        Ascending, without repetition.
    damaged
        Ranks of pictures that were needed and could not be decoded are added.

    Raises
    ------
    OutOfTime
        The stream's clock stopped it.
    av.FFmpegError
        The file cannot be opened again.
    """
    failed: set[int] = set()
    run: Iterator[tuple[int, av.VideoFrame, bool]] | None = None
    latest: Picture | None = None  # the newest one that was not given
    # Pictures that nothing builds upon are left out, until a wanted one turns out to be damaged: what is
    # shown in its place must be what would be shown if all were decoded.
    few = 2 * len(ranks) < len(stream.table)
    only: set[int] | None = {int(rank) for rank in ranks} if few else None
    place = 0
    while place < len(ranks):
        want = int(ranks[place])
        key = _key(stream, want, failed)
        if run is None or (key is not None and stream.table.key(key).place - stream.fed > _WORTH_SEEKING):
            run = stream.pictures(None if key is None else stream.table.key(key), damaged, only)
            latest = None
        try:
            while latest is None or latest.rank < want:
                candidate = Picture(*next(run))
                if candidate.rank > want:
                    if only is not None:
                        only = run = latest = None
                        break
                    if latest is not None:
                        yield latest
                    # Targets that only damaged pictures would have met are passed.
                    while place < len(ranks) and ranks[place] < candidate.rank:
                        place += 1
                    latest = candidate
                    break
                latest = candidate
        except SeekFailed:
            failed.add(key)
            run = latest = None
            continue
        except StopIteration:
            if only is not None:
                only = run = latest = None
                continue
            if latest is not None:
                yield latest
            return
        if run is None:
            continue
        if place < len(ranks) and latest.rank == ranks[place]:
            yield latest
            latest = None
            place += 1
    if not stream.table.trusted and run is not None and len(ranks) and ranks[-1] == len(stream.table) - 1:
        # Pictures were only counted by packets, so there may be more; all come where the last was wanted.
        step = ranks[-1] - ranks[-2] if len(ranks) > 1 else 1
        if step == 1:
            yield from (Picture(*item) for item in run)


def _key(stream: Stream, rank: int, failed: set[int]) -> int | None:
    """Index of the key picture to begin at; ``None`` for the start of the file."""
    if len(failed) >= _MAX_FAILURES:
        return None
    key = stream.table.key_before(rank)
    while key in failed:
        key -= 1
    # The first key picture is the start of the file, or nearly.
    return key if key > 0 and stream.table.key(key).place > _WORTH_SEEKING else None
