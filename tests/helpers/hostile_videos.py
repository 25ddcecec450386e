"""Generated hostile videos and playlists: name -> function that returns the bytes. corpus.json states
outcomes.

Frames show their own numbers (:mod:`helpers.numbered_clips`).
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np

from helpers.hostile_pictures import encoded, flipped
from helpers.numbered_clips import HEIGHT, WIDTH, clip, numbered

COUNT = 20
X264 = {"g": "10", "preset": "ultrafast"}
# The corpus test listens on this port: nothing may ever connect.
PORT = 18999
CASES: dict[str, Callable[[], bytes]] = {}


def case(name: str) -> Callable:
    def add(make: Callable[[], bytes]) -> Callable[[], bytes]:
        CASES[name] = make
        return make

    return add


@functools.cache
def plain(container: str = "mp4", codec: str = "libx264", faststart: bool = False, **more) -> bytes:
    """20 numbered frames, 25 per second."""
    muxer = {"movflags": "empty_moov+default_base_moof+frag_keyframe"} if faststart else {}
    options = X264 if codec == "libx264" else {}
    return clip(range(COUNT), container=container, codec=codec, options=options, muxer=muxer, **more)


def box(kind: bytes, *bodies: bytes) -> bytes:
    body = b"".join(bodies)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def boxes(data: bytes) -> dict[bytes, bytes]:
    """The outermost boxes of an MP4, with their headers."""
    found, pos = {}, 0
    while pos + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, pos)
        found[kind] = data[pos : pos + size]
        pos += size
    return found


def index_first() -> bytes:
    """An MP4 whose index lies before its frames."""
    parts = boxes(plain())
    moov = bytearray(parts[b"moov"])
    place = moov.index(b"stco") + 4
    (count,) = struct.unpack_from(">I", moov, place + 4)
    for i in range(count):
        at = place + 8 + 4 * i
        struct.pack_into(">I", moov, at, struct.unpack_from(">I", moov, at)[0] + len(moov))
    return parts[b"ftyp"] + bytes(moov) + parts.get(b"free", b"") + parts[b"mdat"]


def changed(kind: bytes, at: int, value: bytes, data: bytes | None = None) -> bytes:
    """An MP4 with some bytes changed, at the offset ``at`` after the name of a box."""
    out = bytearray(plain() if data is None else data)
    place = out.index(kind) + 4 + at
    out[place : place + len(value)] = value
    return bytes(out)


# ------------------------------------------------------------------ the same clip in many containers

for name, options in {
    "plain.mp4": {},
    "plain.mov": {"container": "mov"},
    "plain.3gp": {"container": "3gp"},
    "plain.mkv": {"container": "matroska"},
    "plain.avi": {"container": "avi", "codec": "mpeg4"},
    "plain.ts": {"container": "mpegts"},
    "plain.flv": {"container": "flv"},
    "plain.webm": {"container": "webm", "codec": "libvpx"},
    "plain.wmv": {"container": "asf", "codec": "wmv2"},
    "plain.mpg": {"container": "mpeg", "codec": "mpeg2video"},
    "plain.h264": {"container": "h264"},
    "plain.m2v": {"container": "mpeg2video", "codec": "mpeg2video"},
    "plain.ivf": {"container": "ivf", "codec": "libvpx-vp9"},
    "plain.y4m": {"container": "yuv4mpegpipe", "codec": "rawvideo"},
    "fragments.mp4": {"faststart": True},
    "wrong_name.mp4": {"container": "matroska"},
}.items():
    CASES[name] = lambda options=options: plain(**options)
CASES["index_first.mp4"] = index_first

# Containers that FFmpeg reads and this package does not.
for name, container, codec in (
    ("plain.mxf", "mxf", "mpeg2video"),
    ("plain.nut", "nut", "mpeg4"),
    ("plain.swf", "swf", "flv"),
):
    CASES[name] = lambda container=container, codec=codec: plain(container, codec)

# ------------------------------------------------------------------ truncated and damaged

CASES["no_index.mp4"] = lambda: b"".join(v for k, v in boxes(plain()).items() if k != b"moov")
CASES["half_index.mp4"] = lambda: plain()[:-300]
CASES["pictures_only.mp4"] = lambda: boxes(plain())[b"mdat"]
CASES["index_only.mp4"] = lambda: b"".join(v for k, v in boxes(index_first()).items() if k != b"mdat")
CASES["half.mp4"] = lambda: index_first()[: len(index_first()) * 6 // 10]
CASES["half_fragments.mp4"] = lambda: plain(faststart=True)[: len(plain(faststart=True)) * 6 // 10]
CASES["half.mkv"] = lambda: plain("matroska")[: len(plain("matroska")) * 6 // 10]
CASES["half.avi"] = lambda: plain("avi", "mpeg4")[: len(plain("avi", "mpeg4")) * 6 // 10]
CASES["half.ts"] = lambda: plain("mpegts")[: len(plain("mpegts")) * 6 // 10]
CASES["half.flv"] = lambda: plain("flv")[: len(plain("flv")) * 6 // 10]
CASES["half.webm"] = lambda: plain("webm", "libvpx")[: len(plain("webm", "libvpx")) * 6 // 10]
CASES["half_motion_jpeg.avi"] = lambda: plain("avi", "mjpeg", pix_fmt="yuvj420p")[:14000]
CASES["bits.mkv"] = lambda: flipped(plain("matroska"), 100, seed=1, start=1500)
CASES["bits_motion_jpeg.avi"] = lambda: flipped(
    plain("avi", "mjpeg", pix_fmt="yuvj420p"), 60, seed=1, start=6000
)
CASES["zeroed_motion_jpeg.avi"] = lambda: zeroed(plain("avi", "mjpeg", pix_fmt="yuvj420p"), 0.4, 400)
CASES["bits.ts"] = lambda: flipped(plain("mpegts"), 100, seed=1, start=2000)
CASES["zeroed.mp4"] = lambda: zeroed(index_first(), 0.6, 900)
CASES["zeroed.mpg"] = lambda: zeroed(plain("mpeg", "mpeg2video"), 0.5, 3000)
CASES["packets_lost.ts"] = lambda: plain("mpegts")[: 188 * 20] + plain("mpegts")[188 * 27 :]
CASES["nothing_inside.mkv"] = lambda: plain("matroska")[:600]
CASES["header_only.ts"] = lambda: plain("mpegts")[: 188 * 3]


def zeroed(data: bytes, at: float, size: int) -> bytes:
    start = int(len(data) * at)
    return data[:start] + bytes(size) + data[start + size :]


# ------------------------------------------------------------------ false headers

CASES["huge_pictures.mp4"] = lambda: changed(b"tkhd", 76, struct.pack(">II", 60000 << 16, 60000 << 16))
CASES["huge_sample_entry.mp4"] = lambda: changed(b"avc1", 24, struct.pack(">HH", 65535, 65535))
CASES["sample_count.mp4"] = lambda: changed(b"stsz", 8, struct.pack(">I", 2**32 - 1))
CASES["constant_size.mp4"] = lambda: changed(b"stsz", 4, struct.pack(">II", 1, 2**31 - 1))
CASES["time_entries.mp4"] = lambda: changed(b"stts", 4, struct.pack(">III", 1, 2**31 - 1, 1))
CASES["offsets.mp4"] = lambda: changed(b"stco", 8, struct.pack(">I", 2**32 - 16))
CASES["duration.mp4"] = lambda: changed(b"mdhd", 16, struct.pack(">I", 2**31 - 1))
CASES["timescale.mp4"] = lambda: changed(b"mdhd", 12, struct.pack(">I", 0))
CASES["box_too_long.mp4"] = lambda: changed(b"trak", -8, struct.pack(">I", 2**31))
CASES["box_of_nothing.mp4"] = lambda: changed(b"trak", -8, struct.pack(">I", 0))
CASES["deep_boxes.mp4"] = lambda: (
    boxes(plain())[b"ftyp"] + functools.reduce(lambda inner, _: box(b"moov", inner), range(20_000), b"")
)
CASES["compressed_index_bomb.mp4"] = lambda: (
    boxes(plain())[b"ftyp"]
    + box(
        b"moov",
        box(
            b"cmov",
            box(b"dcom", b"zlib"),
            box(b"cmvd", struct.pack(">I", 2**31 - 16) + zlib.compress(bytes(2**28), 9)),
        ),
    )
)
CASES["many_streams.mp4"] = lambda: boxes(plain())[b"ftyp"] + box(b"moov", boxes(plain())[b"moov"][8:] * 200)
CASES["rate.y4m"] = lambda: plain("yuv4mpegpipe", "rawvideo").replace(b"F25:1", b"F0:0", 1)
CASES["huge.y4m"] = lambda: b"YUV4MPEG2 W65535 H65535 F25:1\nFRAME\n" + bytes(1000)
CASES["negative.y4m"] = lambda: b"YUV4MPEG2 W-5 H-5 F25:1\nFRAME\n" + bytes(1000)
CASES["no_rate.avi"] = lambda: changed(b"strh", 24, struct.pack(">II", 0, 0), plain("avi", "mpeg4"))
CASES["huge.avi"] = lambda: changed(b"strf", 8, struct.pack("<ii", 60000, -60000), plain("avi", "mpeg4"))
CASES["long_element.mkv"] = lambda: plain("matroska")[:40] + b"\x08" + b"\xff" * 7 + plain("matroska")[48:]
CASES["deep_elements.mkv"] = lambda: (
    plain("matroska")[:5]
    + b"\x18\x53\x80\x67\x01"
    + b"\xff" * 7
    + (b"\x1f\x43\xb6\x75\x01" + b"\xff" * 7) * 5000
)


@case("many_large_pictures.mp4")
def _() -> bytes:
    """8192 x 4320, twelve black frames, one keyframe: few bytes, much work."""
    black = av.VideoFrame.from_ndarray(np.zeros((4320 * 3 // 2, 8192), np.uint8), format="yuv420p")
    return clip(
        [0] * 12,
        size=(8192, 4320),
        picture=lambda *_: black,
        options={"g": "1000", "preset": "ultrafast", "bf": "0"},
    )


@case("long.mp4")
def _() -> bytes:
    """Two frames, thirty hours apart."""
    return clip(range(2), rate=25, stamps=[0, 25 * 3600 * 30], options=X264)


# ------------------------------------------------------------------ references to other files


def url(name: str) -> bytes:
    return f"http://127.0.0.1:{PORT}/{name}".encode()


@case("external_data.mov")
def _() -> bytes:
    """Its data reference names another file, as QuickTime allows."""
    return with_reference(b"url ", b"file:///etc/hostname\0")


@case("external_address.mov")
def _() -> bytes:
    return with_reference(b"url ", url("a.mov") + b"\0")


@case("external_alias.mov")
def _() -> bytes:
    """A Macintosh alias record with a path."""
    record = (
        struct.pack(">I4sHH", 0, b"", 0, 2)
        + bytes(142)
        + struct.pack(">hh", 18, 14)
        + b"/etc/hostname\0"
        + struct.pack(">hh", -1, 0)
    )
    return with_reference(b"alis", record)


def with_reference(kind: bytes, body: bytes) -> bytes:
    """The index-first MP4 with its data reference replaced; all offsets are adjusted."""
    data = index_first()
    place = data.index(b"dref") - 4
    old = struct.unpack_from(">I", data, place)[0]
    new = box(b"dref", struct.pack(">II", 0, 1), box(kind, struct.pack(">I", 0), body))
    grown = len(new) - old
    out = bytearray(data[:place] + new + data[place + old :])
    for name in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        at = out.index(name) - 4
        struct.pack_into(">I", out, at, struct.unpack_from(">I", out, at)[0] + grown)
    at = out.index(b"stco") + 12
    struct.pack_into(">I", out, at, struct.unpack_from(">I", out, at)[0] + grown)
    return bytes(out)


CASES["reference_movie.mov"] = lambda: (
    box(b"ftyp", b"qt  \0\0\0\0qt  ")
    + box(
        b"moov",
        box(
            b"rmra",
            box(b"rmda", box(b"rdrf", struct.pack(">I4sI", 0, b"url ", 40) + url("a.mov") + b"\0" * 12)),
        ),
    )
)
CASES["attachment.mkv"] = lambda: with_attachment()


def with_attachment() -> bytes:
    """A Matroska file with an attached font, as subtitled videos have."""

    def element(name: bytes, body: bytes) -> bytes:
        return name + (0x10000000 | len(body)).to_bytes(4, "big") + body

    attached = element(
        b"\x19\x41\xa4\x69",
        element(
            b"\x61\xa7",
            element(b"\x46\x6e", b"../../marker")
            + element(b"\x46\x60", b"font/ttf")
            + element(b"\x46\xae", b"\1")
            + element(b"\x46\x5c", b"touch marker\n" * 50),
        ),
    )
    return plain("matroska") + attached


for name, text in {
    "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{PORT}/a.ts\n#EXT-X-ENDLIST\n",
    "list.mp4": "#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n",
    "late_list.mp4": "\n\n\ufeff#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n",
    "list.mpd": f"<MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>http://127.0.0.1:{PORT}/</BaseURL></MPD>",
    "list.ffconcat": "ffconcat version 1.0\nfile '/etc/hostname'\n",
    "list.concat": "file '/etc/hostname'\nfile '/etc/passwd'\n",
    "session.sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video {PORT} RTP/AVP 96\n",
    "metadata.ffmeta": ";FFMETADATA1\ntitle=x\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=9\n",
    "edits.edl": "# mpv EDL v0\n/etc/hostname,0,10\n",
    "list.pls": "[playlist]\nFile1=/etc/hostname\nNumberOfEntries=1\n",
    "list.asx": f'<asx version="3.0"><entry><ref href="http://127.0.0.1:{PORT}/a"/></entry></asx>',
    "list.smil": f'<smil><body><video src="http://127.0.0.1:{PORT}/a"/></body></smil>',
    "list.xspf": '<?xml version="1.0"?><playlist xmlns="http://xspf.org/ns/0/"><trackList/></playlist>',
    "script.avs": 'AviSource("/etc/hostname")\n',
    "script.vpy": "import os\nos.system('touch marker')\n",
    "subtitles.srt": "1\n00:00:01,000 --> 00:00:02,000\nHello\n",
    "subtitles.vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n",
    "manifest.ism": '<?xml version="1.0"?><SmoothStreamingMedia MajorVersion="2"/>',
    "imf.cpl": '<?xml version="1.0"?><CompositionPlaylist xmlns="x"><Id>1</Id></CompositionPlaylist>',
    "real.ram": f"rtsp://127.0.0.1:{PORT}/a.rm\n",
}.items():
    CASES[name] = lambda text=text: text.encode()

for name, data in {
    "sound.mp4": b"ID3\x03\0\0\0\0\0\0" + b"\xff\xfb\x90\0" * 200,
    "sound.wav": b"RIFF\x24\0\0\0WAVEfmt " + bytes(40),
    "pages.mp4": b"%PDF-1.4\n",
    "flash.mp4": b"FWS\x09" + bytes(100),
    "flash_packed.mp4": b"CWS\x09" + bytes(100),
    "real.mp4": b".RMF\0\0\0\x12" + bytes(100),
    "dv.mp4": b"\x1f\x07\0\xbf" + bytes(480),
    "zeros.mp4": bytes(5000),
    "magic_only.mp4": b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
    "magic_only.mkv": b"\x1aE\xdf\xa3",
    "magic_only.avi": b"RIFF\0\0\0\0AVI LIST",
    "magic_only.flv": b"FLV\x01\x05\0\0\0\x09\0\0\0\0",
    "magic_only.ogv": b"OggS" + bytes(23),
    "magic_only.wmv": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(60),
    "magic_only.h264": b"\0\0\0\1\x67\x42",
    "magic_only.ivf": b"DKIF\0\0\x20\0VP80" + bytes(20),
    "sync_only.ts": (b"\x47" + bytes(187)) * 50,
}.items():
    CASES[name] = lambda data=data: data
CASES["still.mp4"] = lambda: encoded("JPEG")
CASES["still.gif"] = lambda: encoded("GIF")
CASES["heic_still.mp4"] = lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)

# ------------------------------------------------------------------ unusual but valid


@case("song_with_cover.m4a")
def _() -> bytes:
    return sound("mp4", "aac")


@case("sound_only.mkv")
def _() -> bytes:
    return sound("matroska", "pcm_s16le")


def sound(container: str, codec: str) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=16000)
        stream.layout = "mono"
        kind = stream.codec_context.format.name if stream.codec_context.format else "s16"
        silence = np.zeros((1, 4096), np.float32 if kind == "fltp" else np.int16)
        frame = av.AudioFrame.from_ndarray(silence, format=kind, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
        for packet in (*stream.encode(frame), *stream.encode()):
            file.mux(packet)
    return out.getvalue()


CASES["sizes_change.ts"] = lambda: (
    plain("mpegts") + clip(range(COUNT), container="mpegts", options=X264, size=(WIDTH // 2, HEIGHT // 2))
)
CASES["late_start.mp4"] = lambda: clip(range(COUNT), stamps=[1000 + i for i in range(COUNT)], options=X264)
CASES["uneven.mp4"] = lambda: clip(range(COUNT), stamps=[i * i for i in range(COUNT)], options=X264)
CASES["one_picture.mp4"] = lambda: clip(range(1), options=X264)
CASES["fast.mp4"] = lambda: clip(range(COUNT), rate=1000, options=X264)
CASES["slow.mp4"] = lambda: clip(range(4), rate=1, stamps=[0, 60, 120, 180], options=X264)
CASES["tiny.mp4"] = lambda: clip(
    range(COUNT), size=(16, 16), picture=lambda n, w, h: np.full((h, w, 3), 12 * n, np.uint8)
)
CASES["odd_size.mkv"] = lambda: clip(
    range(COUNT),
    container="matroska",
    codec="ffv1",
    pix_fmt="yuv444p",
    size=(133, 61),
    picture=lambda n, w, h: np.full((h, w, 3), 12 * n, np.uint8),
)
CASES["grey.mkv"] = lambda: plain("matroska", "ffv1", pix_fmt="gray")
CASES["colour444.mp4"] = lambda: plain(pix_fmt="yuv444p")
CASES["two_streams.mkv"] = lambda: two_streams()


def two_streams() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as file:
        streams = [file.add_stream("libx264", rate=25, options=X264) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(COUNT):
            for place, stream in enumerate(streams):
                frame = av.VideoFrame.from_ndarray(numbered(number if not place else 255)).reformat(
                    format="yuv420p"
                )
                frame.pts, frame.time_base = number, Fraction(1, 25)
                for packet in stream.encode(frame):
                    file.mux(packet)
        for stream in streams:
            for packet in stream.encode():
                file.mux(packet)
    return out.getvalue()


CASES["appended_junk.mp4"] = lambda: plain() + b"touch marker\n" * 100
CASES["repeated.mp4"] = lambda: plain() + plain()
CASES["many_frames.gif"] = lambda: (
    encoded("GIF")[:-1]
    + (b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00") * 100_000
    + b";"
)
