"""Sampling and seeking give the frames that decoding everything gives."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.numbered_clips import X264, clip, number_in, sampled

from redeepfake_nb.errors import InputError
from redeepfake_nb.media.video import open_video

OPEN_GOP = {"x264-params": "open-gop=1:keyint=20:bframes=3:scenecut=0"}

KINDS = {
    "h264": {"options": X264},
    "h264 open gop": {"options": OPEN_GOP},
    "h264 open gop, ts": {"container": "mpegts", "options": OPEN_GOP},
    "h264 fragments": {"options": X264, "muxer": {"movflags": "frag_keyframe+empty_moov"}},
    "h264 bare": {"container": "h264", "options": X264},
    "hevc open gop": {
        "codec": "libx265",
        "options": {"x265-params": "keyint=20:open-gop=1:bframes=3:log-level=none"},
    },
    "vp8 live": {
        "codec": "libvpx",
        "container": "webm",
        "options": {"g": "20", "deadline": "realtime", "cpu-used": "8"},
        "muxer": {"live": "1"},
    },
    "vp9": {
        "codec": "libvpx-vp9",
        "container": "webm",
        "options": {"g": "20", "lag-in-frames": "16", "cpu-used": "5"},
    },
    "mpeg4 avi": {"codec": "mpeg4", "container": "avi", "options": {"g": "20", "bf": "2"}},
    "mpeg2 ps": {"codec": "mpeg2video", "container": "mpeg", "options": {"g": "20", "bf": "2"}},
    "mjpeg": {"codec": "mjpeg", "container": "avi", "pix_fmt": "yuvj420p"},
    "flv": {"codec": "flv", "container": "flv", "options": {"g": "20"}},
    "wmv": {"codec": "wmv2", "container": "asf", "options": {"g": "20"}},
    "ffv1": {"codec": "ffv1", "container": "matroska"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_seeking_yields_the_same_frames_as_decoding_everything(kind):
    with open_video(clip(range(100), **KINDS[kind])) as video:
        every = list(video.sample("all"))
        assert video.completeness.complete
        assert [number_in(f.image) for f in every] == [f.index for f in every] == list(range(100))
        np.testing.assert_allclose([f.timestamp for f in every], np.arange(100) / 25, atol=6e-4)
        assert video.duration == pytest.approx(4.0, abs=0.01)
        for options, wanted in (
            ({"frames": 5}, [10, 30, 50, 70, 90]),
            ({"every": 1.0, "start": 0.5}, [12, 37, 62, 87]),
            ({"frames": "all", "start": 3.0, "end": 3.2}, [75, 76, 77, 78, 79]),
            ({"frames": "all", "start": 0.8, "end": 0.88}, [20, 21]),
        ):
            some = list(video.sample(**options))
            assert [f.index for f in some] == wanted
            for frame in some:
                assert np.array_equal(frame.image, every[frame.index].image)
            assert video.completeness.complete
        # Decoding begins at the keyframe before 3 s; the 60 frames before it are not decoded.
        list(video.sample("all", start=3.0, end=3.1))
        decoded = video.completeness.decoded
        assert decoded <= 35 or kind == "h264 bare"
        assert decoded < 100


def test_only_needed_frames_are_decoded(h264):
    with open_video(h264) as video:
        list(video.sample(2, start=0.0, end=0.2))
        assert video.completeness.decoded < 20


def test_false_keyframes_fall_back_to_decoding_everything(h264):
    """A container that marks every frame as a keyframe: decoding cannot begin at most of them."""
    place = h264.index(b"stss")
    lying = h264[:place] + b"free" + h264[place + 4 :]
    with open_video(lying) as video:
        every = {f.index: f.image for f in video.sample("all")}
        some = list(video.sample(5))
    assert [f.index for f in some] == [10, 30, 50, 70, 90]
    for frame in some:
        assert number_in(frame.image) == frame.index
        assert np.array_equal(frame.image, every[frame.index])


def test_sampling_by_hand(h264):
    assert sampled(h264, 1)[0] == [50]
    assert sampled(h264, 4)[2] == [0.48, 1.48, 2.48, 3.48]
    assert sampled(h264, 200)[0] == list(range(100))
    assert len(sampled(h264)[0]) == 32
    assert sampled(h264, every=2)[0] == [0, 50]
    assert sampled(h264, 2, start=1, end=2)[0] == [31, 43]


def test_variable_frame_rate():
    stamps = [0, 1, 2, 50, 51, 99]
    data = clip(range(6), stamps=stamps, options={"bf": "2"})
    numbers, _, times = sampled(data, "all")
    assert (numbers, times) == (list(range(6)), pytest.approx([s / 25 for s in stamps]))
    assert sampled(data, every=1.0)[0] == [0, 2, 3, 4]  # at 0, 1, 2 and 3 s
    late = clip(range(6), stamps=[s + 500 for s in stamps], container="matroska")
    assert sampled(late, "all")[2] == pytest.approx([s / 25 for s in stamps], abs=2e-3)


def test_invalid_options(h264):
    with open_video(h264) as video:
        for options in (
            {"frames": 0},
            {"frames": 1.5},
            {"frames": "some"},
            {"every": 0},
            {"every": float("nan")},
            {"every": 1, "frames": 3},
            {"start": -1},
            {"start": 2, "end": 2},
            {"end": float("nan")},
        ):
            with pytest.raises(ValueError, match=r"frames|every|start|number"):
                video.sample(**options)
        with pytest.raises(InputError, match=r"it lasts 4.00 s and has no frames from 4.1 s on"):
            video.sample(start=4.1)
