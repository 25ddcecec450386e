"""A scan resumes where it stopped, scores only what is new or changed, and survives being killed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.scan_helpers import CRASH, KILL, folder, probability, slow, square, write

from redeepfake_nb import (
    Classifier,
    EmptyFile,
    JournalError,
    ModelIncomplete,
    ScanResult,
    open_scan,
    save_model,
    scan,
)
from redeepfake_nb.faces import detection
from redeepfake_nb.models.tested_kinds import KindResult
from redeepfake_nb.scanning import file_scoring
from redeepfake_nb.scanning.scheduler import _model_identity

TESTS = Path(__file__).resolve().parents[1]
VARYING = ["seconds", "scored_at"]


class Counting:
    """The detector of ``scan_helpers``, counting the images that it is called with."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image: np.ndarray) -> list:
        self.calls += 1
        return square(image)

    def reset(self) -> int:
        """Return the number of calls since the last reset."""
        calls, self.calls = self.calls, 0
        return calls


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return folder(tmp_path / "files")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


@pytest.fixture
def detector() -> Counting:
    return Counting()


@pytest.fixture(scope="module")
def model(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(classifier, tmp_path_factory.mktemp("model") / "tiny.keras")


def table(result: ScanResult) -> pd.DataFrame:
    return result.to_frame().drop(columns=VARYING)


def column(result: ScanResult, name: str) -> list:
    return [getattr(row, name) for row in result.rows()]


def test_everything_is_scored_once(
    classifier: Classifier, files: Path, journal: Path, detector: Counting
) -> None:
    steps: list[tuple[int, int | None]] = []
    result = scan(
        files, journal, classifier, workers=0, detector=detector, progress=lambda *step: steps.append(step)
    )
    assert column(result, "path") == [str(files / f"{i:02d}.png") for i in range(6)]
    assert column(result, "score") == pytest.approx(
        [probability(20 + 200 * i // 5) for i in range(6)], abs=1e-4
    )
    assert column(result, "verdict")[0] == "real"
    assert column(result, "verdict")[-1] == "fake"
    assert steps[-1] == (6, 6)
    assert sorted(steps) == steps
    assert not result.cancelled
    assert detector.reset() == 6

    again = scan(files, journal, classifier, workers=0, detector=detector)
    assert detector.reset() == 0
    pd.testing.assert_frame_equal(again.to_frame(), result.to_frame())
    assert again.scan.state == "finished"


def test_changed_and_new_files_are_scored(
    classifier: Classifier, files: Path, journal: Path, detector: Counting
) -> None:
    scan(files, journal, classifier, workers=0, detector=detector)
    detector.reset()
    before = os.stat(files / "02.png")
    write(files / "02.png", 240)
    os.utime(files / "02.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    write(files / "99.png", 130)
    (files / "03.png").unlink()
    result = scan(files, journal, classifier, workers=0, detector=detector)
    assert detector.reset() == 2
    assert [Path(p).name for p in column(result, "path")] == [
        "00.png", "01.png", "02.png", "04.png", "05.png", "99.png",
    ]  # fmt: skip
    assert column(result, "score")[2] == pytest.approx(probability(240), abs=1e-4)

    # Bytes that were scored before are not scored again.
    write(files / "03.png", 240)
    result = scan(files, journal, classifier, workers=0, detector=detector)
    assert detector.reset() == 0
    assert column(result, "duplicate_of")[3] == str(files / "02.png")


def test_other_settings_and_models_are_separate_scans(
    classifier: Classifier, files: Path, journal: Path, detector: Counting, model: Path
) -> None:
    first = scan(files, journal, classifier, workers=0, detector=detector)
    lower = scan(files, journal, classifier, workers=0, detector=detector, threshold=0.1)
    assert detector.reset() == 12
    assert column(first, "verdict") != column(lower, "verdict")
    assert column(first, "threshold") == [0.6] * 6

    weights = classifier.keras_model.get_weights()
    try:
        classifier.keras_model.set_weights([*weights[:-1], weights[-1] + 1])
        other = scan(files, journal, classifier, workers=0, detector=detector)
    finally:
        classifier.keras_model.set_weights(weights)
    assert detector.reset() == 6
    assert all(np.array(column(other, "score")) > np.array(column(first, "score")))
    saved = scan(files, journal, model, workers=0, detector=detector)
    assert detector.reset() == 6
    # A saved file may be scored by another runtime, which adds in another order.
    assert column(saved, "score") == pytest.approx(column(first, "score"), abs=1e-6)
    assert len({r.scan.id for r in (first, lower, other, saved)}) == 4
    assert len({r.scan.model_sha256 for r in (first, other, saved)}) == 3
    pd.testing.assert_frame_equal(open_scan(journal, first.scan.id).to_frame(), first.to_frame())
    assert open_scan(journal).scan.id == saved.scan.id


def test_duplicates_are_scored_once_and_all_listed(
    classifier: Classifier, files: Path, journal: Path, detector: Counting
) -> None:
    shutil.copy(files / "01.png", files / "10.png")
    shutil.copy(files / "01.png", files / "00-first.png")
    (files / "a.jpg").write_bytes(b"")
    (files / "b.jpg").write_bytes(b"")
    result = scan([files, files / "01.png"], journal, classifier, workers=0, detector=detector)
    assert detector.reset() == 6
    rows = {Path(row.path).name: row for row in result.rows()}
    assert len(rows) == 10
    # The first one listed counts as the original.
    assert rows["00-first.png"].duplicate_of is None
    assert rows["01.png"].duplicate_of == rows["10.png"].duplicate_of == str(files / "00-first.png")
    assert rows["01.png"].score == rows["10.png"].score == rows["00-first.png"].score
    assert rows["b.jpg"].duplicate_of == str(files / "a.jpg")
    assert rows["b.jpg"].error == "EmptyFile"


def test_failed_files_are_retried_on_request_only(
    classifier: Classifier, files: Path, journal: Path, detector: Counting
) -> None:
    (files / "half.png").write_bytes((files / "00.png").read_bytes()[:100])
    absent = files / "later.png"
    named = [files, absent]
    result = scan(named, journal, classifier, workers=0, detector=detector)
    assert column(result, "status")[-2:] == ["failed", "failed"]
    assert column(result, "error")[-2:] == ["TruncatedMedia", "InputError"]
    detector.reset()
    scored_at = column(result, "scored_at")

    result = scan(named, journal, classifier, workers=0, detector=detector)
    assert column(result, "scored_at")[:-1] == scored_at[:-1]
    assert detector.reset() == 0
    write(absent, 33)
    result = scan(named, journal, classifier, workers=0, detector=detector, retry_failed=True)
    assert detector.reset() == 1
    assert column(result, "status")[-2:] == ["failed", "done"]
    assert column(result, "scored_at")[-2] > scored_at[-2]


def test_file_that_changes_between_fingerprint_and_score(
    classifier: Classifier, files: Path, journal: Path
) -> None:
    """Its outcome belongs to the bytes that were scored; its former duplicate has its own."""
    shutil.copy(files / "00.png", files / "copy.png")
    old = (files / "00.png").read_bytes()
    changed = []

    def detector(image: np.ndarray) -> list:
        return square(image)

    original = file_scoring._read

    def reading(path: str, max_pixels: int | None) -> object:
        if path.endswith("00.png") and not changed:
            changed.append(write(files / "00.png", 222))
        return original(path, max_pixels)

    patch = pytest.MonkeyPatch()
    patch.setattr(file_scoring, "_read", reading)
    try:
        result = scan(files, journal, classifier, workers=0, detector=detector)
    finally:
        patch.undo()
    rows = {Path(row.path).name: row for row in result.rows()}
    assert rows["00.png"].score == pytest.approx(probability(222), abs=1e-4)
    assert rows["copy.png"].score == pytest.approx(probability(20), abs=1e-4)
    assert rows["copy.png"].duplicate_of is None
    assert (files / "copy.png").read_bytes() == old
    again = scan(files, journal, classifier, workers=0, detector=detector)
    pd.testing.assert_frame_equal(again.to_frame(), result.to_frame())


def test_cancelled_scan_keeps_its_outcomes(
    classifier: Classifier, files: Path, journal: Path, detector: Counting
) -> None:
    whole = table(scan(files, journal.with_name("whole.sqlite"), classifier, workers=0, detector=detector))
    detector.reset()
    stop = threading.Event()

    def progress(done: int, total: int | None) -> None:
        if done >= 2:
            stop.set()

    result = scan(files, journal, classifier, workers=0, detector=detector, progress=progress, cancel=stop)
    assert result.cancelled
    assert result.scan.state == "stopped"
    assert open_scan(journal).cancelled
    done = detector.reset()
    assert 2 <= result.counts["done"] < 6
    assert result.counts["done"] + result.counts["waiting"] == 6
    result = scan(files, journal, classifier, workers=0, detector=detector)
    assert done + detector.reset() <= 7
    pd.testing.assert_frame_equal(table(result), whole)


def test_one_scan_at_a_time(classifier: Classifier, files: Path, journal: Path, detector: Counting) -> None:
    def second(done: int, total: int | None) -> None:
        with pytest.raises(JournalError, match="another scan is writing"):
            scan(files, journal, classifier, workers=0, detector=detector)

    result = scan(files, journal, classifier, workers=0, detector=detector, progress=second)
    assert result.counts["done"] == 6


def test_error_in_the_progress_callback_stops_the_scan_cleanly(
    classifier: Classifier, files: Path, journal: Path, detector: Counting
) -> None:
    def careless(done: int, total: int | None) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        scan(files, journal, classifier, workers=0, detector=detector, progress=careless)
    assert open_scan(journal).scan.state == "stopped"
    assert sorted(os.listdir(journal.parent)) == ["files", "results.sqlite"]
    assert scan(files, journal, classifier, workers=0, detector=detector).counts["done"] == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": -1}, "workers must be a number"),
        ({"workers": 2, "executor": object()}, "workers or an executor, not both"),
        ({"time_limit": 0}, "time_limit must be"),
        ({"frames": 0}, "frames must be"),
        ({"threshold": 2}, "threshold must lie"),
        ({"detector": "magic"}, "magic"),
        ({"detector": lambda image: []}, "cannot import this detector"),
        ({"aggregation": "magic"}, "unknown aggregation"),
    ],
)
def test_invalid_options_raise_before_a_journal_is_created(
    classifier: Classifier, files: Path, journal: Path, options: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        scan(files, journal, classifier, **options)
    assert not journal.exists()


def test_missing_files_or_model_leave_no_journal(
    classifier: Classifier, tmp_path: Path, journal: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(EmptyFile):
        scan(tmp_path / "nothing", journal, classifier)
    with pytest.raises(ModelIncomplete):
        scan(tmp_path, journal, tmp_path / "absent.keras")
    assert not journal.exists()


# -- with processes


@pytest.mark.slow
def test_worker_processes_give_the_same_table_and_survive_bad_files(
    classifier: Classifier, files: Path, tmp_path: Path
) -> None:
    expected = table(scan(files, tmp_path / "a.sqlite", classifier, workers=0, detector=square))
    result = scan(files, tmp_path / "b.sqlite", classifier, workers=2, detector=square)
    pd.testing.assert_frame_equal(table(result), expected)

    write(files / "03-crash.png", 50, CRASH)
    write(files / "04-kill.png", 50, KILL)
    result = scan(files, tmp_path / "b.sqlite", classifier, workers=2, detector=square)
    rows = {Path(row.path).name: row for row in result.rows()}
    assert result.counts == {"waiting": 0, "done": 6, "no face": 0, "partial": 0, "failed": 2}
    assert rows["03-crash.png"].error == rows["04-kill.png"].error == "WorkerLost"
    assert "SIGSEGV" in rows["03-crash.png"].cause
    assert "SIGKILL" in rows["04-kill.png"].cause
    good = table(result)[lambda t: t["status"] == "done"].reset_index(drop=True)
    pd.testing.assert_frame_equal(good, expected)


@pytest.mark.slow
def test_a_registered_detector_is_known_to_worker_processes(
    classifier: Classifier, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection, "_DETECTORS", dict(detection._DETECTORS))
    detection.register_detector("mine", lambda: square)
    result = scan(files, tmp_path / "a.sqlite", classifier, workers=1, detector="mine")
    expected = scan(files, tmp_path / "b.sqlite", classifier, workers=0, detector=square)
    pd.testing.assert_frame_equal(table(result), table(expected))
    assert result.settings["detector"] == "helpers.scan_helpers.square"


def start_scan(files: Path, journal: Path, model: Path) -> subprocess.Popen:
    """Start a scan in a process group of its own."""
    code = (
        "import sys; from redeepfake_nb import scan; from helpers.scan_helpers import slow\n"
        "scan(*sys.argv[1:], workers=2, detector=slow)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(files), str(journal), str(model)],
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])},
    )


def files_done(journal: Path) -> int:
    """Number of files that are not waiting, read as any other program would."""
    if not journal.exists():
        return 0
    base = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    try:
        return base.execute("SELECT COUNT(*) FROM files WHERE status != 'waiting'").fetchone()[0]
    except sqlite3.OperationalError:
        return 0  # the tables do not exist yet, or are being written
    finally:
        base.close()


def wait_for(condition: object, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_killed_three_times_the_table_equals_an_undisturbed_run(
    model: Path, journal: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    files = folder(tmp_path / "files", 24)
    shutil.copy(files / "03.png", files / "30.png")
    (files / "05-empty.png").write_bytes(b"")
    write(files / "06-nobody.png", None)
    expected = table(scan(files, tmp_path / "whole.sqlite", model, workers=0, detector=slow))
    assert len(expected) == 27

    before = 0
    for reached in (1, 8, 16):
        process = start_scan(files, journal, model)
        wait_for(lambda at=reached: files_done(journal) >= at)
        time.sleep(rng.uniform(0, 0.3))
        assert process.poll() is None, "it ended before it was killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_for(lambda group=process.pid: group_is_gone(group))
        base = sqlite3.connect(journal)
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert base.execute("SELECT COUNT(*), COUNT(DISTINCT path) FROM files").fetchone() == (27, 27)
        base.close()
        assert files_done(journal) >= max(before, reached)
        before = files_done(journal)
    result = scan(files, journal, model, workers=2, detector=slow)
    pd.testing.assert_frame_equal(table(result), expected)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_its_scan(model: Path, journal: Path, tmp_path: Path, sent: int) -> None:
    files = folder(tmp_path / "files", 24)
    process = start_scan(files, journal, model)
    wait_for(lambda: files_done(journal) >= 1)
    # SIGINT reaches the whole group, as from a terminal; SIGKILL the scan alone.
    (os.killpg if sent == signal.SIGINT else os.kill)(process.pid, sent)
    assert process.wait(60) != 0
    wait_for(lambda: group_is_gone(process.pid), 60)
    assert 0 < files_done(journal) < 24
    if sent == signal.SIGINT:
        assert open_scan(journal).scan.state == "stopped"
        assert not list(journal.parent.glob(".*.lock"))


def test_what_the_card_says_besides_changes_no_identity(classifier: Classifier) -> None:
    """Nothing is scored again because the model was tested on more kinds of fakes."""
    card = classifier.card
    tested = replace(card, tested_on=(KindResult("edited", "A", 0.9, 0.8, 1.0, 10, 10),), licence="MIT")
    identity = _model_identity(classifier, card)
    assert _model_identity(classifier.with_card(tested), tested) == identity
    mirrored = replace(card, mirror=True)
    assert _model_identity(classifier.with_card(mirrored), mirrored) != identity
