"""Video reports: the right faces at the right times, from whole or damaged files, scored as single images."""

from __future__ import annotations

import re
import threading
from dataclasses import replace

import numpy as np
import pytest
from helpers.small_clips import LEFT, RATE, RIGHT, clip

from redeepfake_nb import Classifier, InputError, analyze_video, find_faces, open_video, predict
from redeepfake_nb.analysis import video
from redeepfake_nb.datasets.samples import sample_image
from redeepfake_nb.faces.detection import Detection
from redeepfake_nb.media.frames import turned_pixels


def texture(seed: int, low: int, high: int, cells: tuple[int, int], side: int) -> np.ndarray:
    """Coloured squares of ``side`` px."""
    colours = np.random.default_rng(seed).integers(low, high, (*cells, 3)).astype(np.uint8)
    return colours.repeat(side, 0).repeat(side, 1)


def picture(left: int | None, right: int | None = None) -> np.ndarray:
    """A textured scene with squares of these brightnesses where the faces are."""
    image = texture(5, 80, 110, (12, 17), 10)
    for box, level in ((LEFT, left), (RIGHT, right)):
        if level is not None:
            image[box[1] : box[3], box[0] : box[2]] = level
    return image


def detect_squares(image: np.ndarray) -> list[Detection]:
    """Sees a face where one of the squares is: all of one brightness."""
    boxes = [box for box in (LEFT, RIGHT) if np.ptp(image[box[1] : box[3], box[0] : box[2]]) == 0]
    return [Detection(box, 1.0) for box in boxes]


def level(probability: float) -> int:
    """The brightness that the ``classifier`` fixture gives this P(fake)."""
    return round((np.log(probability / (1 - probability)) + 4) / 8 * 255)


@pytest.fixture
def two_people() -> bytes:
    """Three seconds. Left: real, fake in the second one. Right: real, from 0.5 s on, and away for a while."""
    return clip(
        [
            picture(
                level(0.9) if 10 <= i < 20 else level(0.1),
                level(0.2) if i >= 5 and not 15 <= i < 20 else None,
            )
            for i in range(30)
        ]
    )


def test_every_face_at_its_time(two_people: bytes, classifier: Classifier) -> None:
    report = analyze_video(two_people, classifier, frames="all", detector=detect_squares, explain_top=0)
    left, right = report.persons
    assert [s.timestamp for s in left.sightings] == pytest.approx(np.arange(30) / RATE)
    seen = [s for s in right.sightings if not s.bridged]
    expected = [i for i in range(30) if i >= 5 and not 15 <= i < 20]
    assert [s.frame for s in seen] == expected
    assert {s.box for s in left.sightings} == {LEFT}
    middle = [s.probability for s in left.sightings if 10 <= s.frame < 20]
    assert middle == pytest.approx([0.9] * 10, abs=0.01)
    rest = [s.probability for s in left.sightings if not 10 <= s.frame < 20]
    assert rest == pytest.approx([0.1] * 20, abs=0.01)
    assert report.frames == 30
    assert report.face_share == 1.0
    assert report.completeness.complete
    assert left.verdict.label == "inconclusive"
    assert any("frames disagree" in reason for reason in left.verdict.reasons)


def test_scores_are_those_of_single_images(two_people: bytes, classifier: Classifier) -> None:
    report = analyze_video(two_people, classifier, frames=7, detector=detect_squares, explain_top=0)
    with open_video(two_people) as opened:
        for frame in opened.sample(frames=7):
            alone = predict(classifier, find_faces(frame, detect_squares))
            found = {s.box: s.logit for s in report.sightings if s.frame == frame.index and not s.bridged}
            assert found == pytest.approx({p.face.box: p.logit for p in alone}, abs=1e-5)


def test_sampling_and_parts(two_people: bytes, classifier: Classifier) -> None:
    options = {"classifier": classifier, "detector": detect_squares, "explain_top": 0}
    assert analyze_video(two_people, frames=3, **options).frame_times == pytest.approx([0.5, 1.5, 2.5])
    part = analyze_video(two_people, every=0.5, start=1.0, end=2.2, **options)
    assert part.frame_times == pytest.approx([1.0, 1.5, 2.0])
    assert part.settings["frames"] is None
    with pytest.raises(InputError, match="no frames from 9 s on"):
        analyze_video(two_people, start=9.0, **options)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"end": 1.0}, "only the part from 0 s to 1 s of 3.0 s looked at, as chosen"),
        ({"start": 2.0}, "only the part from 2 s to the end of 3.0 s looked at, as chosen"),
        ({"start": 0.5, "end": 9}, "only the part from 0.5 s to the end of 3.0 s looked at, as chosen"),
        ({"end": 3.0}, ""),
    ],
)
def test_what_was_not_chosen_was_not_looked_at(classifier: Classifier, part: dict, words: str) -> None:
    """A fake could hide in the rest."""
    still = clip([picture(level(0.1))] * 30)
    report = analyze_video(still, classifier, frames=8, detector=detect_squares, **part)
    assert [reason for reason in report.verdict.reasons if "as chosen" in reason] == [words] * bool(words)
    assert [note.kind for note in report.source.notes] == ["unseen"] * bool(words)


def test_faces_under_the_smallest_size_stand_in_the_verdict(classifier: Classifier) -> None:
    """A second face, of 20 px, is there in two of six frames, and tracked into their neighbours."""
    small = (0, 0, 20, 20)

    def detect(image: np.ndarray) -> list[Detection]:
        return [*detect_squares(image), *([Detection(small, 1.0)] if np.ptp(image[:20, :20]) == 0 else [])]

    frames = [picture(level(0.1)) for _ in range(6)]
    for image in frames[2:4]:
        image[:20, :20] = level(0.9)
    options = {"frames": "all", "detector": detect}
    report = analyze_video(clip(frames), classifier, min_size=30, **options)
    (left_out,) = [reason for reason in report.verdict.reasons if "left out" in reason]
    assert re.fullmatch(r"in [2-4] frames of 6, faces under 30 px left out, as chosen", left_out)
    assert len(report.persons) == 1
    whole = analyze_video(clip(frames), classifier, min_size=20, **options)
    assert not any("left out" in reason for reason in whole.verdict.reasons)


@pytest.mark.parametrize("explain_top", [0, 1, 6])
def test_the_verdict_does_not_depend_on_how_many_faces_are_shown(
    two_people: bytes, classifier: Classifier, monkeypatch: pytest.MonkeyPatch, explain_top: int
) -> None:
    """The right person's scores are the lower ones, and turn over after a mild change."""
    scored = []

    def turned(_: Classifier, predictions: list) -> list:
        scored.extend((p.face.frame.index, p.face.person) for p in predictions)
        return [replace(p, changed={"a change": -p.logit if p.face.person else p.logit}) for p in predictions]

    monkeypatch.setattr(video, "with_changes", turned)
    report = analyze_video(
        two_people, classifier, frames="all", detector=detect_squares, explain_top=explain_top
    )
    left, right = report.persons
    assert not any("fragile" in reason for reason in left.verdict.reasons)
    assert (
        "fragile score (P(fake) 0.20 becomes 0.80 by a change in 4 of the 4 frames checked)"
        in right.verdict.reasons
    )
    assert len(scored) == len(set(scored)) == 8 + max(explain_top - 4, 0)
    assert {(p.face.frame.index, 0) for p in report.evidence} <= set(scored)
    assert all(p.changed for p in report.evidence)


def test_progress_counts_frames(two_people: bytes, classifier: Classifier) -> None:
    calls = []
    analyze_video(
        two_people,
        classifier,
        frames=5,
        detector=detect_squares,
        explain_top=0,
        progress=lambda *call: calls.append(call),
    )
    assert calls == [(i, 5) for i in range(1, 6)]


@pytest.mark.parametrize("kind", ["event", "callable"])
def test_cancel_keeps_what_was_done(two_people: bytes, classifier: Classifier, kind: str) -> None:
    event = threading.Event()
    report = analyze_video(
        two_people,
        classifier,
        frames="all",
        detector=detect_squares,
        explain_top=0,
        progress=lambda done, total: event.set() if done == 4 else None,
        cancel=event if kind == "event" else event.is_set,
    )
    assert report.cancelled
    assert report.frames == 4
    assert len(report.persons[0].sightings) == 4
    assert report.verdict.label != "real"
    assert "stopped after 4 frames" in report.verdict.reasons
    assert threading.active_count() < 20
    assert not [t for t in threading.enumerate() if t.name == "redeepfake-decode"]


def test_highest_scores_are_kept_with_heatmaps(two_people: bytes, classifier: Classifier) -> None:
    report = analyze_video(
        two_people, classifier, frames="all", detector=detect_squares, explain_top=3, explain="gradcam"
    )
    assert [e.face.frame.index for e in report.evidence] == [10, 11, 12]
    assert len(report.explanations) == 3
    assert {e.face.person for e in report.evidence} == {0}
    face = report.evidence[0].face
    # What is kept is the face and its surroundings, not the frame.
    assert face.frame.width < 170
    np.testing.assert_array_equal(face.crop(0.0), np.full((48, 48, 3), level(0.9)))
    assert set(report.portraits) == {0, 1}
    assert np.ptp(report.portraits[1].face.crop(0.0)) == 0


def test_without_a_face(classifier: Classifier) -> None:
    report = analyze_video(clip([picture(None)] * 5), classifier, detector=detect_squares)
    assert (report.persons, report.evidence, report.face_share) == ((), (), 0.0)
    assert report.verdict.reasons[0].startswith(
        "no face was found: 0 of all 5 frames had a face, one every 0.10 s; "
    )


def test_the_same_face_after_a_cut_is_the_same_person(classifier: Classifier) -> None:
    portrait = sample_image().image
    other = (
        np.random.default_rng(1).integers(0, 256, (16, 16, 3)).astype(np.uint8).repeat(32, 0).repeat(32, 1)
    )
    report = analyze_video(clip([portrait] * 4 + [other] * 4 + [portrait] * 4), classifier, frames="all")
    assert len({s.track for s in report.sightings}) == 2
    assert len(report.persons) == 1
    assert [s.frame for s in report.persons[0].sightings] == [0, 1, 2, 3, 8, 9, 10, 11]


def test_a_person_whose_face_is_hidden_for_a_while_stays_one_person(classifier: Classifier) -> None:
    """The face moves on while it is hidden: first for less time than a track lasts, then for more."""
    portrait = sample_image().image
    left, top, right, bottom = find_faces(portrait, "blazeface")[0].box
    gone = portrait.copy()
    gone[max(top - 40, 0) : bottom + 30, left - 30 : right + 30] = 110
    hidden = [4, 5, 6, 7, *range(12, 36)]
    frames = [np.roll(gone if i in hidden else portrait, 3 * i, axis=1) for i in range(40)]
    report = analyze_video(clip(frames), classifier, every=0.2, explain_top=0)
    (person,) = report.persons
    assert report.frames == 20
    assert [s.frame for s in person.sightings if not s.bridged] == [0, 2, 8, 10, 36, 38]
    assert len(person.tracks) == 2


def test_a_damaged_video_is_analysed_as_far_as_it_can_be_read(classifier: Classifier) -> None:
    pictures = [picture(level(0.1 + 0.02 * (i % 3))) for i in range(40)]
    data = clip(pictures)
    report = analyze_video(
        data[: len(data) * 3 // 4], classifier, frames="all", detector=detect_squares, explain_top=0
    )
    assert 10 < report.frames < 40
    assert not report.completeness.complete
    assert report.verdict.label == "inconclusive"
    assert report.completeness.summary in report.verdict.reasons


def test_an_error_of_the_decoder_reaches_the_caller(classifier: Classifier, two_people: bytes) -> None:
    with pytest.raises(InputError):
        analyze_video(two_people[:600], classifier)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aggregation": "mode"}, "unknown aggregation"),
        ({"threshold": 1.0}, "threshold"),
        ({"explain_top": -1}, "explain_top"),
    ],
)
def test_options_are_checked_before_work(classifier: Classifier, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        analyze_video(b"not read", classifier, **options)


def test_an_error_in_the_detector_stops_the_decoder(classifier: Classifier, two_people: bytes) -> None:
    def broken(image: np.ndarray) -> list[Detection]:
        raise RuntimeError("detector")

    with pytest.raises(RuntimeError, match="detector"):
        analyze_video(two_people, classifier, frames="all", detector=broken)
    assert not [t for t in threading.enumerate() if t.name == "redeepfake-decode"]


def test_small_faces_are_ignored(two_people: bytes, classifier: Classifier) -> None:
    side = min(LEFT[2] - LEFT[0], LEFT[3] - LEFT[1])
    options = {"frames": 5, "detector": detect_squares, "explain_top": 0}
    kept = analyze_video(two_people, classifier, min_size=side, **options)
    assert (kept.settings["min_size"], len(kept.persons)) == (side, 2)
    none = analyze_video(two_people, classifier, min_size=side + 1, **options)
    assert (none.frames, none.sightings) == (5, ())


def test_heatmaps_for_a_target_at_a_layer(two_people: bytes, classifier: Classifier) -> None:
    report = analyze_video(
        two_people,
        classifier,
        frames=3,
        detector=detect_squares,
        explain_top=1,
        explain="layercam",
        target="real",
        layer="conv",
    )
    (explanation,) = report.explanations
    made = explanation.method, explanation.target, explanation.layer
    assert made == ("layercam", "real", "conv")
    assert made == tuple(report.settings[name] for name in ("explain", "target", "layer"))
    time = report.evidence[0].face.frame.timestamp
    assert report.explanation_names == (f"Frame at {time:.2f} s",)


def test_heatmaps_only_where_asked_for(two_people: bytes, classifier: Classifier) -> None:
    report = analyze_video(two_people, classifier, frames=3, detector=detect_squares, explain_top=2)
    assert (len(report.evidence), report.explanations, report.settings["explain"]) == (2, (), None)


def test_a_missing_heatmap_costs_no_score(
    two_people: bytes, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no map")

    options = {"frames": 6, "detector": detect_squares}
    expected = analyze_video(two_people, classifier, **options)
    monkeypatch.setattr("redeepfake_nb.analysis.options.explain", fails)
    found = analyze_video(two_people, classifier, explain="gradcam", **options)
    assert [s.logit for s in found.sightings] == [s.logit for s in expected.sightings]
    assert found.verdict == expected.verdict
    assert (found.explanations, found.heatmap_error) == ((), "no map")
    assert found.to_dict()["heatmap_error"] == "no map"


def test_a_video_on_its_side_is_turned_and_says_so(classifier: Classifier) -> None:
    upright = np.ascontiguousarray(sample_image().image[:300, 100:340])
    lying = clip([turned_pixels(upright, 270)] * 6)
    report = analyze_video(lying, classifier, frames=3, explain_top=1)
    (person,) = report.persons
    assert len(person.sightings) == 3
    assert report.frame_size == (240, 300)
    assert report.settings["turned"] == 90
    said = "turned 90 degrees clockwise, because faces are upright only so"
    assert said in report.source.warnings
    assert said in report.verdict.reasons
    with report.open_again() as video:
        assert (video.width, video.height) == (240, 300)
        (frame,) = video.sample(frames=1)
    assert np.array_equal(frame.image, upright)
