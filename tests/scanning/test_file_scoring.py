"""Every file has an outcome that equals the report of the analysis functions, whatever is scored with it."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import scan_helpers
from helpers.hostile_videos import two_streams
from helpers.metadata_files import with_chunk
from helpers.scan_helpers import probability, square, write
from helpers.small_clips import clip, detect_squares, level, picture, three_seconds

from redeepfake_nb import Classifier, UnsuitableModel, analyze_image, analyze_video
from redeepfake_nb.errors import EmptyFile
from redeepfake_nb.scanning.file_scoring import FileScorer, Outcome, ScanSettings

SETTINGS = ScanSettings(detector=square, threshold=0.6)


def score(classifier: Classifier, paths: list[Path], settings: ScanSettings = SETTINGS) -> list[Outcome]:
    found = dict(FileScorer(classifier, settings).score([str(p) for p in paths], lambda index: None))
    return [found[i] for i in range(len(paths))]


def test_images_equal_analyze_image(classifier: Classifier, tmp_path: Path) -> None:
    greys = [10, 100, 140, 150, 250, None, 30]
    paths = [write(tmp_path / f"{i}.png", grey) for i, grey in enumerate(greys)]
    found = score(classifier, paths)
    for path, grey, outcome in zip(paths, greys, found, strict=True):
        report = analyze_image(path, classifier, detector=square)
        if grey is None:
            assert (outcome.status, outcome.score, outcome.verdict) == ("no face", None, "inconclusive")
            assert outcome.reasons[0].startswith("no face was found")
            continue
        assert outcome.status == "done"
        assert outcome.score == pytest.approx(probability(grey), abs=1e-4)
        assert outcome.score == pytest.approx(report.predictions[0].probability, abs=1e-6)
        # Where nothing was found, a row names what the model cannot see, as the headline of a report does.
        unseen = (report.verdict.limits,) if report.verdict.label == "real" else ()
        assert (outcome.verdict, outcome.reasons) == (report.verdict.label, report.verdict.reasons + unseen)
        assert outcome.sha256 == report.frame.source.sha256
        assert (outcome.kind, outcome.format, outcome.width, outcome.faces) == ("image", "PNG", 96, 1)
        assert outcome.detail["faces"][0]["size_px"] == 64
        assert not {"settings", "timing", "model", "source"} & set(outcome.detail)


def test_a_limit_on_pixels_and_a_stream_are_those_of_the_settings(
    classifier: Classifier, tmp_path: Path
) -> None:
    still, moving = write(tmp_path / "a.png", 140), tmp_path / "b.mkv"
    moving.write_bytes(two_streams())
    low = replace(SETTINGS, max_pixels=5000, frames=4)
    assert [found.error for found in score(classifier, [still, moving], low)] == ["MediaTooLarge"] * 2
    high = replace(SETTINGS, max_pixels=10_000, frames=4, stream=2)
    one, two = score(classifier, [still, moving], high)
    assert (one.status, two.status) == ("done", "no face")
    assert "only video stream 2 of 2 looked at, as chosen" in two.reasons
    (by_itself,) = score(classifier, [moving], replace(SETTINGS, frames=4))
    assert [reason for reason in by_itself.reasons if "stream 1 of 2" in reason]


def test_what_files_declare_is_part_of_the_outcome(classifier: Classifier, tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", 140)
    plain = write(tmp_path / "b.png", 140)
    path.write_bytes(with_chunk(path.read_bytes(), b"tEXt", b"Software\0Midjourney"))
    damaged = write(tmp_path / "c.png", 140)
    damaged.write_bytes(with_chunk(damaged.read_bytes(), b"eXIf", b"nonsense"))
    claimed, silent, unread = score(classifier, [path, plain, damaged])
    assert (claimed.declared, silent.declared, unread.declared) == ("claimed", None, None)
    assert claimed.reasons[0] == "The file claims, unsigned: Midjourney (PNG text “Software”)"
    assert claimed.reasons[1:] == silent.reasons
    assert claimed.detail["provenance"]["declared_ai"] == "claimed"
    # Damaged metadata cost neither the score nor the verdict.
    assert len({(outcome.score, outcome.verdict) for outcome in (claimed, silent, unread)}) == 1
    assert unread.detail["provenance"]["unread"] == ["EXIF: it is not an EXIF structure"]


def test_score_does_not_depend_on_the_batch(classifier: Classifier, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.png", int(g)) for i, g in enumerate(np.linspace(5, 250, 9))]
    together = score(classifier, paths)
    single = [score(classifier, [path])[0] for path in paths]
    reversed_order = score(classifier, paths[::-1])[::-1]
    assert [o.score for o in together] == [o.score for o in single] == [o.score for o in reversed_order]


def test_video_equals_analyze_video(classifier: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "clip.bin"
    path.write_bytes(three_seconds())
    settings = ScanSettings(frames=10, detector=detect_squares, threshold=0.6)
    (outcome,) = score(classifier, [path], settings)
    report = analyze_video(path, classifier, frames=10, detector=detect_squares)
    assert (outcome.status, outcome.kind, outcome.faces) == ("done", "video", 2)
    assert outcome.score == max(p.probability for p in report.persons)
    assert outcome.verdict == report.verdict.label
    assert outcome.duration == pytest.approx(3.0)
    assert [p["person"] for p in outcome.detail["persons"]] == [1, 2]


def test_damaged_video_is_partial(classifier: Classifier, tmp_path: Path) -> None:
    data = bytearray(clip([picture(level(0.9)) for _ in range(30)]))
    del data[len(data) * 2 // 3 :]
    (tmp_path / "cut.mkv").write_bytes(data)
    settings = ScanSettings(frames="all", detector=detect_squares, threshold=0.6)
    (outcome,) = score(classifier, [tmp_path / "cut.mkv"], settings)
    assert outcome.status == "partial"
    assert outcome.score == pytest.approx(0.9, abs=0.02)
    assert not outcome.detail["completeness"]["complete"]


def test_bad_files_do_not_stop_the_others(classifier: Classifier, tmp_path: Path) -> None:
    good = write(tmp_path / "good.png", 200)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no picture at all")
    (tmp_path / "half.png").write_bytes(good.read_bytes()[:200])
    names = ["empty.png", "good.png", "text.png", "half.png", "absent.png", "good.png"]
    found = score(classifier, [tmp_path / name for name in names])
    assert [o.status for o in found] == ["failed", "done", "failed", "failed", "failed", "done"]
    errors = [o.error for o in found if o.error]
    assert errors == ["EmptyFile", "UnsupportedMedia", "TruncatedMedia", "InputError"]
    assert all(o.cause and o.next_step for o in found if o.error)
    # Messages contain no file names, since files with the same bytes share them.
    assert not any("png" in o.cause for o in found if o.error)


def test_unexpected_error_fails_its_own_file_only(classifier: Classifier, tmp_path: Path) -> None:
    def failing_detector(image: np.ndarray) -> list:
        if tuple(image[0, 0]) == scan_helpers.CRASH:
            raise ZeroDivisionError("line one\nline two")
        if tuple(image[0, 0]) == scan_helpers.KILL:
            raise MemoryError
        return square(image)

    paths = [
        write(tmp_path / "a.png", 10),
        write(tmp_path / "b.png", 10, scan_helpers.CRASH),
        write(tmp_path / "c.png", 10, scan_helpers.KILL),
    ]
    a, b, c = score(classifier, paths, ScanSettings(detector=failing_detector, threshold=0.6))
    assert a.status == "done"
    assert (b.error, b.cause) == ("ZeroDivisionError", "line one")
    assert (c.error, c.cause) == ("MediaTooLarge", "there is not enough memory for it")


def test_non_finite_score_fails_its_own_file_only(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {name: getattr(classifier, name) for name in ("logits", "score")}

    def failing(name: str, batch: np.ndarray) -> Any:
        if (batch.max(axis=(1, 2, 3)) == 250).any():
            raise UnsuitableModel("1 of 4 scores are not finite")
        return plain[name](batch)

    for name in plain:
        monkeypatch.setattr(classifier, name, partial(failing, name))
    paths = [write(tmp_path / f"{grey}.png", grey) for grey in (10, 250, 100)]
    found = score(classifier, paths)
    assert [o.status for o in found] == ["done", "failed", "done"]
    assert found[1].error == "UnsuitableModel"


def test_outcomes_round_trip_through_json(classifier: Classifier, tmp_path: Path) -> None:
    outcomes = [
        *score(classifier, [write(tmp_path / "a.png", 77)]),
        Outcome.from_error(EmptyFile("it is empty")),
    ]
    for outcome in outcomes:
        assert Outcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) == outcome


def test_settings_are_validated_and_have_distinct_digests() -> None:
    model = {"sha256": "m"}
    digests = {
        ScanSettings().digest(model),
        ScanSettings(frames=8).digest(model),
        ScanSettings(frames="all").digest(model),
        ScanSettings(threshold=0.6).digest(model),
        ScanSettings(margin=0.1).digest(model),
        ScanSettings(detector="cnn").digest(model),
        ScanSettings(detector=square).digest(model),
        ScanSettings(aggregation="median").digest(model),
        ScanSettings(max_pixels=10).digest(model),
        ScanSettings(stream=2).digest(model),
        ScanSettings().digest({"sha256": "n"}),
    }
    assert len(digests) == 11
    assert ScanSettings().digest(model) == ScanSettings().digest(dict(model))
    assert ScanSettings(detector=square).to_dict()["detector"] == "helpers.scan_helpers.square"
    assert pickle.loads(pickle.dumps(SETTINGS)) == SETTINGS
    for options in (
        {"frames": 0},
        {"frames": "many"},
        {"frames": True},
        {"threshold": 1.0},
        {"margin": -1},
        {"detector": 5},
        {"aggregation": "magic"},
        {"max_pixels": 0},
        {"stream": True},
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - each has its own message
            ScanSettings(**options)
