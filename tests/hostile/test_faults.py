"""Failures around files: full disk, missing permission, deleted files, interrupts, insufficient memory.

Every writer of the package then raises a typed error or passes the interrupt on, and leaves no partial file:
the previous files are unchanged.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import hostile_videos, small_clips
from helpers.hostile_pictures import png
from helpers.numbered_clips import clip
from helpers.sandbox import Sandbox

from redeepfake_nb import analyze_image, analyze_video, cli, open_video, read_image, report, save_model, view
from redeepfake_nb.datasets.landmarks import LandmarkStore
from redeepfake_nb.datasets.samples import sample_image, write_samples
from redeepfake_nb.datasets.synthetic import make_practice_set
from redeepfake_nb.errors import InputError, OutputError
from redeepfake_nb.models import loading
from redeepfake_nb.training.logs import write_history

Writer = Callable[[Path], object]


@pytest.fixture(scope="module")
def video_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.mkv"
    path.write_bytes(small_clips.three_seconds())
    return path


@pytest.fixture(scope="module")
def writers(classifier, video_file) -> dict[str, Writer]:
    """All writers of the package; each takes the folder to write into."""
    image = analyze_image(sample_image(), classifier)
    video = analyze_video(
        video_file, classifier, frames=8, detector=small_clips.detect_squares, explain_top=0
    )

    def landmarks(folder: Path) -> None:
        store = LandmarkStore.__new__(LandmarkStore)
        store.path, store._set, store._saved = folder / "landmarks.npz", "set", 0
        store._points, store._lock = {"a.jpg": np.zeros((68, 2), np.float32)}, threading.Lock()
        store._write()

    return {
        "picture report": lambda folder: report.save(image, folder),
        "video report": lambda folder: report.save(video, folder),
        "replaced report": lambda folder: report.save(image, folder, overwrite=True),
        "annotated video": lambda folder: report.annotate_video(video, folder / "annotated.mp4"),
        "model": lambda folder: save_model(classifier, folder / "model.keras"),
        "samples": write_samples,
        "practice faces": lambda folder: make_practice_set(folder, 1),
        "history": lambda folder: write_history(folder / "history.csv", [{"step": 1, "loss": 0.5}] * 200),
        "landmarks": landmarks,
    }


WRITERS = (
    "picture report", "video report", "replaced report", "annotated video", "model", "samples",
    "practice faces", "history", "landmarks",
)  # fmt: skip
# These write several complete files one after the other; those that are complete may stay.
SEVERAL = {"samples", "practice faces"}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def whole(name: str, left: dict[str, bytes], good: dict[str, bytes]) -> bool:
    """Tell whether nothing is left, or, by a writer of several files, only complete ones."""
    return left == {} or (name in SEVERAL and left.items() <= good.items())


@pytest.fixture(scope="module")
def good(writers, tmp_path_factory) -> dict[str, dict[str, bytes]]:
    """What each writer writes without failures."""
    found = {}
    for name, write in writers.items():
        folder = tmp_path_factory.mktemp("good")
        write(folder)
        found[name] = contents(folder)
    return found


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """Limit the size of files in bytes by the system's own limit, which applies to C libraries too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("name", WRITERS)
def test_no_room(writers, good, tmp_path, name):
    largest = max(map(len, good[name].values()))
    with room_for(largest // 2), pytest.raises(OutputError, match=r"[Cc]hoose|[Cc]heck|Try"):
        writers[name](tmp_path)
    assert whole(name, contents(tmp_path), good[name])


@pytest.mark.parametrize("name", WRITERS)
def test_disk_full_at_the_last_move(writers, good, tmp_path, monkeypatch, name):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(Path, "rename", full)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError):
        writers[name](tmp_path)
    assert whole(name, contents(tmp_path), good[name])


@contextlib.contextmanager
def nobody(folder: Path) -> Iterator[None]:
    """Take this process's permission to write into ``folder``."""
    if os.geteuid():
        folder.chmod(0o500)
        try:
            yield
        finally:
            folder.chmod(0o700)
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", WRITERS)
def test_no_permission(writers, good, tmp_path, name):
    with nobody(tmp_path), pytest.raises(OutputError):
        writers[name](tmp_path / "results")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("name", ["picture report", "model", "annotated video", "history", "landmarks"])
def test_what_stood_there_stays_after_a_failure(writers, good, tmp_path, name):
    writers[name](tmp_path)
    before = contents(tmp_path)
    with room_for(max(map(len, before.values())) // 2), pytest.raises(OutputError):
        writers[name](tmp_path)
    assert contents(tmp_path) == before


# ------------------------------------------------------------------ interrupts


def interrupting(call: Callable, at: int = 1) -> Callable:
    """Wrap ``call`` so that its ``at``-th use is preceded by Ctrl-C."""
    count = 0

    def wrapped(*arguments: object, **options: object) -> object:
        nonlocal count
        count += 1
        if count == at:
            signal.raise_signal(signal.SIGINT)
        return call(*arguments, **options)

    return wrapped


@pytest.mark.parametrize(
    ("name", "owner", "function", "at"),
    [
        ("picture report", Path, "write_bytes", 2),
        ("picture report", view, "to_png", 1),
        ("picture report", Path, "rename", 1),
        ("video report", view, "to_png", 2),
        ("replaced report", Path, "write_bytes", 3),
        ("model", os, "replace", 1),
        ("model", os, "replace", 2),
        ("model", os, "replace", 3),
        ("samples", Path, "write_bytes", 2),
        ("practice faces", Path, "write_bytes", 2),
        ("history", os, "replace", 1),
        ("landmarks", os, "replace", 1),
    ],
)
def test_interrupt(writers, good, tmp_path, monkeypatch, name, owner, function, at):
    with monkeypatch.context() as patch:
        patch.setattr(owner, function, interrupting(getattr(owner, function), at))
        with pytest.raises(KeyboardInterrupt):
            writers[name](tmp_path)
    assert whole(name, contents(tmp_path), good[name])


def test_interrupt_while_drawing(classifier, video_file, tmp_path):
    video = analyze_video(
        video_file, classifier, frames=4, detector=small_clips.detect_squares, explain_top=0
    )
    stop = interrupting(lambda done, total: None, at=10)
    with pytest.raises(KeyboardInterrupt):
        report.annotate_video(video, tmp_path / "out.mp4", progress=stop)
    assert contents(tmp_path) == {}


def test_interrupt_of_an_analysis_frees_the_file(classifier, video_file):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    threads = threading.active_count()
    stop = interrupting(lambda done, total: None, at=3)
    with pytest.raises(KeyboardInterrupt):
        analyze_video(video_file, classifier, frames=20, detector=small_clips.detect_squares, progress=stop)
    assert threading.active_count() == threads
    assert not before or len(os.listdir("/proc/self/fd")) <= before


# ------------------------------------------------------------------ files that change in the meantime


def test_the_video_vanishes_before_it_is_drawn(classifier, tmp_path):
    path = tmp_path / "clip.mkv"
    path.write_bytes(small_clips.three_seconds())
    video = analyze_video(path, classifier, frames=4, detector=small_clips.detect_squares, explain_top=0)
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        report.annotate_video(video, tmp_path / "out.mp4")
    assert contents(tmp_path) == {}


def test_a_picture_vanishes_between_looking_and_opening(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(png(1, 1, b""))
    real = os.open

    def late(*arguments: object) -> int:
        path.unlink()
        return real(*arguments)

    monkeypatch.setattr(os, "open", late)
    with pytest.raises(InputError, match="no such file"):
        read_image(path)


def test_a_video_is_cut_while_it_is_read(tmp_path):
    path = tmp_path / "clip.y4m"
    path.write_bytes(clip(range(200), container="yuv4mpegpipe", codec="rawvideo"))
    with open_video(path) as video:
        sample = video.sample("all")
        read = [next(sample).index for _ in range(3)]
        os.truncate(path, path.stat().st_size // 2)
        read += [frame.index for frame in sample]
        done = video.completeness
    assert len(read) < 200
    assert not done.complete
    assert done.first_error


def test_a_video_is_replaced_before_it_is_drawn(classifier, tmp_path):
    path = tmp_path / "clip.mkv"
    path.write_bytes(small_clips.three_seconds())
    video = analyze_video(path, classifier, frames=4, detector=small_clips.detect_squares, explain_top=0)
    path.write_bytes(hostile_videos.plain("matroska"))
    with pytest.raises(InputError):
        report.annotate_video(video, tmp_path / "out.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mkv"]


# ------------------------------------------------------------------ memory


def test_too_little_memory(tmp_path):
    import zlib

    path = tmp_path / "large.png"
    rows = zlib.compress(bytes(8000 * (3 * 8000 + 1)), 1)
    path.write_bytes(png(8000, 8000, rows))
    film = tmp_path / "large.mkv"
    size = (2048, 1152)
    film.write_bytes(
        clip(
            range(3),
            container="matroska",
            codec="mjpeg",
            pix_fmt="yuvj420p",
            size=size,
            picture=lambda n, w, h: np.full((h, w, 3), 9 * n, np.uint8),
        )
    )
    with Sandbox("helpers.reading") as sandbox:
        enough = sandbox.call("helpers.reading:picture", str(path))
        assert (enough.violation, enough.value["outcome"]) == ("", "whole")
        outcomes = set()
        for megabytes in (250, 300, 400, 500, 600):
            result = sandbox.call("helpers.reading:picture_by_path", str(path), memory=megabytes * 2**20)
            assert not result.violation
            outcomes.add(result.value["outcome"])
        assert "MediaTooLarge" in outcomes
        assert outcomes <= {"MediaTooLarge", "whole"}
        for megabytes in (220, 230, 240, 260, 300):
            result = sandbox.call("helpers.reading:video_by_path", str(film), memory=megabytes * 2**20)
            assert not result.violation
            assert result.value["outcome"] in {"MediaTooLarge", "TruncatedMedia", "partial", "whole"}


# ------------------------------------------------------------------ the command line


@pytest.fixture
def analyze(classifier, monkeypatch, tmp_path) -> Callable[..., int]:
    """``redeepfake-nb analyze`` of the sample image with the test classifier."""
    monkeypatch.setattr(loading, "default_classifier", lambda: classifier)
    (picture,) = write_samples(tmp_path / "in")[:1]
    return lambda *options: cli.main(["analyze", str(picture), *options])


def test_command_with_no_room(analyze, tmp_path, capsys):
    with room_for(3000):
        assert analyze("--save", str(tmp_path / "out")) == 1
    assert "redeepfake-nb: " in capsys.readouterr().err
    assert contents(tmp_path / "out") == {}


def test_command_interrupted(analyze, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(view, "to_png", interrupting(view.to_png))
    assert analyze("--save", str(tmp_path / "out")) == 130
    assert "interrupted" in capsys.readouterr().err
    assert contents(tmp_path / "out") == {}


def test_command_out_of_memory(analyze, monkeypatch, capsys):
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("redeepfake_nb.analysis.image.analyze_image", fail)
    assert analyze() == 1
    assert "not enough memory" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_command_whose_output_is_full(analyze, monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert analyze("--json") == 1
    assert "the output cannot be written" in capsys.readouterr().err


def test_command_on_a_gif_that_lies(classifier, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(loading, "default_classifier", lambda: classifier)
    path = tmp_path / "huge.gif"
    path.write_bytes(b"GIF89a" + b"\xff" * 4 + bytes(200))
    assert cli.main(["analyze", str(path)]) == 1
    assert "million" in capsys.readouterr().err
