"""The video again, with boxes, persons and scores drawn in: an MP4 that browsers play, with its sound."""

from __future__ import annotations

import bisect
import contextlib
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from ..analysis.video_report import Sighting, VideoReport
from ..errors import OutputError
from ..media.limits import DEMUXERS, TimeBudget, TimeLimitedInput, refuse_external_file
from ..media.video import TIME_LIMIT, open_input, open_video
from ..utils.jobs import Progress
from ..utils.writing import atomic_file

# RGB of Okabe and Ito, as in the plots; fake boxes are drawn twice as thick, so that colour is not alone.
_COLORS = {"fake": (213, 94, 0), "real": (0, 114, 178)}
_CLOCK = 90_000  # ticks per second, the usual one of MP4
# What an MP4 may hold that browsers play is copied as it is; what else is decoded here becomes AAC.
_COPIED = {"aac", "mp3", "mp3float", "opus", "libopus"}
_DECODED = {
    "ac3", "alac", "amrnb", "amrwb", "eac3", "flac", "mp2", "mp2float", "mp1", "mp1float",
    "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s32le", "pcm_u8", "pcm_f32le", "pcm_alaw", "pcm_mulaw",
    "vorbis", "libvorbis", "wmav1", "wmav2", "adpcm_ima_wav", "adpcm_ms",
}  # fmt: skip


def annotate_video(
    report: VideoReport,
    out: str | os.PathLike,
    *,
    source: Any = None,
    progress: Progress | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Path:
    """Write a video with a box, a person's name and P(fake) at every face.

    Between the frames that were looked at, boxes and scores follow a straight line; where a face was not seen
    for longer, there is no box. All pictures of the video are decoded, whichever were looked at.

    Parameters
    ----------
    report
        From :func:`redeepfake_nb.analyze_video`.
    out
        An ``.mp4`` file; replaced if it exists. Written beside it first: it appears whole or not at all.
    source
        The video, if the report no longer knows it.
    progress
        Called as ``progress(done, total)`` after each picture.
    cancel
        Says whether to stop; nothing is written then.

    Returns
    -------
    pathlib.Path
        The file. H.264 with 4:2:0 colour; sound is copied, or becomes AAC where browsers do not play it.
        What cannot be decoded is left out.

    Raises
    ------
    InputError
        The video cannot be read any more, or is another one by now.
    OutputError
        It cannot be written, or was cancelled.
    """
    out = Path(out)
    source = report.origin if source is None else source
    if source is None:
        raise OutputError(
            "the report does not know its video", subject=report.name, next_step="Give source=."
        )
    try:
        with atomic_file(out) as part:
            _write(report, source, part, progress, cancel)
    except av.FFmpegError as error:
        # What is read goes through open_video, which has words of its own; this is the encoder's.
        raise OutputError(
            f"the video encoder failed ({error.strerror or error})",
            subject=out,
            next_step="Try another folder, or update PyAV (`pip install -U av`).",
        ) from error
    return out


def _write(
    report: VideoReport, source: Any, part: Path, progress: Progress | None, cancel: Callable[[], bool] | None
) -> None:
    tracks = Tracks(report)
    # All pictures are wanted, whatever the file's size, and whoever asks for them may cancel.
    with open_video(source, time_limit=TIME_LIMIT) as video, contextlib.ExitStack() as stack:
        report.check_same(video.source)
        sample = video.sample("all")
        # Even sides, which 4:2:0 needs; at most one row and column are lost.
        width, height = video.width // 2 * 2, video.height // 2 * 2
        container = stack.enter_context(av.open(str(part), "w", options={"movflags": "faststart"}))
        pictures = container.add_stream("libx264", options={"crf": "20", "preset": "veryfast"})
        pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
        pictures.time_base = pictures.codec_context.time_base = Fraction(1, _CLOCK)
        sound = stack.enter_context(_sound(source, video, container))
        last = -1
        for done, frame in enumerate(sample, start=1):
            if cancel is not None and cancel():
                raise OutputError("it was cancelled", subject=part.name, next_step="Nothing was written.")
            image = draw_tracks(frame.image, tracks.at(frame.timestamp), report.threshold)
            if image.shape[:2] != (video.height, video.width):
                image = cv2.resize(image, (video.width, video.height), interpolation=cv2.INTER_AREA)
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
            last = max(round(frame.timestamp * _CLOCK), last + 1)
            picture.pts, picture.time_base = last, Fraction(1, _CLOCK)
            sound(frame.timestamp)
            container.mux(pictures.encode(picture))
            if progress is not None:
                progress(done, sample.expected)
        sound(None)
        container.mux(pictures.encode(None))


class Tracks:
    """Where each track is at any time, by straight lines between its sightings."""

    def __init__(self, report: VideoReport) -> None:
        step = float(np.median(np.diff(report.frame_times))) if report.frames > 1 else 1.0
        self._longest = 2.5 * step
        self._linger = step / 2
        self._tracks: dict[int, list[Sighting]] = {}
        for sighting in report.sightings:
            self._tracks.setdefault(sighting.track, []).append(sighting)
        self._times = {track: [s.timestamp for s in seen] for track, seen in self._tracks.items()}

    def at(self, time: float) -> list[tuple[np.ndarray, int, float]]:
        """(box (4,) float64 in pixels, person, P(fake)) of everybody who is there."""
        found = []
        for track, seen in self._tracks.items():
            i = bisect.bisect_right(self._times[track], time)
            before, after = seen[max(i - 1, 0)], seen[min(i, len(seen) - 1)]
            between = after.timestamp - before.timestamp
            if before is after or between > self._longest:
                nearest = min((before, after), key=lambda s: abs(s.timestamp - time))
                if abs(nearest.timestamp - time) > self._linger:
                    continue
                before = after = nearest
                share = 0.0
            else:
                share = (time - before.timestamp) / between
            box = (1 - share) * np.array(before.box, float) + share * np.array(after.box, float)
            p = (1 - share) * before.probability + share * after.probability
            found.append((box, before.person, p))
        return found


def draw_tracks(
    image: np.ndarray, found: list[tuple[np.ndarray, int, float]], threshold: float
) -> np.ndarray:
    """A copy of (H, W, 3) uint8 RGB with a box and a line of text for each of :meth:`Tracks.at`."""
    image = image.copy()
    height, width = image.shape[:2]
    unit = max(height, width) / 640
    for box, person, p in found:
        label = "fake" if p >= threshold else "real"
        left, top, right, bottom = (round(v) for v in box)
        thick = max(round((2 if label == "fake" else 1) * unit), 1)
        cv2.rectangle(image, (left, top), (right, bottom), (255, 255, 255), thick + 2)
        cv2.rectangle(image, (left, top), (right, bottom), _COLORS[label], thick)
        text = f"person {person + 1}  P(fake) {p:.2f}"
        size, weight = 0.45 * unit, max(round(unit), 1)
        (wide, high), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, weight)
        x = min(max(left, 0), max(width - wide - 2, 0))
        y = top - below - thick if top - high - 2 * below - thick >= 0 else bottom + high + below + thick
        cv2.rectangle(image, (x - 2, y - high - below), (x + wide + 2, y + below), (255, 255, 255), -1)
        cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), weight, cv2.LINE_AA)
    return image


@contextlib.contextmanager
def _sound(source: Any, video: Any, container: Any) -> Iterator[Callable[[float | None], None]]:
    """A function that writes the sound up to a time, or all that is left for None; it may do nothing."""
    file, *_ = open_input(source)
    with contextlib.closing(file), contextlib.ExitStack() as stack:
        try:
            inside = stack.enter_context(
                av.open(
                    TimeLimitedInput(file, TimeBudget(TIME_LIMIT)),
                    format=DEMUXERS[video.source.format],
                    io_open=refuse_external_file,
                    metadata_errors="replace",
                )
            )
            stream = inside.streams.best("audio")
        except (av.FFmpegError, ValueError):
            stream = None
        codec = getattr(getattr(stream, "codec_context", None), "name", None)
        if codec in _COPIED:
            chunks = _copied(inside, stream, container, video.start_time)
        elif codec in _DECODED:
            chunks = _encoded(inside, stream, container, video.start_time)
        else:
            chunks = iter(())
        waiting: list = []

        def write(until: float | None) -> None:
            while True:
                if not waiting:
                    chunk = next(chunks, None)
                    if chunk is None:
                        return
                    waiting.append(chunk)
                time, packets = waiting[0]
                if until is not None and time > until:
                    return
                waiting.pop()
                container.mux(packets)

        yield write


def _copied(inside: Any, stream: Any, container: Any, first: float) -> Iterator[tuple[float, list]]:
    target = container.add_stream_from_template(stream)
    shift = round(first / stream.time_base)
    with contextlib.suppress(av.FFmpegError):  # a damaged end of the sound is no reason to write nothing
        for packet in inside.demux(stream):
            if packet.dts is None or packet.dts < shift:
                continue
            packet.dts -= shift
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.stream = target
            yield float(packet.dts * stream.time_base), [packet]


def _encoded(inside: Any, stream: Any, container: Any, first: float) -> Iterator[tuple[float, list]]:
    rate = stream.codec_context.sample_rate or 44_100
    target = container.add_stream("aac", rate=rate)
    target.layout = "stereo" if stream.codec_context.channels > 1 else "mono"
    resampler = av.AudioResampler(format="fltp", layout=target.layout, rate=rate)
    with contextlib.suppress(av.FFmpegError):
        for sound in inside.decode(stream):
            if sound.time is None or sound.time < first:
                continue
            for piece in resampler.resample(sound):
                piece.pts = round((sound.time - first) * rate)
                piece.time_base = Fraction(1, rate)
                yield sound.time - first, list(target.encode(piece))
    yield float("inf"), list(target.encode(None))
