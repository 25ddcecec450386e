"""Videos -> upright RGB :class:`~redeepfake_nb.media.frames.Frame` records with their times, one after the other.

.. code-block:: python

    with open_video("clip.mp4") as video:
        for frame in video.sample(frames=32):
            ...
        print(video.completeness.summary)

Memory does not grow with the length of the video but for 16 bytes per picture. Nothing the header says about
counts, rates and durations is believed: see :mod:`packet_table`.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, BinaryIO, Literal

import av

from ..errors import (
    InputError,
    MediaTooLarge,
    NoVideoFrames,
    RedeepfakeError,
    TruncatedMedia,
    UnsupportedMedia,
)
from .color import Converter, notes, rotation
from .file_types import DOWNLOAD, describe, is_audio, picture_format, video_format
from .files import check_bytes, empty, open_file, out_of_memory
from .frames import Frame, Source, content
from .limits import Clock, OutOfTime
from .seeking import wanted_pictures
from .video_stream import Stream, cause


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


__all__ = ["Completeness", "Sample", "Video", "open_video"]

MAX_PIXELS = 8192 * 4320
MAX_SECONDS = 24 * 3600.0
MAX_BYTES = 64 * 2**30
TIME_LIMIT = 3600.0
# Small files get little time, so that a few kilobytes of black 8K cannot keep a machine busy for an hour.
# Real videos are decoded many times as fast.
_SECONDS = 25.0
_SECONDS_PER_MIB = 8.0
_AFTER_DAMAGE = "decoded behind damaged pictures; parts of it may be wrong"


def open_video(
    source: Any,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    max_seconds: float = MAX_SECONDS,
    max_bytes: int = MAX_BYTES,
    time_limit: float | None = None,
) -> Video:
    """Open a video: go through its packets and decode its first picture.

    Parameters
    ----------
    source
        A path, the file's content as ``bytes``, ``bytearray`` or ``memoryview``, or one upload of an
        ipywidgets ``FileUpload``. Animated GIFs are read too; still pictures are not.
    name
        What reports and errors call it. Default: the file's or upload's own name.
    max_pixels
        Largest width x height; 8K by default.
    max_seconds
        Longest duration, by the pictures' own times; a day by default.
    max_bytes
        Largest file.
    time_limit
        Seconds that demuxing and decoding may take in all. By default 25 and another 8 for each MiB of the
        file, at most an hour. Later on it ends a sample early, which ``completeness`` says.

    Returns
    -------
    Video
        To be used as a context manager, or closed.

    Raises
    ------
    InputError
        Not there, not readable or no regular file. Its children say more: :class:`EmptyFile`,
        :class:`UnsupportedMedia` (other kinds of files, playlists among them), :class:`TruncatedMedia`
        (no picture can be decoded), :class:`MediaTooLarge`, :class:`NoVideoFrames` (sound only).
    """
    file, label, subject = open_input(source, name=name, max_bytes=max_bytes)
    try:
        if time_limit is None:
            size = file.seek(0, io.SEEK_END) / 2**20
            time_limit = min(_SECONDS + _SECONDS_PER_MIB * size, TIME_LIMIT)
            file.seek(0)
        return Video(file, label, subject, max_pixels, max_seconds, Clock(time_limit))
    except OutOfTime:
        file.close()
        raise MediaTooLarge(
            f"opening it took longer than {time_limit:g} s",
            subject=subject,
            next_step="Cut it into shorter videos, or raise time_limit.",
        ) from None
    except MemoryError as error:
        file.close()
        raise out_of_memory("open", subject) from error
    except OSError as error:
        file.close()
        raise TruncatedMedia(
            f"the system cannot read it ({cause(error)})",
            subject=subject,
            next_step="Copy it to another place.",
        ) from error
    except BaseException:
        file.close()
        raise


def open_input(
    source: Any, *, name: str | None = None, max_bytes: int = MAX_BYTES
) -> tuple[BinaryIO, str, str]:
    """What a path, bytes or one upload holds, open for reading; and what reports and errors call it.

    Raises
    ------
    InputError
        As :func:`open_video`, as far as it can be told without looking inside.
    """
    data, label, subject = content(source, name=name, what="video")
    subject = name or subject
    if data is None:
        return open_file(source, name=name, max_bytes=max_bytes, what="video"), name or label, subject
    check_bytes(memoryview(data).nbytes, max_bytes, subject)
    return io.BytesIO(data), name or label, subject


def _identify(file: BinaryIO, subject: object) -> str:
    """Container format by the first bytes."""
    head = file.read(4096)
    if not head:
        raise empty(subject)
    kind = video_format(head)
    if kind is not None:
        return kind
    picture = picture_format(head)
    if picture is not None:
        raise UnsupportedMedia(
            f"this is a {picture} picture, not a video",
            subject=subject,
            next_step="Use analyze_image() or read_image().",
        )
    if is_audio(head):
        raise NoVideoFrames("this is an audio file", subject=subject, next_step="Choose a video file.")
    what, step = describe(head)
    if step.startswith("Convert"):
        step = "Convert it to MP4 (H.264) first."
    elif step == DOWNLOAD:
        step = DOWNLOAD.replace("picture", "video")
    raise UnsupportedMedia(f"this is {what}, which is not read as a video", subject=subject, next_step=step)


class Video:
    """An open video. Made by :func:`open_video`.

    It has one decoder, which a lock keeps for one thread at a time, so any thread may read from it; a second
    sample ends the first.

    Attributes
    ----------
    name : str
    source : Source
        With the SHA-256 of the file, its format (``"MP4"``, ``"Matroska"``, ...) and warnings.
    width, height : int
        Of the first picture, upright. A stream may change its size: each frame has its own.
    duration : float
        Seconds from the first picture to the end of the last, measured by the pictures' own times; where the
        file has no usable times, counted pictures divided by the claimed rate, which a warning says.
    claimed_duration : float or None
        Seconds, as the header says.
    pictures : int
        Counted.
    average_rate : float or None
        Pictures per second, as the header says.
    codec : str
        Such as ``"h264"``.
    first_time : fractions.Fraction
        Seconds of the first picture on the file's own clock, on which its sound is timed too.
    rotation : int
        Degrees clockwise by which stored pictures were turned.
    """

    def __init__(
        self, file: BinaryIO, name: str, subject: str, max_pixels: int, max_seconds: float, clock: Clock
    ) -> None:
        self._file = file
        self._clock = clock
        self._lock = threading.RLock()
        self._converter = Converter()
        self._sample: Sample | None = None
        self._subject = subject
        kind = _identify(file, subject)
        self._stream = stream = Stream(file, kind, subject, max_pixels, clock)
        try:
            table = stream.table
            if not len(table):
                raise NoVideoFrames(
                    "its video stream holds no pictures, or the list of them is cut off",
                    subject=subject,
                    next_step="Get the file again from where it came from.",
                )
            if table.duration > max_seconds:
                raise MediaTooLarge(
                    f"it lasts {table.duration / 3600:.4g} hours; the limit is {max_seconds / 3600:.3g}",
                    subject=subject,
                    next_step="Cut it into shorter videos, or raise max_seconds.",
                )
            picture = self._first_picture()
            height, width = self._converter.rgb(picture).shape[:2]
            self.name = name
            self.width, self.height = width, height
            self.duration = table.duration
            self.claimed_duration = stream.claimed_duration
            self.pictures = len(table)
            self.average_rate = stream.claimed_rate
            self.codec = stream.codec
            self.first_time = stream.first_time
            self.rotation = rotation(picture)
            warnings = (*stream.notes, *notes(picture, stream.pixel_aspect), *self._doubts())
            digest, size = self._digest()
            self.source = Source(name, digest, kind, size, warnings)
            self._doubtful_source = replace(self.source, warnings=(*warnings, _AFTER_DAMAGE))
        except BaseException:
            stream.close()
            raise

    def _first_picture(self) -> av.VideoFrame:
        try:
            for _, picture, _ in self._stream.pictures(None, set()):
                self._stream.check_size(picture.width, picture.height)
                return picture
        except (av.FFmpegError, ValueError) as error:
            raise self._nothing(cause(error)) from error
        raise self._nothing(self._stream.first_error or "the decoder gives nothing")

    def _nothing(self, why: str) -> TruncatedMedia:
        return TruncatedMedia(
            f"none of its {len(self._stream.table)} pictures can be decoded ({why})",
            subject=self._subject,
            next_step="Get the file again from where it came from.",
        )

    def _doubts(self) -> Iterator[str]:
        table = self._stream.table
        if table.leading:
            yield f"{table.leading} pictures before the first key picture cannot be decoded"
        if not table.trusted:
            yield f"no usable time stamps; {len(table) / table.duration:g} pictures per second are assumed"
        elif not 0.1 <= len(table) / table.duration <= 1000:
            yield f"{len(table)} pictures in {table.duration:.3g} s: its times are hardly right"

    def _digest(self) -> tuple[str, int]:
        self._file.seek(0)
        digest = hashlib.file_digest(self._file, "sha256").hexdigest()
        return digest, self._file.seek(0, io.SEEK_END)

    def _shrunk(self) -> bool:
        """Whether the file has less in it than when it was opened."""
        try:
            return os.fstat(self._file.fileno()).st_size < self.source.size_bytes
        except (OSError, ValueError):
            return False  # bytes in memory

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Video({self.name!r}, {self.width} x {self.height}, {self.duration:.2f} s, {self.codec})"

    def close(self) -> None:
        """Let go of the file and of the decoder's memory. ``completeness`` stays."""
        with self._lock:
            if self._sample is not None:
                self._sample.close()
            self._stream.close()
            self._file.close()

    def sample(
        self,
        frames: int | Literal["all"] | None = None,
        *,
        every: float | None = None,
        start: float = 0.0,
        end: float | None = None,
    ) -> Sample:
        """Frames of a part of the video, in order, each at most once.

        The frames are the same however they are reached: where jumping to key pictures saves work, decoding
        begins at the key picture before a wanted one, and what comes out is checked against the packets'
        time stamps; where that fails, all is decoded from the start.

        Parameters
        ----------
        frames
            * a number (default 32): what is shown in the middle of each of so many equal parts of the time.
              Fewer come where the video has fewer pictures.
            * ``"all"``: all that begin to be shown in the time.
        every
            Instead of ``frames``: what is shown at ``start``, and each so many seconds later.
        start, end
            Seconds from the first picture. ``end`` itself is not included; default: the end of the video.

        Returns
        -------
        Sample
            An iterator of :class:`Frame`, with ``expected``, their number. ``frame.index`` is the zero-based
            place of the picture among all that the video shows, ``frame.timestamp`` its seconds from the
            first.

        Raises
        ------
        InputError
            It ends before ``start``.
        ValueError
            An option out of range, or the video is closed.
        """
        table = self._stream.table
        if not 0 <= start < (math.inf if end is None else end):
            raise ValueError(f"start must be 0 or more and lie before end, not {start} with end {end}")
        if start >= table.duration:
            raise InputError(
                f"it lasts {table.duration:.2f} s, so nothing of it begins at {start:g} s",
                subject=self._subject,
                next_step="Choose an earlier start.",
            )
        end = table.duration if end is None else min(end, table.duration)
        if every is not None and frames is not None:
            raise ValueError("give frames or every, not both")
        if every is not None:
            if not (math.isfinite(every) and every > 0):
                raise ValueError(f"every must be seconds above 0, not {every}")
            ranks: Sequence[int] = table.every(every, start, end)
        elif frames == "all":
            ranks = table.between(start, end)
        else:
            count = 32 if frames is None else frames
            if isinstance(count, (bool, str)) or int(count) != count or count < 1:
                raise ValueError(f'frames must be a number above 0 or "all", not {frames!r}')
            # More targets than this cannot hit more pictures.
            ranks = table.spread(min(int(count), 4 * len(table)), start, end)
        with self._lock:
            if self._file.closed:
                raise ValueError("the video is closed")
            if self._sample is not None:
                self._sample.close()
            self._sample = Sample(self, ranks)
            return self._sample

    @property
    def completeness(self) -> Completeness:
        """How the latest sample went; before there is one, what is known of the file."""
        with self._lock:
            stream, sample = self._stream, self._sample
            read = sample.read if sample else 0
            expected = sample.expected if sample else 0
            finished = sample.finished if sample else False
            damaged = len(sample.damaged) if sample else 0
            doubtful = sample.doubtful if sample else 0
            error = (sample.first_error if sample else None) or stream.missing_end or stream.first_error
            corrupt = stream.corrupt_packets
            if error is None and corrupt:
                error = f"{corrupt} parts of the file are marked as damaged"
            whole = finished and error is None and not damaged and not doubtful
            return Completeness(
                read=read,
                expected=expected,
                decoded=sample.decoded if sample else 0,
                pictures=self.pictures,
                claimed=stream.claimed,
                damaged=damaged,
                doubtful=doubtful,
                corrupt_packets=corrupt,
                last_timestamp=sample.last_timestamp if sample else None,
                finished=finished,
                missing=stream.missing_end,
                first_error=error,
                complete=whole,
            )


class Sample(Iterator[Frame]):
    """Frames of a video as they are decoded. Made by :meth:`Video.sample`.

    Attributes
    ----------
    expected : int
        How many frames there will be, unless some are damaged.
    read : int
        How many there were.
    finished : bool
        Whether it came to its end.
    """

    def __init__(self, video: Video, ranks: Sequence[int]) -> None:
        self.expected = len(ranks)
        self.read = 0
        self.finished = False
        self.damaged: set[int] = set()
        self.doubtful = 0
        self.decoded = 0
        self.first_error: str | None = None
        self.last_timestamp: float | None = None
        self._video = video
        self._ranks = ranks
        self._ended = False
        self._frames = self._produce()

    def __len__(self) -> int:
        return self.expected

    def __next__(self) -> Frame:
        with self._video._lock:
            if self._ended and not self.finished and self.first_error is None:
                raise ValueError("this sample was ended by a newer one, or its video was closed")
            frame = next(self._frames)
            self.read += 1
            self.last_timestamp = frame.timestamp
            return frame

    def close(self) -> None:
        """End it."""
        with self._video._lock:
            self._ended = True
            self._frames.close()

    def _produce(self) -> Iterator[Frame]:
        stream = self._video._stream
        stream.first_error = None
        before = stream.decoded
        try:
            for rank, picture, doubtful in wanted_pictures(stream, self._ranks, self.damaged):
                stream.check_size(picture.width, picture.height)
                self.decoded = stream.decoded - before
                with self._video._clock:
                    frame = self._frame(rank, picture, doubtful)
                yield frame
            self.finished = True
            if self._video._shrunk():
                self.first_error = "the file became shorter while it was read"
        except OutOfTime:
            self.first_error = f"decoding took longer than {self._video._clock.limit:g} s"
        except RedeepfakeError as error:
            self.first_error = error.cause
        except (av.FFmpegError, ValueError, OSError, MemoryError) as error:
            self.first_error = f"reading stopped ({cause(error)})"
        finally:
            self.decoded = stream.decoded - before
            self.first_error = stream.first_error or self.first_error
            self._ended = True

    def _frame(self, rank: int, picture: av.VideoFrame, doubtful: bool) -> Frame:
        video = self._video
        table = video._stream.table
        seconds = table.times[rank] if rank < len(table) else rank * table.duration / len(table)
        self.doubtful += doubtful
        source = video._doubtful_source if doubtful else video.source
        return Frame(video._converter.rgb(picture), rank, float(seconds), source)
