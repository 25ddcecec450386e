"""Decode selected frames of a stream, skipping work, with the same result as decoding all frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .animation import AnimationStream
from .video_stream import DecodedFrame, SeekFailed, Stream

# Seeking to a keyframe costs about as much as decoding this many frames.
_SEEK_COST = 12
# After this many keyframes at which decoding could not begin, no further ones are tried.
_MAX_FAILURES = 3


def decode_selected(
    stream: Stream | AnimationStream, ranks: Sequence[int], damaged: set[int]
) -> Iterator[DecodedFrame]:
    """Decode the frames of the given ranks, each once.

    A damaged frame is replaced by the one displayed before it, unless that one was yielded already.

    Parameters
    ----------
    stream
        Nothing else may read from it at the same time.
    ranks
        Ascending, without duplicates.
    damaged
        The ranks of frames that were needed and could not be decoded are added to this set.

    Yields
    ------
    DecodedFrame
        In display order.

    Raises
    ------
    TimeLimitExceeded
        The stream's time budget is spent.
    av.FFmpegError
        The file cannot be opened again.
    """
    table = stream.table
    failed: set[int] = set()
    frames: Iterator[DecodedFrame] | None = None
    pending: DecodedFrame | None = None  # the latest decoded frame that was not yielded
    # Non-reference frames are skipped until a wanted frame turns out to be damaged: the frame that replaces
    # it must be the same as if all were decoded.
    few = 2 * len(ranks) < len(table)
    only: set[int] | None = {int(rank) for rank in ranks} if few else None
    position = 0
    yielded = -1  # the latest rank; after a restart the same frames are decoded again
    while position < len(ranks):
        wanted = int(ranks[position])
        key = _keyframe_for(stream, wanted, failed)
        if frames is None or (key is not None and table.keyframe(key).position - stream.fed > _SEEK_COST):
            frames = stream.frames(None if key is None else table.keyframe(key), damaged, only)
            pending = None
        try:
            while pending is None or pending.rank < wanted:
                candidate = next(frames)
                if candidate.rank > wanted:
                    if only is not None:
                        only = frames = pending = None
                        break
                    if pending is not None and pending.rank > yielded:
                        yielded = pending.rank
                        yield pending
                    # The frame before the gap stands for all wanted ranks in the gap.
                    while position < len(ranks) and ranks[position] < candidate.rank:
                        position += 1
                    pending = candidate
                    break
                pending = candidate
        except SeekFailed:
            if key is not None:
                failed.add(key)
            frames = pending = None
            continue
        except StopIteration:
            if only is not None:
                only = frames = pending = None
                continue
            if pending is not None and pending.rank > yielded:
                yield pending
            return
        if frames is None or pending is None:
            continue
        if position < len(ranks) and pending.rank == ranks[position]:
            yielded = pending.rank
            yield pending
            pending = None
            position += 1
    if not table.has_timestamps and frames is not None and len(ranks) and ranks[-1] == len(table) - 1:
        # Frames were only counted by packets, so there may be more; they follow if consecutive ones were
        # wanted.
        step = ranks[-1] - ranks[-2] if len(ranks) > 1 else 1
        if step == 1:
            yield from frames


def _keyframe_for(stream: Stream | AnimationStream, rank: int, failed: set[int]) -> int | None:
    """Find the index of the keyframe at which to begin; ``None`` for the start of the file."""
    if len(failed) >= _MAX_FAILURES:
        return None
    key = stream.table.keyframe_before(rank)
    while key in failed:
        key -= 1
    # The first keyframe is at or near the start of the file.
    return key if key > 0 and stream.table.keyframe(key).position > _SEEK_COST else None
