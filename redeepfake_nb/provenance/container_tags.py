"""Read the tags of a video's container and streams with PyAV, within the limits of the video reader."""

from __future__ import annotations

from typing import BinaryIO

import av

from ..errors import displayable
from ..media.limits import DEMUXERS, TimeBudget, TimeLimitedInput, refuse_external_file

_SECONDS = 5.0
_MAX_STREAMS = 64
_MAX_TAGS = 60
_MAX_VALUE = 64 * 1024


def read_tags(file: BinaryIO, kind: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Read tags without decoding a frame.

    Parameters
    ----------
    file
        Open for reading; stays open.
    kind
        Format of :func:`redeepfake_nb.media.file_types.video_format`.

    Returns
    -------
    tags
        (name, value) of the container and, with the stream's kind in front, of its streams.
    streams
        (kind of the stream, codec and size).

    Raises
    ------
    av.FFmpegError, ValueError, OSError, TimeLimitExceeded
        The container cannot be opened.
    """
    file.seek(0)
    limited = TimeLimitedInput(file, TimeBudget(_SECONDS))
    options = {
        "max_streams": str(_MAX_STREAMS),
        # Tags stand in the header; nothing is to be decoded for a stream's properties.
        "codec_whitelist": "none",
        "probesize": str(2**20),
        "analyzeduration": "0",
    }
    with av.open(
        limited,
        "r",
        format=DEMUXERS[kind],
        options=options,
        metadata_errors="replace",
        buffer_size=2**18,
        io_open=refuse_external_file,
    ) as container:
        tags = [(name, value) for name, value in container.metadata.items()]
        streams = []
        for stream in container.streams:
            tags += [(f"{stream.type} {name}", value) for name, value in stream.metadata.items()]
            codec = getattr(stream, "codec_context", None)
            words = codec.name if codec is not None else "unknown"
            # The size of some codecs is only known to a decoder.
            if stream.type == "video" and codec is not None and codec.width:
                words += f", {codec.width} x {codec.height}"
            streams.append((f"{stream.type} stream", words))
    return [(displayable(name, 60), value[:_MAX_VALUE]) for name, value in tags[:_MAX_TAGS]], streams
