"""Write a copy of a video with face boxes, persons and scores drawn in, as an MP4 that browsers play."""

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
from ..media.video import TIME_LIMIT, open_input
from ..utils.jobs import Progress
from ..utils.writing import atomic_file, check_not_input
from ..view.palette import COLORS

# Red, green and blue, 0..255. Fake boxes are also drawn twice as thick, so that colour is not the only sign.
_RGB = {label: tuple(bytes.fromhex(color[1:])) for label, color in COLORS.items()}
_TICKS_PER_SECOND = 90_000  # usual in MP4
# Audio codecs that browsers play in MP4 are copied; these others are decoded and encoded as AAC.
_COPIED = {"aac", "mp3", "mp3float", "opus", "libopus"}
_TRANSCODED = {
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
    """Write a copy of a video with a box, the person and P(fake) drawn at every face.

    All frames are decoded and written. Between analysed frames, boxes and scores are interpolated linearly;
    no box is drawn where a face was absent from several of them.

    Parameters
    ----------
    report
        From :func:`redeepfake_nb.analyze_video`.
    out
        An ``.mp4`` file, written atomically; replaced if it exists.
    source
        The video, where the report does not know it (``report.origin`` is None).
    progress
        Called as ``progress(done, total)`` after each frame.
    cancel
        Returns True to stop; nothing is written then.

    Returns
    -------
    pathlib.Path
        ``out``: H.264 with 4:2:0 chroma. Sound is copied, or converted to AAC where browsers do not play it;
        sound that cannot be decoded is left out.

    Raises
    ------
    InputError
        The video can no longer be read, or is not the analysed file.
    OutputError
        The video cannot be written, ``out`` is the video itself, or the work was cancelled.
    """
    out = Path(out)
    source = report.origin if source is None else source
    if source is None:
        raise OutputError(
            "the report does not know its video", subject=report.name, next_step="Give source=."
        )
    check_not_input(out, source, "the video")
    try:
        with atomic_file(out) as part:
            _write(report, source, part, progress, cancel)
    except av.FFmpegError as error:
        # Errors of the input are typed by open_video; this is the encoder's.
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
    # Sample all frames, however long that takes; the caller may cancel.
    with report.open_again(source, time_limit=TIME_LIMIT) as video, contextlib.ExitStack() as stack:
        sample = video.sample("all")
        # 4:2:0 needs even sides; at most one row and one column are cropped.
        width, height = video.width // 2 * 2, video.height // 2 * 2
        container = stack.enter_context(av.open(str(part), "w", options={"movflags": "faststart"}))
        stream = container.add_stream("libx264", options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS_PER_SECOND)
        write_sound = stack.enter_context(_audio_writer(source, video, container))
        last = -1
        for done, frame in enumerate(sample, start=1):
            if cancel is not None and cancel():
                raise OutputError("it was cancelled", subject=part.name, next_step="Nothing was written.")
            image = draw_tracks(frame.image, tracks.at(frame.timestamp), report.threshold)
            image = draw_declaration(image, report.verdict.declared)
            if image.shape[:2] != (video.height, video.width):
                image = cv2.resize(image, (video.width, video.height), interpolation=cv2.INTER_AREA)
            encoded = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
            last = max(round(frame.timestamp * _TICKS_PER_SECOND), last + 1)
            encoded.pts, encoded.time_base = last, Fraction(1, _TICKS_PER_SECOND)
            write_sound(frame.timestamp)
            container.mux(stream.encode(encoded))
            if progress is not None:
                progress(done, sample.expected)
        write_sound(None)
        container.mux(stream.encode(None))


class Tracks:
    """Interpolate the box and score of each track linearly between its sightings."""

    def __init__(self, report: VideoReport) -> None:
        step = float(np.median(np.diff(report.frame_times))) if report.frames > 1 else 1.0
        self._max_gap = 2.5 * step
        self._tolerance = step / 2
        self._tracks: dict[int, list[Sighting]] = {}
        for sighting in report.sightings:
            self._tracks.setdefault(sighting.track, []).append(sighting)
        self._times = {track: [s.timestamp for s in seen] for track, seen in self._tracks.items()}

    def at(self, time: float) -> list[tuple[np.ndarray, int, float]]:
        """Return (box (4,) float64 in pixels, person, P(fake)) of every track at a time in seconds."""
        found = []
        for track, seen in self._tracks.items():
            i = bisect.bisect_right(self._times[track], time)
            before, after = seen[max(i - 1, 0)], seen[min(i, len(seen) - 1)]
            between = after.timestamp - before.timestamp
            if before is after or between > self._max_gap:
                nearest = min((before, after), key=lambda s: abs(s.timestamp - time))
                if abs(nearest.timestamp - time) > self._tolerance:
                    continue
                before = after = nearest
                share = 0.0
            else:
                share = (time - before.timestamp) / between
            box = (1 - share) * np.array(before.box, float) + share * np.array(after.box, float)
            p = (1 - share) * before.probability + share * after.probability
            found.append((box, before.person, p))
        return found


def draw_declaration(image: np.ndarray, words: str) -> np.ndarray:
    """Write what the file declares of itself into a strip at the lower edge; nothing without words.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    words
        In ASCII.

    Returns
    -------
    (H, W, 3) uint8 RGB
        A copy where something was drawn.
    """
    if not words:
        return image
    image = image.copy()
    height, width = image.shape[:2]
    (long, tall), below = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)
    scale = min(0.96 * width / long, 0.04 * height / tall)
    strip = round(scale * (tall + 2 * below))
    image[height - strip :] = 0
    place = round(0.02 * width), height - round(scale * below)
    cv2.putText(image, words, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return image


def draw_tracks(
    image: np.ndarray, found: list[tuple[np.ndarray, int, float]], threshold: float, letters: float = 1.0
) -> np.ndarray:
    """Draw a box and a line of text for each of :meth:`Tracks.at` on a copy of (H, W, 3) uint8 RGB.

    ``letters``: the size of letters relative to their usual one, which grows with the picture.
    """
    image = image.copy()
    height, width = image.shape[:2]
    unit = max(height, width) / 640
    for box, person, p in found:
        label = "fake" if p >= threshold else "real"
        left, top, right, bottom = (round(v) for v in box)
        thick = max(round((2 if label == "fake" else 1) * unit), 1)
        cv2.rectangle(image, (left, top), (right, bottom), (255, 255, 255), thick + 2)
        cv2.rectangle(image, (left, top), (right, bottom), _RGB[label], thick)
        text = f"person {person + 1}  P(fake) {p:.2f}"
        size, weight = 0.45 * letters * unit, max(round(unit), 1)
        (wide, high), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, weight)
        x = min(max(left, 0), max(width - wide - 2, 0))
        y = top - below - thick if top - high - 2 * below - thick >= 0 else bottom + high + below + thick
        cv2.rectangle(image, (x - 2, y - high - below), (x + wide + 2, y + below), (255, 255, 255), -1)
        cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), weight, cv2.LINE_AA)
    return image


@contextlib.contextmanager
def _audio_writer(source: Any, video: Any, container: Any) -> Iterator[Callable[[float | None], None]]:
    """Return a function that writes the sound up to a time in seconds, or the rest for None."""
    demuxer = DEMUXERS.get(video.source.format)
    if demuxer is None:  # an animated picture, which has no sound
        yield lambda until: None
        return
    file, *_ = open_input(source)
    with contextlib.closing(file), contextlib.ExitStack() as stack:
        try:
            inside = stack.enter_context(
                av.open(
                    TimeLimitedInput(file, TimeBudget(TIME_LIMIT)),
                    format=demuxer,
                    io_open=refuse_external_file,
                    metadata_errors="replace",
                )
            )
            stream = inside.streams.best("audio")
        except (av.FFmpegError, ValueError):
            stream = None
        codec = getattr(getattr(stream, "codec_context", None), "name", None)
        if codec in _COPIED:
            chunks = _copy_audio(inside, stream, container, video.start_time)
        elif codec in _TRANSCODED:
            chunks = _transcode_audio(inside, stream, container, video.start_time)
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


def _copy_audio(inside: Any, stream: Any, container: Any, first: float) -> Iterator[tuple[float, list]]:
    target = container.add_stream_from_template(stream)
    shift = round(first / stream.time_base)
    with contextlib.suppress(av.FFmpegError):  # a damaged end of the sound does not stop the video
        for packet in inside.demux(stream):
            if packet.dts is None or packet.dts < shift:
                continue
            packet.dts -= shift
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.stream = target
            yield float(packet.dts * stream.time_base), [packet]


def _transcode_audio(inside: Any, stream: Any, container: Any, first: float) -> Iterator[tuple[float, list]]:
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
