"""Read animated PNG, WebP and AVIF as videos, frame by frame, with Pillow.

Animated GIFs and HEIC sequences are read by :mod:`redeepfake_nb.media.video_stream`.
"""

from __future__ import annotations

import io
from collections.abc import Container, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

from ..errors import MediaTooLarge, RedeepfakeError, TruncatedMedia, UnsupportedMedia
from .appended import nclx_coding
from .color import tone_mapping_notes
from .image_containers import DamagedContainer, png_animation, webp_durations, webp_size
from .image_decoding import REJECT_TRUNCATED, DecodeState, to_rgb, upright
from .limits import TimeBudget
from .notes import Note
from .packet_index import Keyframe, PacketIndex
from .tone_mapping import to_sdr
from .video_stream import DecodedFrame, cause

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

ANIMATED = frozenset({"PNG", "WEBP", "AVIF"})
# Browsers show frames of 10 ms or less for 100 ms, and so do the makers of such files expect.
_SHORTEST, _USUAL = 0.0101, 0.1
_MAX_FRAMES = 1_000_000


class AnimationStream:
    """The frames of an animated picture, with what :class:`redeepfake_nb.media.video_stream.Stream` offers.

    Parameters
    ----------
    data
        Content of the file.
    format
        One of ``ANIMATED``.
    subject
        Name in error messages.
    max_pixels
        Largest width x height.
    budget
        Limits the total time for decoding.

    Raises
    ------
    TruncatedMedia
        The file is damaged.
    MediaTooLarge
        A limit is exceeded.
    UnsupportedMedia
        Pillow cannot read the format.
    """

    pixel_aspect: float | None = None
    claimed_duration: float | None = None
    claimed_rate: float | None = None
    corrupt_packets = 0
    start_time = Fraction(0)

    def __init__(
        self, data: bytes, format: str, subject: object, max_pixels: int, budget: TimeBudget
    ) -> None:
        self._state = DecodeState(data, subject, format, max_pixels)
        self._budget = budget
        self._subject = subject
        self.codec = {"PNG": "apng"}.get(format, format.lower())
        self.first_error: str | None = None
        self.index_error: str | None = None
        self._converts = False
        self.missing_end: str | None = None
        self.claimed: int | None = None
        self.fed = self.decoded = 0
        with budget:
            try:
                durations = self._durations()
                if (coding := self._state.coding) is not None:
                    converted = tone_mapping_notes(coding[1], coding[0])
                    self._state.notes += converted
                    self._converts = bool(converted)
            except RedeepfakeError:
                raise
            except DamagedContainer as error:
                raise self._state.damaged(str(error)) from error
            except Exception as error:  # decoders raise nearly any type on damaged data
                raise self._state.damaged(cause(error)) from error
        if len(durations) > _MAX_FRAMES:
            raise MediaTooLarge(
                f"it has more than {_MAX_FRAMES / 1e6:g} million frames",
                subject=subject,
                next_step="Cut it into shorter videos.",
            )
        self.table = _index(durations)

    @property
    def notes(self) -> list[Note]:
        """What was assumed or ignored."""
        return self._state.notes

    def close(self) -> None:
        """Do nothing: each sample has its own decoder."""

    def check_size(self, width: int, height: int) -> None:
        """Raise MediaTooLarge if a frame has more than ``max_pixels`` pixels."""
        self._state.check_size(width, height)

    def note_error(self, text: str) -> None:
        """Record an error unless there is an earlier one."""
        self.first_error = self.first_error or text

    def _durations(self) -> list[float]:
        """Get the seconds of each frame, and check the file's structure."""
        state = self._state
        if state.format == "PNG":
            found = png_animation(state.data, state.check_size)
            state.data = found.data
            state.coding = found.coding
            state.read_exif(found.exif)
            state.read_profile(found.profile)
            self.claimed = found.claimed
            if found.claimed > len(found.durations):
                self.missing_end = (
                    f"the header claims {found.claimed} frames, the file holds {len(found.durations)}"
                )
            return found.durations
        if state.format == "WEBP":
            state.check_size(*webp_size(state.data))
            with self._open() as picture:
                state.read_exif(picture.info.get("exif"))
                state.read_profile(picture.info.get("icc_profile"))
            return webp_durations(state.data)
        durations = []
        state.coding = nclx_coding(state.data)
        with self._open() as picture:
            state.read_exif(picture.info.get("exif"))
            state.read_profile(picture.info.get("icc_profile"))
            for frame in range(picture.n_frames):  # type: ignore[attr-defined]
                self._budget.check()
                # An AVIF has its times in a structure that only decoders read.
                picture.seek(frame)
                picture.load()
                durations.append(picture.info.get("duration", 0) / 1000)
        return durations

    def _open(self) -> ImageFile:
        picture: ImageFile
        data = io.BytesIO(self._state.data)
        if self._state.format == "PNG":
            from PIL.PngImagePlugin import PngImageFile

            picture = PngImageFile(data)
        elif self._state.format == "WEBP":
            from PIL.WebPImagePlugin import WebPImageFile

            picture = WebPImageFile(data)
        else:
            from PIL.AvifImagePlugin import SUPPORTED, AvifImageFile

            if not SUPPORTED:
                raise UnsupportedMedia(
                    "this is an animated AVIF, which the installed Pillow cannot read",
                    subject=self._subject,
                    next_step="Run `pip install -U pillow` (11.3 or later).",
                )
            picture = AvifImageFile(data)
        self.check_size(*picture.size)
        return picture

    def frames(
        self, key: Keyframe | None, damaged: set[int], only: Container[int] | None = None
    ) -> Iterator[DecodedFrame]:
        """Decode all frames in order; see :meth:`redeepfake_nb.media.video_stream.Stream.frames`.

        Each frame is drawn over the one before it, so that none can be left out.
        """
        self.fed = 0
        picture = None
        try:
            for rank in range(len(self.table)):
                with self._budget, REJECT_TRUNCATED:
                    self._budget.check()
                    try:
                        picture = picture or self._open()
                        picture.seek(rank)
                        picture.load()
                        self.check_size(*picture.size)
                        pixels = self._sdr(upright(to_rgb(picture, self._state), self._state.orientation))
                    except MemoryError:
                        raise
                    except Exception as error:  # decoders raise nearly any type on damaged data
                        self._record_damage(rank, damaged, error)
                        return
                    self.decoded += 1
                    self.fed += 1
                damaged.discard(rank)
                yield DecodedFrame(rank, av.VideoFrame.from_ndarray(pixels, format="rgb24"), False)
        finally:
            if picture is not None:
                picture.close()

    def _sdr(self, pixels: np.ndarray) -> np.ndarray:
        """Convert pixels as the file states their colours; what was converted stands in the notes."""
        coding = self._state.coding
        return to_sdr(pixels, coding[1], coding[0]) if coding is not None and self._converts else pixels

    def _record_damage(self, rank: int, damaged: set[int], error: Exception) -> None:
        """Record a frame that cannot be decoded, and all later ones, which are drawn over it."""
        damaged.update(range(rank, len(self.table)))
        why = error.cause if isinstance(error, RedeepfakeError) else cause(error)
        self.note_error(f"frame {rank} at {self.table.times[rank]:.2f} s cannot be decoded ({why})")


def _index(durations: list[float]) -> PacketIndex:
    """Build the index of an animation from the seconds of its frames."""
    if not durations:
        raise TruncatedMedia(
            "there is no picture in it", next_step="Get the file again from where it came from."
        )
    seconds = np.array([s if s >= _SHORTEST else _USUAL for s in durations])
    times = np.concatenate([[0.0], np.cumsum(seconds)])
    pts = np.rint(times[:-1] * 1e6).astype(np.int64)
    start = np.zeros((1, 3), np.int64)
    return PacketIndex(pts, times[:-1], float(times[-1]), True, start, len(durations))
