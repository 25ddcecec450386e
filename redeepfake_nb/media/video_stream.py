"""One video stream of one file, demuxed and decoded by PyAV, within the limits of :mod:`guard`."""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from typing import Any, BinaryIO

import av
import numpy as np

from ..errors import InputError, MediaTooLarge, NoVideoFrames, TruncatedMedia, UnsupportedMedia
from .limits import DECODERS, DEMUXERS, ONE_TO_ONE, Clock, GuardedInput, OutOfTime, Outside, refuse
from .packet_index import KEY, NO_STAMP, SHOWN, Key, PacketTable
from .video_containers import walk_film

# Kinds of NAL units that carry parts of a picture (ITU-T H.264, table 7-1).
_SLICES = {1, 2, 3, 4, 5}


def disposable_test(codec: str, extradata: bytes | None) -> Callable[[memoryview], bool] | None:
    """How to tell whether the picture in a packet may be left out.

    In H.264 every part of a picture says in ``nal_ref_idc`` whether others are predicted from it; 0 means
    that none is (7.4.1). With most encoders' settings that holds for a third to a half of all pictures.

    Parameters
    ----------
    codec
        FFmpeg's name.
    extradata
        What the container keeps for the decoder. It says how units are told apart: by lengths in front
        (ISO/IEC 14496-15, 5.3.3) or by start codes (H.264, annex B).

    Returns
    -------
    callable or None
        Packet's bytes -> whether all of it is such pictures; ``None`` for codecs other than H.264.
    """
    if codec != "h264":
        return None
    lengths = extradata is not None and len(extradata) > 4 and extradata[0] == 1
    size = (extradata[4] & 3) + 1 if lengths else 0

    def disposable(packet: memoryview) -> bool:
        some = False
        for header in _by_length(packet, size) if lengths else _by_start_code(packet):
            if header & 0x1F in _SLICES:
                if header >> 5 & 3:
                    return False
                some = True
        return some

    return disposable


def _by_length(packet: memoryview, size: int) -> Iterator[int]:
    """First byte of each unit. A length that does not fit yields a unit that others build upon."""
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
    data = bytes(packet)
    place = data.find(b"\0\0\1")
    while 0 <= place < len(data) - 3:
        yield data[place + 3]
        place = data.find(b"\0\0\1", place + 3)


_MAX_PACKETS = 20_000_000
_MAX_STREAMS = 64
# From this size on several threads decode faster than one; beyond 4K each would hold 53 MB and more.
_THREADED_PIXELS = range(640 * 480, 4096 * 2304 + 1)
_THREADS = 4
_RETRIES = 3
_AGAIN = "Get the file again from where it came from."
_CONVERT = "Convert it to MP4 (H.264) first."


class SeekFailed(Exception):
    """Decoding cannot be shown to begin where it was meant to. Never leaves the package."""


class Stream:
    """Demuxer and decoder of the main video stream in ``file``.

    Parameters
    ----------
    file
        Open for reading and seekable; not closed here.
    format
        What :func:`redeepfake_nb.media.file_types.video_format` said.
    subject
        What errors call it.
    max_pixels
        Largest width x height.
    clock
        Limits the time for everything here.

    Raises
    ------
    NoVideoFrames
        No video stream in it.
    UnsupportedMedia, TruncatedMedia, MediaTooLarge
        A codec that is not read; damaged; over a limit.
    """

    def __init__(self, file: BinaryIO, format: str, subject: object, max_pixels: int, clock: Clock) -> None:
        self._file = file
        self._format = format
        self._subject = subject
        self._max_pixels = max_pixels
        self._clock = clock
        self._edits = True
        self._container = None
        self.notes: list[str] = []
        self.first_error: str | None = None
        self.corrupt_packets = 0
        self.fed = self.decoded = 0
        self._hurt = False
        with clock:
            self._film = walk_film(file, format)
            if self._film.elsewhere:
                raise UnsupportedMedia(
                    f"{self._film.elsewhere}, which is not read here",
                    subject=subject,
                    next_step="Save it as one self-contained MP4 first.",
                )
            self._open()
            try:
                self.claimed = self._stream.frames or None
                self.table = self._measure()
                self._without_edits_if_better()
                self.claimed_duration, self.missing_end = self._compare_claims()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Let go of FFmpeg's memory. The file stays open."""
        if self._container is not None:
            self._container.close()
            self._container = self._stream = None

    # -- opening

    def _open(self) -> None:
        self.close()
        self._file.seek(0)
        options = {
            "max_streams": str(_MAX_STREAMS),
            "codec_whitelist": ",".join(sorted(DECODERS)),
        }
        if not self._edits:
            options["ignore_editlist"] = "1"
        try:
            self._input = GuardedInput(self._file, self._clock)
            self._container = av.open(
                self._input,
                format=DEMUXERS[self._format],
                options=options,
                metadata_errors="replace",
                buffer_size=2**18,
                io_open=refuse,
            )
            self._stream = self._choose()
        except Outside as error:
            raise UnsupportedMedia(str(error), subject=self._subject, next_step=_CONVERT) from error
        except OutOfTime:
            raise
        except (av.FFmpegError, ValueError, UnicodeError) as error:
            raise self._not_opened(error) from error
        except BaseException:
            self.close()
            raise

    def _not_opened(self, error: Exception) -> InputError:
        number = getattr(error, "errno", None)
        if number == errno.ENOMEM:
            return MediaTooLarge(
                "it asks for more memory or more streams than are allowed",
                subject=self._subject,
                next_step=_CONVERT,
            )
        why, step = self._film.cut or cause(error), _AGAIN
        if not self._film.index:
            why = (
                "its index, the box moov, is missing: the recording or the download broke off before its end"
            )
            step = "Copy or download it again. The camera can often repair a recording that broke off."
        elif not self._film.cut and number is not None and 0 < number < 200:
            why = "its header cannot be used"
        elif self._format == "MP4" and not self._film.cut and "invalid data" in why:
            why = "its index cannot be read"
        return TruncatedMedia(
            f"it begins like {self._format} but is damaged or breaks off ({why})",
            subject=self._subject,
            next_step=step,
        )

    def _choose(self) -> Any:
        """The video stream to read; its decoder is set up but not opened."""
        covers = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
        videos = [s for s in self._container.streams.video if not s.disposition & covers]
        if not videos:
            sounds = len(self._container.streams.audio)
            what = "only sound" if sounds else "neither pictures nor sound that can be read"
            raise NoVideoFrames(
                f"there is no video in it, {what}", subject=self._subject, next_step="Choose a video file."
            )
        default = av.stream.Disposition.default
        stream = max(videos, key=lambda s: (bool(s.disposition & default), _area(s)))
        if len(videos) > 1 and not self.notes:
            self.notes.append(f"one of {len(videos)} video streams in the file")
        context = stream.codec_context
        if context is None or context.name not in DECODERS:
            name = "unknown" if context is None else context.name
            raise UnsupportedMedia(
                f"its codec ({name}) is not read here", subject=self._subject, next_step=_CONVERT
            )
        self.check_size(context.width, context.height)
        for other in self._container.streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        threaded = context.width * context.height in _THREADED_PIXELS
        context.thread_type = "AUTO" if threaded else "SLICE"
        context.thread_count = min(_THREADS, _cpus()) if threaded else 1
        # The decoder's own limit counts padding too; it stops streams that grow later on.
        context.options = {"max_pixels": str(2 * self._max_pixels + 2**20)}
        return stream

    def check_size(self, width: int, height: int) -> None:
        """Refuse pictures over the limit.

        Raises
        ------
        MediaTooLarge
            More pixels than ``max_pixels``.
        """
        if width * height > self._max_pixels:
            raise MediaTooLarge(
                f"its pictures have {width} x {height} pixels, {width * height / 1e6:.0f} million; "
                f"the limit is {self._max_pixels / 1e6:.1f} million",
                subject=self._subject,
                next_step="Make it smaller first, or raise max_pixels if you trust it.",
            )

    # -- what the file says of itself, and what is there

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec, such as ``"h264"``."""
        return self._stream.codec_context.codec.canonical_name

    @property
    def first_time(self) -> Fraction:
        """Seconds of the first picture on the file's own clock; 0 without usable stamps."""
        if not self.table.trusted or not len(self.table):
            return Fraction(0)
        return int(self.table.stamps[0]) * Fraction(self._stream.time_base)

    @property
    def claimed_rate(self) -> float | None:
        """Pictures per second as the header says; may be anything."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate else None

    @property
    def pixel_aspect(self) -> float | None:
        """Width of a pixel divided by its height; ``None`` where not said."""
        ratio = self._stream.codec_context.sample_aspect_ratio
        return float(ratio) if ratio else None

    def _measure(self) -> PacketTable:
        stamps, decode_stamps, flags = array("q"), array("q"), bytearray()
        vp8 = self._stream.codec_context.name in ("vp8", "libvpx")
        last = 0, 0
        self.corrupt_packets = 0
        for packet in self._packets():
            pts = NO_STAMP if packet.pts is None else packet.pts
            stamps.append(pts)
            decode_stamps.append(NO_STAMP if packet.dts is None else packet.dts)
            # VP8 says in its first byte whether a picture is shown or only built upon.
            hidden = packet.is_discard or (vp8 and not bytes(packet)[0] >> 4 & 1)
            flags.append((0 if hidden else SHOWN) | (KEY if packet.is_keyframe else 0))
            self.corrupt_packets += packet.is_corrupt
            if not hidden and pts >= last[0]:
                last = pts, packet.duration or 0
            if len(flags) % 256 == 0:
                self._clock.check()
            if len(flags) > _MAX_PACKETS:
                raise MediaTooLarge(
                    f"it has more than {_MAX_PACKETS / 1e6:g} million pictures",
                    subject=self._subject,
                    next_step="Cut it into shorter videos.",
                )
        rate = self.claimed_rate
        return PacketTable.of(
            np.frombuffer(stamps, np.int64),
            np.frombuffer(decode_stamps, np.int64),
            np.frombuffer(flags, np.uint8),
            unit=float(self._stream.time_base),
            rate=rate if rate and 0.5 <= rate <= 1000 else 25.0,
            last=last[1],
        )

    def _without_edits_if_better(self) -> None:
        """Ignore a cutting list that leaves next to nothing: it was made for other time stamps.

        It is also ignored to find out whether pictures are missing or were cut away on purpose.
        """
        found, table = self.table.packets, self.table
        hides_most = (found > 2 and len(table) * 2 < found) or (found <= 2 and (self.claimed or 0) > 10)
        short = self.claimed is not None and self._format == "MP4" and found < self.claimed
        if not hides_most and not short:
            return
        corrupt, error = self.corrupt_packets, self.first_error
        self._edits = False
        self._open()
        self.table = self._measure()
        if hides_most and len(self.table) > len(table):
            self.notes.append("the file's cutting list would leave next to nothing and is ignored")
            return
        if self.table.packets == self.claimed:
            self.notes.append(f"its cutting list hides {self.claimed - found} of its {self.claimed} pictures")
            self.claimed = found
        self._edits = True
        self.table, self.corrupt_packets, self.first_error = table, corrupt, error
        self._open()

    def _compare_claims(self) -> tuple[float | None, str | None]:
        """(duration in the header, what of it is missing)."""
        stream, container, table = self._stream, self._container, self.table
        duration = None
        if stream.duration and stream.duration > 0:
            duration = float(stream.duration * stream.time_base)
        elif container.duration and container.duration > 0 and len(container.streams) == 1:
            duration = container.duration / av.time_base
        if duration and table.times.size and table.times[-1] < duration < table.duration:
            # How long the last picture is shown is the one thing that the header knows better.
            self.table = table = replace(table, duration=duration)
        if self.claimed is not None and table.packets < self.claimed:
            return duration, f"the header claims {self.claimed} pictures, the file holds {table.packets}"
        known = self.claimed is not None and self._format == "MP4"
        if not known and duration and duration - table.duration > max(1.0, 0.05 * duration):
            said = f"the header claims {duration:.4g} s, the file holds {table.duration:.4g} s"
            return duration, said
        return duration, self._film.cut or None

    # -- packets and pictures

    def _packets(self) -> Iterator[Any]:
        """The stream's packets from here on. A damaged place is noted and passed where the demuxer can."""
        failures = 0
        while failures < _RETRIES:
            try:
                for packet in self._container.demux(self._stream):
                    if packet.size:  # empty ones mean "as before" or, to a decoder, "the end"
                        failures = 0
                        yield packet
                return
            except IndexError:
                # PyAV, behind the last packet of a file in which further streams turned up.
                if not self._input.ended:
                    self.note_error("the file is damaged (a stream turned up that was not announced)")
                return
            except av.FFmpegError as error:
                failures += 1
                self.note_error(f"the file is damaged ({cause(error)})")

    def note_error(self, text: str) -> None:
        """Keep the first thing that went wrong."""
        if self.first_error is None:
            self.first_error = text

    def pictures(
        self, key: Key | None, damaged: set[int], only: Container[int] | None = None
    ) -> Iterator[tuple[int, av.VideoFrame, bool]]:
        """(rank, picture, whether it builds upon damaged ones) of what can be decoded, in order.

        Parameters
        ----------
        key
            Where to begin; ``None`` for the start of the file.
        damaged
            Ranks of pictures that cannot be decoded are added, those that can are taken out.
        only
            Ranks that are wanted. Of the others those that no picture builds upon may be left out.

        Raises
        ------
        SeekFailed
            Decoding did not begin with the picture ``key``.
        OutOfTime
            The clock stopped it.
        """
        with self._clock:
            packets = self._from_start() if key is None else self._from_key(key)
        table = self.table
        self._hurt = False
        rank = -1 if key is None else int(np.searchsorted(table.stamps, key.stamp)) - 1
        counts = table.trusted and self._stream.codec_context.name in ONE_TO_ONE
        begun, doubtful = key is None, False
        skip, skipped = self._skipper(only), set()
        while True:
            with self._clock:
                self._clock.check()
                packet = next(packets, None)
                if packet is not None and begun and (passed := skip(packet)) is not None:
                    self.fed += 1
                    skipped.add(passed)
                    continue
                decoded = self._decode(packet, key, rank, damaged)
            self.decoded += len(decoded)
            for picture in decoded:
                if key is not None and (picture.pts is None or picture.pts < key.stamp):
                    continue  # builds upon pictures before the key; complete only if decoded from earlier on
                if not begun:
                    if picture.pts != key.stamp or picture.is_corrupt or picture.pict_type != 1:
                        raise SeekFailed
                    begun = True
                found = table.rank(picture.pts, rank) if table.trusted else rank + 1
                if found is None or found <= rank:
                    continue
                if counts and not picture.interlaced_frame:
                    self._missing(range(rank + 1, found), damaged, skipped)
                rank = found
                if picture.is_corrupt:
                    self._missing(range(rank, rank + 1), damaged)
                    continue
                damaged.discard(rank)
                doubtful = not picture.key_frame and (doubtful or self._hurt)
                self._hurt = False
                yield rank, picture, doubtful
            if packet is None:
                break
        if counts:
            self._missing(range(rank + 1, len(table)), damaged, skipped)

    def _skipper(self, only: Container[int] | None) -> Callable[[Any], int | None]:
        """Packet -> the rank of its picture if it need not be decoded."""
        context = self._stream.codec_context
        disposable = disposable_test(context.name, context.extradata)
        stamps = self.table.stamps
        # Where two pictures bear one stamp, a packet does not say which of them it holds.
        told_apart = self.table.trusted and bool(np.all(stamps[1:] > stamps[:-1]))
        if only is None or disposable is None or not told_apart:
            return lambda packet: None

        def rank_to_skip(packet: Any) -> int | None:
            rank = self.table.rank(packet.pts, -1)
            return rank if rank is not None and rank not in only and disposable(memoryview(packet)) else None

        return rank_to_skip

    def _decode(self, packet: Any, key: Key | None, rank: int, damaged: set[int]) -> list[av.VideoFrame]:
        if packet is not None:
            self.fed += 1
        try:
            return self._stream.codec_context.decode(packet)
        except av.error.EOFError:
            return []
        except (av.FFmpegError, ValueError) as error:
            # Pictures that build upon some before the key are no damage.
            if key is None or packet is None or packet.pts is None or packet.pts >= key.stamp:
                place = rank + 1
                if self.table.trusted and packet is not None:
                    known = self.table.rank(packet.pts, -1)
                    place = rank + 1 if known is None else known
                self._missing(range(place, place + 1), damaged, why=cause(error))
            return []

    def _missing(
        self,
        expected: range,
        damaged: set[int],
        skipped: Container[int] = (),
        why: str = "its data are damaged",
    ) -> None:
        ranks = [rank for rank in expected if rank not in skipped]
        if ranks:
            self._hurt = True
            damaged.update(ranks)
            times = self.table.times
            at = f" at {times[ranks[0]]:.2f} s" if ranks[0] < len(times) else ""
            self.note_error(f"picture {ranks[0]}{at} cannot be decoded ({why})")

    def _from_start(self) -> Iterator[Any]:
        # Opened anew rather than sought: the start is the one place that needs no proof.
        self._open()
        self.fed = 0
        return self._packets()

    def _from_key(self, key: Key) -> Iterator[Any]:
        """Packets from exactly ``key`` on, whatever the demuxer's idea of seeking is."""
        for stamp in (key.dts, key.stamp):
            if stamp == NO_STAMP:
                continue
            try:
                self._container.seek(stamp, stream=self._stream)
            except av.FFmpegError:
                continue
            packets = self._packets()
            for packet in packets:
                self._clock.check()
                if packet.is_keyframe and packet.pts == key.stamp:
                    self.fed = key.place
                    return chain((packet,), packets)
                if packet.is_keyframe and (packet.pts is None or packet.pts > key.stamp):
                    break
        raise SeekFailed


def cause(error: BaseException) -> str:
    """FFmpeg's own words in one line, without names of files."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:160].rstrip(".").lower()


def _area(stream: Any) -> int:
    context = stream.codec_context
    return context.width * context.height if context is not None else 0


def _cpus() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
