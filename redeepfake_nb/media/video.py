"""Read videos as a sequence of upright RGB :class:`Frame` records with timestamps.

.. code-block:: python

    with open_video("clip.mp4") as video:
        for frame in video.sample(frames=32):
            ...
        print(video.completeness.summary)

Apart from 16 bytes per frame, memory does not grow with the length of the video. Frame counts, frame rates
and durations in the header are not trusted: see :mod:`redeepfake_nb.media.packet_index`.
"""

from __future__ import annotations

import io
import math
import os
import threading
from collections.abc import Generator, Iterator, Sequence
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
from ..utils.hashing import sha256_of
from .animation import ANIMATED, AnimationStream
from .appended import appended_to_heif, appended_to_jpeg
from .color import FrameConverter, conversion_notes, rotation
from .file_types import DOWNLOAD, describe_unsupported, image_format, is_audio, moving_format, video_format
from .files import MAX_BYTES as MAX_PICTURE_BYTES
from .files import check_file_size, empty_file_error, memory_error, open_file
from .frames import Frame, Source, resolve_source, turned_pixels
from .image_containers import DamagedContainer, sanitize_jpeg
from .limits import TimeBudget, TimeLimitExceeded
from .notes import Note, doubt
from .seeking import decode_selected
from .video_stream import Stream, cause


@dataclass(frozen=True)
class Completeness:
    """How completely a video was read.

    Parameters
    ----------
    read
        Number of frames yielded by the latest sample.
    expected
        Number of frames that it would have yielded from an undamaged video.
    decoded
        Number of frames that were decoded for it.
    pictures
        Number of frames in the file, counted.
    claimed
        Number of frames according to the header, which may be wrong; ``None`` if it states none.
    damaged
        Number of frames that were needed and could not be decoded. They are left out.
    doubtful
        Number of yielded frames that are predicted from damaged ones; each says so in
        ``frame.source.warnings``.
    corrupt_packets
        Number of packets that the container marks as damaged.
    last_timestamp
        Timestamp of the last yielded frame in seconds.
    finished
        Whether the sample was read to its end.
    missing
        What the header claims and the file does not contain, as a clause.
    first_error
        The first error, as a clause.
    complete
        Whether all requested frames were read undamaged from a file that seems to be complete.
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
        """Summary as one clause."""
        text = f"{self.read} of {self.expected} frames read"
        if self.damaged:
            text += f", {self.damaged} damaged frame{'' if self.damaged == 1 else 's'} left out"
        if self.doubtful:
            text += f", {self.doubtful} frame{'' if self.doubtful == 1 else 's'} predicted from damaged ones"
        if not self.finished:
            text += ", stopped before the end"
        reasons = [reason for reason in dict.fromkeys((self.first_error, self.missing)) if reason]
        return f"{text}: {'; '.join(reasons)}" if reasons else text

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


__all__ = ["Completeness", "Sample", "Video", "open_video"]

MAX_PIXELS = 8192 * 4320
MAX_SECONDS = 24 * 3600.0
MAX_BYTES = 64 * 2**30
TIME_LIMIT = 3600.0
# Small files get little time, so that a few kilobytes of black 8K frames cannot keep a machine busy for an
# hour. Ordinary videos are decoded many times as fast.
_BASE_SECONDS = 25.0
_SECONDS_PER_MIB = 8.0
_AFTER_DAMAGE = doubt("predicted from damaged frames; parts of it may be wrong")


def open_video(
    source: Any,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    max_seconds: float = MAX_SECONDS,
    max_bytes: int = MAX_BYTES,
    time_limit: float | None = None,
    stream: int | None = None,
) -> Video:
    """Open a video: index its packets and decode its first frame.

    Parameters
    ----------
    source
        A path, the file's content as ``bytes``, ``bytearray`` or ``memoryview``, or one upload of an
        ipywidgets ``FileUpload``. Animated GIF, PNG, WebP and AVIF and HEIC sequences are supported, and
        photos with an appended video (motion photos), of which the video is read; other still images are not.
    name
        Name in reports and error messages. Default: the name of the file or upload.
    max_pixels
        Largest width x height; 8K by default.
    max_seconds
        Longest duration, measured by the timestamps of the frames; 24 hours by default.
    max_bytes
        Largest file size.
    time_limit
        Seconds that demuxing and decoding may take in total. Default: 25 plus 8 for each MiB of the file, at
        most an hour. A sample that exceeds it ends early, which ``completeness`` reports.
    stream
        Which video stream to read, where the file has several: 1, 2, ... Cover pictures, and streams of one
        frame beside a longer one, are not counted. Default: the one that the file marks as default, else the
        largest; a note then says that the others were not looked at.

    Returns
    -------
    Video
        Use it as a context manager, or close it.

    Raises
    ------
    InputError
        The file does not exist, cannot be read or is not a regular file. Subclasses tell why:
        :class:`EmptyFile`, :class:`UnsupportedMedia` (other types of files, including playlists),
        :class:`TruncatedMedia` (no frame can be decoded), :class:`MediaTooLarge`, :class:`NoVideoFrames`
        (audio only).
    ValueError
        ``stream`` is no number from 1.
    """
    if stream is not None and (isinstance(stream, bool) or not isinstance(stream, int) or stream < 1):
        raise ValueError(f"stream must be a number from 1, not {stream!r}")
    file, label, subject = open_input(source, name=name, max_bytes=max_bytes)
    try:
        if time_limit is None:
            size = file.seek(0, io.SEEK_END) / 2**20
            time_limit = min(_BASE_SECONDS + _SECONDS_PER_MIB * size, TIME_LIMIT)
            file.seek(0)
        return Video(file, label, subject, max_pixels, max_seconds, TimeBudget(time_limit), stream)
    except TimeLimitExceeded:
        file.close()
        raise MediaTooLarge(
            f"opening it took longer than {time_limit:g} s",
            subject=subject,
            next_step="Cut it into shorter videos, or raise time_limit.",
        ) from None
    except MemoryError as error:
        file.close()
        raise memory_error("open", subject) from error
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
    """Open a path, bytes or one upload as a binary file.

    Returns
    -------
    file
        Open for reading.
    label
        Name for reports.
    subject
        Name for error messages.

    Raises
    ------
    InputError
        As :func:`open_video`, except for errors in the content.
    """
    data, label, subject = resolve_source(source, name=name, what="video")
    subject = name or subject
    if data is None:
        return open_file(source, name=name, max_bytes=max_bytes, what="video"), name or label, subject
    check_file_size(memoryview(data).nbytes, max_bytes, subject)
    return io.BytesIO(data), name or label, subject


def _appended_video(file: BinaryIO, head: bytes) -> bytes | None:
    """Return the video that a phone appended to a photo; ``None`` if there is none."""
    kind = image_format(head)
    if kind not in ("JPEG", "HEIF", "AVIF"):
        return None
    file.seek(0)
    data = file.read(MAX_PICTURE_BYTES)
    try:
        found = appended_to_jpeg(data, sanitize_jpeg(data).end) if kind == "JPEG" else appended_to_heif(data)
    except DamagedContainer:
        return None
    return None if found.video is None else data[found.video :]


def _identify(file: BinaryIO, subject: object) -> str:
    """Detect the container format from the first bytes."""
    file.seek(0)
    head = file.read(4096)
    if not head:
        raise empty_file_error(subject)
    kind = video_format(head) or moving_format(file)
    if kind is not None:
        return kind
    picture = image_format(head)
    if picture is not None:
        raise UnsupportedMedia(
            f"this is a {picture} picture, not a video",
            subject=subject,
            next_step="Use analyze_image() or read_image().",
        )
    if is_audio(head):
        raise NoVideoFrames("this is an audio file", subject=subject, next_step="Choose a video file.")
    what, step = describe_unsupported(head)
    if step.startswith("Convert"):
        step = "Convert it to MP4 (H.264) first."
    elif step == DOWNLOAD:
        step = DOWNLOAD.replace("picture", "video")
    raise UnsupportedMedia(f"this is {what}, which is not a supported video", subject=subject, next_step=step)


class Video:
    """An open video, created by :func:`open_video`.

    A lock protects its only decoder, so that any thread may read frames; a new sample ends the previous one.

    Attributes
    ----------
    name : str
        File name, or the name that the caller chose.
    source : Source
        SHA-256 of the file, its format (``"MP4"``, ``"Matroska"``, ...) and warnings.
    width, height : int
        Size of the first frame in pixels, upright and with square pixels. Later frames may have other sizes.
    duration : float
        Seconds from the first frame to the end of the last, by their timestamps; without usable timestamps
        the number of frames divided by the frame rate in the header, with a warning.
    claimed_duration : float or None
        Duration in seconds according to the header.
    frame_count : int
        Number of frames, counted.
    average_rate : float or None
        Frames per second according to the header.
    codec : str
        FFmpeg's name, such as ``"h264"``.
    start_time : fractions.Fraction
        Presentation time of the first frame in seconds, on the same clock as that of the sound.
    rotation : int
        Clockwise rotation in degrees that was applied to the stored frames.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        subject: str,
        max_pixels: int,
        max_seconds: float,
        budget: TimeBudget,
        number: int | None = None,
    ) -> None:
        self._file = file
        self._budget = budget
        self._lock = threading.RLock()
        self._sample: Sample | None = None
        self._turn = 0
        self._subject = subject
        notes: tuple[Note, ...] = ()
        data: BinaryIO = file
        if (appended := _appended_video(file, file.read(4096))) is not None:
            data = io.BytesIO(appended)
            notes = (doubt("the video appended to a picture looked at, and not the picture"),)
        kind = _identify(data, subject)
        stream: Stream | AnimationStream
        if kind in ANIMATED:
            if number not in (None, 1):
                raise InputError(
                    f"there is no video stream {number} in an animated picture",
                    subject=subject,
                    next_step="Leave stream out.",
                )
            size = file.seek(0, io.SEEK_END)
            check_file_size(size, MAX_PICTURE_BYTES, subject)
            file.seek(0)
            stream = AnimationStream(file.read(), kind, subject, max_pixels, budget)
        else:
            stream = Stream(data, kind, subject, max_pixels, budget, number)
        self._stream = stream
        self._converter = FrameConverter(stream.pixel_aspect, max_pixels)
        try:
            table = stream.table
            if not len(table):
                raise NoVideoFrames(
                    "its video stream contains no frames, or its index is truncated",
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
            self.frame_count = len(table)
            self.average_rate = stream.claimed_rate
            self.codec = stream.codec
            self.start_time = stream.start_time
            self.rotation = rotation(picture)
            notes = (
                *notes,
                *stream.notes,
                *conversion_notes(picture, stream.pixel_aspect, (width, height)),
                *self._timing_notes(),
            )
            digest = sha256_of(file)
            self.source = Source(name, digest, kind, file.seek(0, io.SEEK_END), notes)
            self._doubtful_source = replace(self.source, notes=(*notes, _AFTER_DAMAGE))
        except BaseException:
            stream.close()
            raise

    def turn(self, degrees: int, note: Note) -> None:
        """Turn all frames that are yet to be decoded, where the file does not say that it lies on its side.

        Parameters
        ----------
        degrees
            Clockwise: 90, 180 or 270. ``width`` and ``height`` change with it.
        note
            What ``source`` says of it.
        """
        with self._lock:
            self._turn = degrees
            if degrees % 180:
                self.width, self.height = self.height, self.width
            self.source = replace(self.source, notes=(*self.source.notes, note))
            doubtful = self._doubtful_source
            self._doubtful_source = replace(doubtful, notes=(*doubtful.notes, note))

    def _first_picture(self) -> av.VideoFrame:
        try:
            for _, picture, _ in self._stream.frames(None, set()):
                self._stream.check_size(picture.width, picture.height)
                return picture
        except (av.FFmpegError, ValueError) as error:
            raise self._no_frames_error(cause(error)) from error
        raise self._no_frames_error(self._stream.first_error or "the decoder returns nothing")

    def _no_frames_error(self, why: str) -> TruncatedMedia:
        return TruncatedMedia(
            f"none of its {len(self._stream.table)} frames can be decoded ({why})",
            subject=self._subject,
            next_step="Get the file again from where it came from.",
        )

    def _timing_notes(self) -> Iterator[Note]:
        table = self._stream.table
        if table.skipped_leading:
            yield doubt(f"{table.skipped_leading} frames before the first keyframe cannot be decoded")
        if not table.has_timestamps:
            yield Note(f"no usable timestamps; {len(table) / table.duration:g} frames per second are assumed")
        elif not 0.1 <= len(table) / table.duration <= 1000:
            yield Note(f"{len(table)} frames in {table.duration:.3g} s: its timestamps are probably wrong")

    def _file_shrunk(self) -> bool:
        """Tell whether the file has become shorter since it was opened."""
        try:
            return os.fstat(self._file.fileno()).st_size < (self.source.size_bytes or 0)
        except (OSError, ValueError):
            return False  # the video was given as bytes

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Video({self.name!r}, {self.width} x {self.height}, {self.duration:.2f} s, {self.codec})"

    def close(self) -> None:
        """Close the file and free the decoder's memory. ``completeness`` stays available."""
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
        """Sample frames of a time range of the video, in order and without duplicates.

        The result does not depend on how frames are reached. If it saves work, decoding begins at the
        keyframe before a wanted frame, and the decoded frames are checked against the timestamps of the
        packets; if that fails, everything is decoded from the start.

        Parameters
        ----------
        frames
            * a number (default 32): the frames displayed at the middle of that many equal parts of the range;
              fewer if the video has fewer frames.
            * ``"all"``: all frames whose display begins in the range.
        every
            Interval in seconds, instead of ``frames``: the frames displayed at ``start``, ``start + every``,
            ...
        start, end
            Seconds from the first frame; ``end`` is excluded. Default: the whole video.

        Returns
        -------
        Sample
            An iterator of :class:`Frame` with the attribute ``expected``, their number. ``frame.index`` is
            the zero-based position among all displayed frames of the video, ``frame.timestamp`` the time in
            seconds from the first frame.

        Raises
        ------
        InputError
            The video ends before ``start``.
        ValueError
            An argument is out of range, or the video is closed.
        """
        table = self._stream.table
        if not 0 <= start < (math.inf if end is None else end):
            raise ValueError(f"start must be 0 or more and lie before end, not {start} with end {end}")
        if start >= table.duration:
            raise InputError(
                f"it lasts {table.duration:.2f} s and has no frames from {start:g} s on",
                subject=self._subject,
                next_step="Choose an earlier start.",
            )
        end = table.duration if end is None else min(end, table.duration)
        if every is not None and frames is not None:
            raise ValueError("give either frames or every, not both")
        if every is not None:
            if not (math.isfinite(every) and every > 0):
                raise ValueError(f"every must be a number of seconds above 0, not {every}")
            ranks: Sequence[int] = table.at_interval(every, start, end).tolist()
        elif frames == "all":
            ranks = table.between(start, end)
        else:
            count = 32 if frames is None else frames
            if isinstance(count, (bool, str)) or int(count) != count or count < 1:
                raise ValueError(f'frames must be a number above 0 or "all", not {frames!r}')
            # More sampling times than this cannot select more frames.
            ranks = table.evenly_spaced(min(int(count), 4 * len(table)), start, end).tolist()
        with self._lock:
            if self._file.closed:
                raise ValueError("the video is closed")
            if self._sample is not None:
                self._sample.close()
            self._sample = Sample(self, ranks)
            return self._sample

    @property
    def completeness(self) -> Completeness:
        """Completeness of the latest sample; before the first one, what is known of the file."""
        with self._lock:
            stream, sample = self._stream, self._sample
            read = sample.read if sample else 0
            expected = sample.expected if sample else 0
            finished = sample.finished if sample else False
            damaged = len(sample.damaged) if sample else 0
            doubtful = sample.doubtful if sample else 0
            error = (sample.first_error if sample else None) or stream.missing_end
            # A sample may end before the damage that was met while the frames were listed.
            error = error or stream.index_error or stream.first_error
            corrupt = stream.corrupt_packets
            if error is None and corrupt:
                error = f"{corrupt} packets are marked as damaged"
            whole = finished and error is None and not damaged and not doubtful
            return Completeness(
                read=read,
                expected=expected,
                decoded=sample.decoded if sample else 0,
                pictures=self.frame_count,
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
    """Iterator over frames of a video, decoded on demand. Created by :meth:`Video.sample`.

    Attributes
    ----------
    expected : int
        Number of frames, unless some are damaged.
    read : int
        Number of frames yielded so far.
    finished : bool
        Whether the sample was read to its end.
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
        self._frames = self._decode()

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
        """End the sample."""
        with self._video._lock:
            self._ended = True
            self._frames.close()

    def _decode(self) -> Generator[Frame]:
        stream = self._video._stream
        stream.first_error = None
        before = stream.decoded
        try:
            for rank, picture, doubtful in decode_selected(stream, self._ranks, self.damaged):
                stream.check_size(picture.width, picture.height)
                self.decoded = stream.decoded - before
                with self._video._budget:
                    frame = self._frame(rank, picture, doubtful)
                yield frame
            self.finished = True
            if self._video._file_shrunk():
                self.first_error = "the file became shorter while it was read"
        except TimeLimitExceeded:
            self.first_error = f"decoding took longer than {self._video._budget.limit:g} s"
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
        image = video._converter.rgb(picture)
        if video._turn:
            image = turned_pixels(image, video._turn)
        return Frame(image, rank, float(seconds), source)
