"""Demux and decode one video stream with PyAV, within the limits of :mod:`redeepfake_nb.media.limits`."""

from __future__ import annotations

import errno
from array import array
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

import av
import numpy as np
from av.container import InputContainer

from ..errors import InputError, MediaTooLarge, NoVideoFrames, TruncatedMedia, UnsupportedMedia
from ..utils.threads import cores
from .limits import (
    DECODERS,
    DEMUXERS,
    ONE_FRAME_PER_PACKET,
    ExternalReference,
    TimeBudget,
    TimeLimitedInput,
    TimeLimitExceeded,
    refuse_external_file,
)
from .notes import Note, doubt, unseen
from .packet_index import DISPLAYED, KEYFRAME, NO_PTS, Keyframe, PacketIndex
from .video_containers import inspect_container

# NAL unit types that contain slices of a picture (ITU-T H.264, table 7-1).
_SLICES = {1, 2, 3, 4, 5}


def non_reference_frame_test(codec: str, extradata: bytes | None) -> Callable[[memoryview], bool] | None:
    """Create a test for packets whose frame no other frame is predicted from, so that it need not be decoded.

    In H.264 ``nal_ref_idc`` of each slice tells whether other frames are predicted from it; 0 means none
    (7.4.1). With the settings of most encoders that holds for a third to a half of all frames.

    Parameters
    ----------
    codec
        FFmpeg's name of the codec.
    extradata
        Decoder configuration from the container. It tells how NAL units are separated: by length prefixes
        (ISO/IEC 14496-15, 5.3.3) or by start codes (H.264, annex B).

    Returns
    -------
    callable or None
        Takes a packet's bytes and returns whether all its slices belong to non-reference frames; ``None`` for
        codecs other than H.264.
    """
    if codec != "h264":
        return None
    # The size of the length prefix in bytes; 0 for start codes.
    size = (extradata[4] & 3) + 1 if extradata and len(extradata) > 4 and extradata[0] == 1 else 0

    def is_non_reference_frame(packet: memoryview) -> bool:
        has_slices = False
        for header in _by_length(packet, size) if size else _by_start_code(packet):
            if header & 0x1F in _SLICES:
                if header >> 5 & 3:
                    return False
                has_slices = True
        return has_slices

    return is_non_reference_frame


def _by_length(packet: memoryview, size: int) -> Iterator[int]:
    """Yield the first byte of each NAL unit; a wrong length yields that of a reference slice."""
    place = 0
    while place + size < len(packet):
        length = int.from_bytes(packet[place : place + size], "big")
        place += size
        if not 0 < length <= len(packet) - place:
            yield 0x65
            return
        yield packet[place]
        place += length


def _by_start_code(packet: memoryview) -> Iterator[int]:
    """Yield the first byte of each NAL unit."""
    data = bytes(packet)
    place = data.find(b"\0\0\1")
    while 0 <= place < len(data) - 3:
        yield data[place + 3]
        place = data.find(b"\0\0\1", place + 3)


_MAX_PACKETS = 20_000_000
_MAX_STREAMS = 64
# From this size on several threads decode faster than one; beyond 4K each would take 53 MB and more.
_THREADED_PIXELS = range(640 * 480, 4096 * 2304 + 1)
_THREADS = 4
_RETRIES = 3
_AGAIN = "Get the file again from where it came from."
_CONVERT = "Convert it to MP4 (H.264) first."


class SeekFailed(Exception):
    """Decoding did not provably begin at the requested keyframe. Never leaves the package."""


class DecodedFrame(NamedTuple):
    """A decoded frame, its rank in display order, and whether it is predicted from damaged frames."""

    rank: int
    picture: av.VideoFrame
    doubtful: bool


class Stream:
    """Demuxer and decoder of the main video stream of a file.

    Parameters
    ----------
    file
        Seekable and open for reading; the stream does not close it.
    format
        Result of :func:`redeepfake_nb.media.file_types.video_format`.
    subject
        Name in error messages.
    max_pixels
        Largest width x height.
    budget
        Limits the total time for demuxing and decoding.
    number
        Which of several video streams to read, from 1; see :func:`redeepfake_nb.media.video.open_video`.

    Attributes
    ----------
    table : PacketIndex
        Index of the frames.
    claimed : int or None
        Number of frames according to the header.
    claimed_duration : float or None
        Duration in seconds according to the header.
    missing_end : str or None
        What the header claims and the file lacks, as a clause.
    notes : list of Note
        What was assumed, ignored or not looked at while opening.
    first_error : str or None
        The first error since this was last reset.
    corrupt_packets : int
        Number of packets that the demuxer flags as corrupt.
    fed, decoded : int
        Position of the next packet, and number of frames decoded so far.

    Raises
    ------
    NoVideoFrames
        The file has no video stream.
    InputError
        The file has fewer video streams than ``number``.
    UnsupportedMedia
        The codec is not supported, or data lie in another file.
    TruncatedMedia
        The file is damaged.
    MediaTooLarge
        A limit is exceeded.
    """

    def __init__(
        self,
        file: BinaryIO,
        format: str,
        subject: object,
        max_pixels: int,
        budget: TimeBudget,
        number: int | None = None,
    ) -> None:
        self._file = file
        self._format = format
        self._subject = subject
        self._max_pixels = max_pixels
        self._budget = budget
        self._number = number
        self._index: int | None = None  # of the chosen stream among all in the file
        self._use_edit_list = True
        self._container: InputContainer
        self._stream: av.VideoStream
        self.notes: list[Note] = []
        self.first_error: str | None = None
        self.index_error: str | None = None
        self.corrupt_packets = 0
        self.fed = self.decoded = 0
        self._after_damage = False
        with budget:
            self._findings = inspect_container(file, format)
            if self._findings.external_data:
                raise UnsupportedMedia(
                    f"{self._findings.external_data}, which is not supported",
                    subject=subject,
                    next_step="Save it as one self-contained MP4 first.",
                )
            self._open()
            try:
                self.claimed = self._stream.frames or None
                self.table = self._index_packets()
                self._ignore_bad_edit_list()
                self.index_error = self.first_error
                self.claimed_duration, self.missing_end = self._compare_claims()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Free FFmpeg's memory. The file stays open."""
        container: InputContainer | None = vars(self).pop("_container", None)
        if container is not None:
            container.close()
        vars(self).pop("_stream", None)  # it holds the decoder's memory

    # -- opening

    def _open(self) -> None:
        self.close()
        self._file.seek(0)
        options = {
            "max_streams": str(_MAX_STREAMS),
            "codec_whitelist": ",".join(sorted(DECODERS)),
        }
        if not self._use_edit_list:
            options["ignore_editlist"] = "1"
        try:
            self._container = self._open_container(options)
            if self._index is None:
                self._index, has_moved = self._choose_stream(self._container)
                if has_moved:
                    self._container.close()
                    self._container = self._open_container(options)
            self._stream = self._select_stream(self._container, self._index)
        except ExternalReference as error:
            raise UnsupportedMedia(str(error), subject=self._subject, next_step=_CONVERT) from error
        except TimeLimitExceeded:
            raise
        except (av.FFmpegError, ValueError, UnicodeError) as error:
            raise self._open_error(error) from error
        except BaseException:
            self.close()
            raise

    def _open_container(self, options: dict[str, str]) -> InputContainer:
        self._file.seek(0)
        self._input = TimeLimitedInput(self._file, self._budget)
        return av.open(
            self._input,
            "r",
            format=DEMUXERS[self._format],
            options=options,
            metadata_errors="replace",
            buffer_size=2**18,
            io_open=refuse_external_file,
        )

    def _open_error(self, error: Exception) -> InputError:
        number = getattr(error, "errno", None)
        if number == errno.ENOMEM:
            return MediaTooLarge(
                "it asks for more memory or more streams than are allowed",
                subject=self._subject,
                next_step=_CONVERT,
            )
        why, step = self._findings.truncation or cause(error), _AGAIN
        if not self._findings.has_index:
            why = "its index, the box moov, is missing: the recording or the download ended too early"
            step = "Copy or download it again. The camera can often repair an interrupted recording."
        elif not self._findings.truncation and number is not None and 0 < number < 200:
            why = "its header cannot be used"
        elif self._format == "MP4" and not self._findings.truncation and "invalid data" in why:
            why = "its index cannot be read"
        return TruncatedMedia(
            f"it begins like {self._format} but is damaged or truncated ({why})",
            subject=self._subject,
            next_step=step,
        )

    def _choose_stream(self, container: InputContainer) -> tuple[int, bool]:
        """Choose the video stream to read, and note what is not looked at.

        Returns its index in the file, and whether packets were read from the container.
        """
        covers = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
        videos = [s for s in container.streams.video if not s.disposition & covers]
        if not videos:
            sounds = len(container.streams.audio)
            what = "only sound" if sounds else "neither video nor sound that can be read"
            raise NoVideoFrames(
                f"there is no video in it, {what}", subject=self._subject, next_step="Choose a video file."
            )
        has_several = len(videos) > 1
        if has_several:
            videos = self._without_single_frames(container, videos)
        if pictures := len(container.streams.video) - len(videos):
            self.notes.append(Note(f"cover pictures in the file, not looked at: {pictures}"))
        if self._number is not None and self._number > len(videos):
            raise InputError(
                f"there is no video stream {self._number} in it, the last is {len(videos)}",
                subject=self._subject,
                next_step="Choose a smaller number.",
            )
        default = av.stream.Disposition.default
        best = max(videos, key=lambda s: (bool(s.disposition & default), _area(s)))
        chosen = best if self._number is None else videos[self._number - 1]
        if len(videos) > 1:
            which = f"video stream {videos.index(chosen) + 1} of {len(videos)} looked at"
            if self._number is None:
                self.notes.append(unseen(f"only {which}; choose another with stream="))
            else:
                self.notes.append(doubt(f"only {which}, as chosen"))
        return chosen.index, has_several

    def _without_single_frames(
        self, container: InputContainer, videos: list[av.VideoStream]
    ) -> list[av.VideoStream]:
        """Leave out streams of one frame, which are pictures such as covers, unless all are."""
        frames = dict.fromkeys((stream.index for stream in videos), 0)
        try:
            for packet in container.demux(videos):
                frames[packet.stream.index] += bool(packet.size)
                if min(frames.values()) > 1:
                    break
        except (av.FFmpegError, IndexError, KeyError):
            pass  # reading the chosen stream reports the damage
        return [stream for stream in videos if frames[stream.index] > 1] or videos

    def _select_stream(self, container: InputContainer, index: int) -> av.VideoStream:
        """Configure the decoder of the chosen video stream without opening it."""
        stream = next((s for s in container.streams.video if s.index == index), None)
        if stream is None:
            raise ValueError("its streams change from one reading to the next")
        context = stream.codec_context
        if context is None or context.name not in DECODERS:
            name = "unknown" if context is None else context.name
            raise UnsupportedMedia(
                f"its codec ({name}) is not supported", subject=self._subject, next_step=_CONVERT
            )
        self.check_size(context.width, context.height)
        for other in container.streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        threaded = context.width * context.height in _THREADED_PIXELS
        context.thread_type = "AUTO" if threaded else "SLICE"
        context.thread_count = min(_THREADS, cores()) if threaded else 1
        # The decoder's own limit includes padding; it stops streams whose frames become larger later on.
        context.options = {"max_pixels": str(2 * self._max_pixels + 2**20)}
        return stream

    def check_size(self, width: int, height: int) -> None:
        """Check the size of a frame.

        Raises
        ------
        MediaTooLarge
            The frame has more than ``max_pixels`` pixels.
        """
        if width * height > self._max_pixels:
            raise MediaTooLarge(
                f"its frames have {width} x {height} pixels, {width * height / 1e6:.0f} million; "
                f"the limit is {self._max_pixels / 1e6:.1f} million",
                subject=self._subject,
                next_step="Make it smaller first, or raise max_pixels if you trust it.",
            )

    # -- header and index

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec, such as ``"h264"``."""
        return self._stream.codec_context.codec.canonical_name

    @property
    def start_time(self) -> Fraction:
        """Presentation time of the first frame in seconds; 0 without usable timestamps."""
        if not self.table.has_timestamps or not len(self.table):
            return Fraction(0)
        return int(self.table.pts[0]) * self._time_base

    @property
    def _time_base(self) -> Fraction:
        """Seconds per unit of the timestamps."""
        return Fraction(self._stream.time_base or 1)

    @property
    def claimed_rate(self) -> float | None:
        """Frames per second according to the header; may be any number."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate else None

    @property
    def pixel_aspect(self) -> float | None:
        """Width of a pixel divided by its height; ``None`` if unknown."""
        ratio = self._stream.sample_aspect_ratio or self._stream.codec_context.sample_aspect_ratio
        return float(ratio) if ratio else None

    def _index_packets(self) -> PacketIndex:
        """Demux all packets and build the index of frames."""
        all_pts, all_dts, flags = array("q"), array("q"), bytearray()
        vp8 = self._stream.codec_context.name in ("vp8", "libvpx")
        last = 0, 0
        self.corrupt_packets = 0
        for packet in self._packets():
            pts = NO_PTS if packet.pts is None else packet.pts
            all_pts.append(pts)
            all_dts.append(NO_PTS if packet.dts is None else packet.dts)
            # The first byte of a VP8 frame tells whether it is displayed or used for prediction only.
            hidden = packet.is_discard or (vp8 and not bytes(packet)[0] >> 4 & 1)
            flags.append((0 if hidden else DISPLAYED) | (KEYFRAME if packet.is_keyframe else 0))
            self.corrupt_packets += packet.is_corrupt
            if not hidden and pts >= last[0]:
                last = pts, packet.duration or 0
            if len(flags) % 256 == 0:
                self._budget.check()
            if len(flags) > _MAX_PACKETS:
                raise MediaTooLarge(
                    f"it has more than {_MAX_PACKETS / 1e6:g} million frames",
                    subject=self._subject,
                    next_step="Cut it into shorter videos.",
                )
        rate = self.claimed_rate
        return PacketIndex.from_packets(
            np.frombuffer(all_pts, np.int64),
            np.frombuffer(all_dts, np.int64),
            np.frombuffer(flags, np.uint8),
            unit=float(self._time_base),
            rate=rate if rate and 0.5 <= rate <= 1000 else 25.0,
            last=last[1],
        )

    def _ignore_bad_edit_list(self) -> None:
        """Ignore an edit list that hides most frames, which happens if it was made for other timestamps.

        Without the edit list it also turns out whether frames are missing or were hidden on purpose.
        """
        found, table = self.table.packets, self.table
        hides_most = (found > 2 and len(table) * 2 < found) or (found <= 2 and (self.claimed or 0) > 10)
        short = self.claimed is not None and self._format == "MP4" and found < self.claimed
        if not hides_most and not short:
            return
        corrupt, error = self.corrupt_packets, self.first_error
        self._use_edit_list = False
        self._open()
        self.table = self._index_packets()
        if hides_most and len(self.table) > len(table):
            self.notes.append(doubt("the file's edit list would hide nearly all frames and is ignored"))
            return
        if self.table.packets == self.claimed:
            self.notes.append(
                doubt(f"its edit list hides {self.claimed - found} of its {self.claimed} frames")
            )
            self.claimed = found
        self._use_edit_list = True
        self.table, self.corrupt_packets, self.first_error = table, corrupt, error
        self._open()

    def _compare_claims(self) -> tuple[float | None, str | None]:
        """Compare header and index; returns the header's duration and what of it is missing, as a clause."""
        stream, container, table = self._stream, self._container, self.table
        duration = None
        if stream.duration and stream.duration > 0:
            duration = float(stream.duration * self._time_base)
        elif container.duration and container.duration > 0 and len(container.streams) == 1:
            duration = container.duration / av.time_base
        if duration and table.times.size and table.times[-1] < duration < table.duration:
            # Only the display time of the last frame is more reliable in the header.
            self.table = table = replace(table, duration=duration)
        if self.claimed is not None and table.packets < self.claimed:
            return duration, f"the header claims {self.claimed} frames, the file holds {table.packets}"
        known = self.claimed is not None and self._format == "MP4"
        if not known and duration and duration - table.duration > max(1.0, 0.05 * duration):
            return duration, f"the header claims {duration:.4g} s, the file holds {table.duration:.4g} s"
        return duration, self._findings.truncation or None

    # -- packets and frames

    def _packets(self) -> Iterator[Any]:
        """Yield the stream's packets from the current position; record damage and skip it if possible."""
        failures = 0
        while failures < _RETRIES:
            try:
                for packet in self._container.demux(self._stream):
                    if packet.size:  # an empty one means "unchanged" or, to a decoder, "end of stream"
                        failures = 0
                        yield packet
                return
            except IndexError:
                # Raised by PyAV after the last packet of a file in which further streams appeared, of which
                # it gives no packet.
                late = unseen("a further stream, of pictures or sound, begins later and was not looked at")
                if late not in self.notes:
                    self.notes.append(late)
                if not self._input.ended:
                    self.note_error("the file is damaged (a stream appeared that was not announced)")
                return
            except av.FFmpegError as error:
                failures += 1
                self.note_error(f"the file is damaged ({cause(error)})")

    def note_error(self, text: str) -> None:
        """Record an error unless there is an earlier one."""
        if self.first_error is None:
            self.first_error = text

    def frames(
        self, key: Keyframe | None, damaged: set[int], only: Container[int] | None = None
    ) -> Iterator[DecodedFrame]:
        """Decode frames in display order.

        Parameters
        ----------
        key
            Keyframe to begin at; ``None`` for the start of the file.
        damaged
            The ranks of frames that cannot be decoded are added to this set, those of decoded frames removed.
        only
            Wanted ranks. Of all other frames, those that no frame is predicted from may be left out.

        Raises
        ------
        SeekFailed
            Decoding did not begin at the keyframe ``key``.
        TimeLimitExceeded
            The time budget is spent.
        """
        with self._budget:
            packets = self._from_start() if key is None else self._from_keyframe(key)
        table = self.table
        self._after_damage = False
        rank = -1 if key is None else int(np.searchsorted(table.pts, key.pts)) - 1
        counts = table.has_timestamps and self._stream.codec_context.name in ONE_FRAME_PER_PACKET
        begun, doubtful = key is None, False
        rank_to_skip = self._skip_rule(only)
        skipped: set[int] = set()
        while True:
            with self._budget:
                self._budget.check()
                packet = next(packets, None)
                if packet is not None and begun and (unneeded := rank_to_skip(packet)) is not None:
                    self.fed += 1
                    skipped.add(unneeded)
                    continue
                decoded = self._decode(packet, key, rank, damaged)
            self.decoded += len(decoded)
            for picture in decoded:
                if key is not None and (picture.pts is None or picture.pts < key.pts):
                    continue  # predicted from frames before the keyframe, which were not decoded
                if key is not None and not begun:
                    if picture.pts != key.pts or picture.is_corrupt or picture.pict_type != 1:
                        raise SeekFailed
                    begun = True
                found = table.rank(picture.pts, rank) if table.has_timestamps else rank + 1
                if found is None or found <= rank:
                    continue
                if counts and not picture.interlaced_frame:
                    self._record_damage(range(rank + 1, found), damaged, skipped)
                rank = found
                if picture.is_corrupt:
                    self._record_damage(range(rank, rank + 1), damaged)
                    continue
                damaged.discard(rank)
                doubtful = not picture.key_frame and (doubtful or self._after_damage)
                self._after_damage = False
                yield DecodedFrame(rank, picture, doubtful)
            if packet is None:
                break
        if counts:
            self._record_damage(range(rank + 1, len(table)), damaged, skipped)

    def _skip_rule(self, only: Container[int] | None) -> Callable[[Any], int | None]:
        """Create a function that returns the rank of a packet's frame if it can be skipped, else ``None``."""
        context = self._stream.codec_context
        is_non_reference_frame = non_reference_frame_test(context.name, context.extradata)
        pts = self.table.pts
        # If two frames have the same timestamp, a packet does not tell which of them it contains.
        unique = self.table.has_timestamps and bool(np.all(pts[1:] > pts[:-1]))
        if only is None or is_non_reference_frame is None or not unique:
            return lambda packet: None

        def rank_to_skip(packet: Any) -> int | None:
            rank = self.table.rank(packet.pts, -1)
            if rank is None or rank in only or not is_non_reference_frame(memoryview(packet)):
                return None
            return rank

        return rank_to_skip

    def _decode(self, packet: Any, key: Keyframe | None, rank: int, damaged: set[int]) -> list[av.VideoFrame]:
        if packet is not None:
            self.fed += 1
        try:
            return self._stream.codec_context.decode(packet)
        except av.error.EOFError:
            return []
        except (av.FFmpegError, ValueError) as error:
            # Frames that are predicted from frames before the keyframe are not damaged.
            if key is None or packet is None or packet.pts is None or packet.pts >= key.pts:
                lost = rank + 1
                if self.table.has_timestamps and packet is not None:
                    known = self.table.rank(packet.pts, -1)
                    lost = lost if known is None else known
                self._record_damage(range(lost, lost + 1), damaged, why=cause(error))
            return []

    def _record_damage(
        self,
        expected: range,
        damaged: set[int],
        skipped: Container[int] = (),
        why: str = "its data are damaged",
    ) -> None:
        ranks = [rank for rank in expected if rank not in skipped]
        if ranks:
            self._after_damage = True
            damaged.update(ranks)
            times = self.table.times
            at = f" at {times[ranks[0]]:.2f} s" if ranks[0] < len(times) else ""
            self.note_error(f"frame {ranks[0]}{at} cannot be decoded ({why})")

    def _from_start(self) -> Iterator[Any]:
        # Reopened instead of seeking, so that reading certainly begins at the start.
        self._open()
        self.fed = 0
        return self._packets()

    def _from_keyframe(self, key: Keyframe) -> Iterator[Any]:
        """Get the packets from exactly ``key`` on, wherever the demuxer's seek ends up."""
        for timestamp in (key.dts, key.pts):
            if timestamp == NO_PTS:
                continue
            try:
                self._container.seek(timestamp, stream=self._stream)
            except av.FFmpegError:
                continue
            packets = self._packets()
            for packet in packets:
                self._budget.check()
                if packet.is_keyframe and packet.pts == key.pts:
                    self.fed = key.position
                    return chain((packet,), packets)
                if packet.is_keyframe and (packet.pts is None or packet.pts > key.pts):
                    break
        raise SeekFailed


def cause(error: BaseException) -> str:
    """Get FFmpeg's message in one line, without file names."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:160].rstrip(".").lower()


def _area(stream: Any) -> int:
    context = stream.codec_context
    return context.width * context.height if context is not None else 0
