"""Labelled videos: metrics of videos and of frames by hand, and nothing that has no score is lost."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.small_clips import clip, detect_squares, level, picture

from redeepfake_nb import Classifier, InputError, evaluate, open_scan, scan
from redeepfake_nb.datasets import LabelledVideos, read_videos
from redeepfake_nb.datasets.labelled_faces import label_table
from redeepfake_nb.evaluation import VideoAssessment
from redeepfake_nb.scanning import assess_scan, assess_videos

# File -> P(fake) of the frames' left and right faces; None: no face.
CLIPS = {
    "real/low.mkv": [(0.1, None)] * 4,
    "real/high.mkv": [(0.7, None)] * 4,
    "fake/high.mkv": [(0.9, None)] * 4,
    "fake/two.mkv": [(None, None), (0.2, 0.8), (0.2, 0.8), (0.2, 0.3)],
    "fake/empty.mkv": [(None, None)] * 4,
}


def calls(image: np.ndarray) -> list:
    calls.count += 1  # type: ignore[attr-defined]
    return detect_squares(image)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name, frames in CLIPS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        levels = [[None if p is None else level(p) for p in pair] for pair in frames]
        (folder / name).write_bytes(clip([picture(*pair) for pair in levels]))
    (folder / "real" / "broken.mkv").write_bytes(b"\x1a\x45\xdf\xa3 and nothing else")
    (folder / "real" / "z_copy.mkv").write_bytes((folder / "real" / "low.mkv").read_bytes())
    (folder / "stray.mkv").write_bytes(b"")
    return folder


def run(folder: Path, journal: Path, classifier: Classifier, **options: object) -> VideoAssessment:
    options = {"frames": "all", "detector": calls, "workers": 0, "resamples": 20, **options}
    calls.count = 0  # type: ignore[attr-defined]
    return assess_videos(classifier, read_videos(folder), journal, **options)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal") / "results.sqlite"


@pytest.fixture(scope="module")
def found(folder: Path, journal: Path, classifier: Classifier) -> VideoAssessment:
    return run(folder, journal, classifier)


def test_a_video_has_the_score_of_its_verdict(found: VideoAssessment) -> None:
    table = found.videos.table.set_index("file")
    assert list(table.index) == ["fake/high.mkv", "fake/two.mkv", "real/high.mkv", "real/low.mkv"]
    # The right face's mean logit; the left face is less suspicious.
    mean = 1 / (1 + np.exp(-(2 * np.log(4) + np.log(3 / 7)) / 3))
    np.testing.assert_allclose(table["probability"], [0.9, mean, 0.7, 0.1], atol=0.01)
    assert table.loc["fake/two.mkv", ["persons", "frames", "frames_with_face"]].tolist() == [2, 4, 3]
    assert found.videos.metrics["auc"].value == 3 / 4
    assert found.videos.confusion().to_numpy().tolist() == [[1, 1], [0, 2]]
    assert found.worst()["file"].tolist() == ["real/high.mkv"]
    assert (found.threshold, found.videos.group) == (0.6, None)


def test_a_frame_has_its_highest_score_and_stays_with_its_video(found: VideoAssessment) -> None:
    frames = found.frames
    assert frames is not None
    two = frames.table[frames.table["file"] == "fake/two.mkv"]
    np.testing.assert_allclose(two["probability"], [0.8, 0.8, 0.3], atol=0.01)
    assert two["faces"].tolist() == [2, 2, 2]
    np.testing.assert_allclose(two["time_s"], [0.1, 0.2, 0.3], atol=0.01)
    expected = evaluate(
        frames.y, frames.probabilities, groups=frames.table["file"].to_numpy(), threshold=0.6, resamples=0
    )
    assert frames.metrics == expected
    assert (len(frames), expected.groups) == (15, 4)
    # Of the 7 x 8 pairs the fake frame of 0.3 lies under the four real ones of 0.7.
    assert expected["auc"].value == pytest.approx(1 - 4 / 56)


def test_what_has_no_score_is_listed(found: VideoAssessment) -> None:
    left_out = found.left_out().set_index("file")
    assert left_out["reason"].to_dict() == {
        "fake/empty.mkv": "no face",
        "real/broken.mkv": "failed",
        "real/z_copy.mkv": "duplicate",
    }
    assert left_out.loc["real/z_copy.mkv", "cause"] == "it has the same bytes as real/low.mkv"
    assert left_out.loc["real/broken.mkv", "cause"]
    assert found.verdicts().loc["FAKE", "no face"] == 1
    assert found.verdicts().loc["REAL", "failed"] == 1
    assert found.verdicts().to_numpy().sum() == 6
    assert found.unlabelled == ("stray.mkv",)
    values = found.to_dict()
    assert (values["labelled_videos"], values["scored"], values["unlabelled"]) == (7, 4, 1)
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_a_second_call_analyses_nothing_again(
    found: VideoAssessment, folder: Path, journal: Path, classifier: Classifier
) -> None:
    again = run(folder, journal, classifier, false_positive_rate=0.0)
    # Only the file that could not be opened is tried again, and it has no frame.
    assert calls.count == 0  # type: ignore[attr-defined]
    pd.testing.assert_frame_equal(again.videos.table, found.videos.table)
    assert again.operating_point is not None
    assert again.threshold == again.videos.table.set_index("file").loc["fake/high.mkv", "probability"]
    # The journal of a scan of the same files can be evaluated without a model at hand.
    read = assess_scan(open_scan(journal), read_videos(folder), threshold=0.95, resamples=0)
    assert not read.videos.predicted_fake.any()


def test_groups_and_origins(folder: Path, journal: Path, found: VideoAssessment) -> None:
    videos = read_videos(folder)
    person = {"fake/high.mkv": "a", "real/high.mkv": "a", "fake/two.mkv": "b", "real/low.mkv": "c"}
    files = videos.table["file"]
    source = ["web" if file == "fake/high.mkv" else None for file in files]
    table = videos.table.assign(identity=files.map(person), source=source)
    named = assess_scan(open_scan(journal), LabelledVideos(table, folder), resamples=0)
    # People are known of all videos with a score, if not of the others.
    assert (named.videos.group, named.videos.metrics.groups) == ("identity", 3)
    assert named.frames is not None
    assert named.frames.metrics.groups == 3
    for scored, count in ((named.videos, 1), (named.frames, 4)):
        (row,) = scored.origins.to_dict("records")
        assert (row["value"], row[scored.unit], row["auc"], row["predicted_fake"]) == ("web", count, 1, 1)


def test_contradicting_labels_are_left_out(folder: Path, journal: Path, found: VideoAssessment) -> None:
    videos = read_videos(folder)
    turned = videos.table["file"].isin(["real/z_copy.mkv", "real/high.mkv"])
    table = videos.table.assign(label=videos.table["label"].where(~turned, "FAKE"))
    with pytest.raises(InputError, match="0 are real and 3 fake, which is not enough") as raised:
        assess_scan(open_scan(journal), LabelledVideos(table, folder), resamples=0)
    assert "2 contradicting labels" in raised.value.cause


def test_a_folder_in_the_list_fails_and_is_not_searched(
    folder: Path, tmp_path: Path, classifier: Classifier
) -> None:
    rows = [("real/high.mkv", "REAL"), ("fake/high.mkv", "FAKE"), ("fake", "FAKE"), ("list.csv", "REAL")]
    listed = LabelledVideos(
        label_table({"file": [row[0] for row in rows], "label": [row[1] for row in rows]}, folder, "video"),
        folder,
    )
    options = {"frames": 1, "detector": detect_squares, "workers": 0, "resamples": 0}
    found = assess_videos(classifier, listed, tmp_path / "r.sqlite", **options)
    assert found.left_out()["cause"].tolist() == ["this is a folder", "this is a list, not a video"]
    assert len(open_scan(tmp_path / "r.sqlite").rows()) == 2


def test_one_label_alone_is_refused_before_the_scan(
    folder: Path, tmp_path: Path, classifier: Classifier
) -> None:
    videos = read_videos(folder)
    with pytest.raises(InputError, match="0 FAKE; metrics need both labels"):
        assess_videos(classifier, videos.take(np.flatnonzero(videos.y == 0)), tmp_path / "journal.sqlite")
    assert not (tmp_path / "journal.sqlite").exists()


def test_videos_that_were_not_analysed_yet(folder: Path, tmp_path: Path, classifier: Classifier) -> None:
    with pytest.raises(InputError, match="7 not analysed"):
        run(folder, tmp_path / "results.sqlite", classifier, cancel=lambda: True)
    videos, path = read_videos(folder), tmp_path / "some.sqlite"
    some = videos.take([1, 4])
    scan(some.paths, path, classifier, frames=1, detector=detect_squares, workers=0)
    found = assess_scan(open_scan(path), videos, resamples=0)
    assert found.videos.table["file"].tolist() == ["fake/high.mkv", "real/high.mkv"]
    assert found.left_out()["reason"].tolist() == ["not analysed"] * 5
    assert found.verdicts()["not analysed"].tolist() == [3, 2]


def test_a_journal_of_an_older_version_has_no_frames(
    folder: Path, journal: Path, found: VideoAssessment, tmp_path: Path
) -> None:
    path = tmp_path / "older.sqlite"
    path.write_bytes(journal.read_bytes())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE details SET detail = json_remove(detail, '$.sightings')")
    connection.close()
    old = assess_scan(open_scan(path), read_videos(folder), resamples=0)
    assert (old.frames, old.without_frames) == (None, 4)
    np.testing.assert_array_equal(old.videos.probabilities, found.videos.probabilities)


def test_calibration_reaches_the_frames(folder: Path, tmp_path: Path, classifier: Classifier) -> None:
    card = replace(classifier.card, temperature=2.0)
    found = run(folder, tmp_path / "r.sqlite", Classifier(classifier.keras_model, card), resamples=0)
    assert found.frames is not None
    one = found.frames.table[found.frames.table["file"] == "fake/high.mkv"]["probability"]
    np.testing.assert_allclose(one, 1 / (1 + np.exp(-np.log(9) / 2)), atol=0.01)
    assert found.videos.temperature == 2.0
