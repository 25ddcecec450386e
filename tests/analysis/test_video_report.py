"""Persons, verdicts and tables of a video, from sightings with chosen scores."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from helpers.video_records import Read, report, sighting

from redeepfake_nb import Card
from redeepfake_nb.analysis import describe_detection, describe_persons
from redeepfake_nb.faces.detail import Detail
from redeepfake_nb.faces.turned import turn_note
from redeepfake_nb.media.frames import Source
from redeepfake_nb.media.notes import Note, doubt, unseen


def steady(logit: float, person: int = 0, count: int = 10, **options) -> list:
    return [sighting(i * 0.2, logit, person, **options) for i in range(count)]


def test_a_person_is_judged_over_all_frames() -> None:
    found = report(*steady(2.0))
    (person,) = found.persons
    assert person.probability == pytest.approx(1 / (1 + math.exp(-2)))
    assert person.verdict.label == "fake"
    assert person.verdict.reasons == (
        "P(fake) 0.88 over 10 of 10 sampled frames, 10 of them at or over 0.50",
    )
    assert found.verdict.label == "fake"
    assert found.face_share == 1.0


def test_real_requires_every_person_and_a_complete_video() -> None:
    people = [*steady(-2.0), *steady(-3.0, 1)]
    assert report(*people).verdict.label == "real"
    assert report(*people, cancelled=True).verdict.label == "inconclusive"
    broken = report(*people, completeness=Read(False, "damaged after 1.2 s"))
    assert broken.verdict.label == "inconclusive"
    assert "damaged after 1.2 s" in broken.verdict.reasons
    doubtful = report(*people, *steady(0.1, 2))
    assert doubtful.verdict.label == "inconclusive"
    assert "person 3: score within 0.10 of the threshold" in doubtful.verdict.reasons


def test_one_fake_person_makes_the_video_fake_even_if_it_is_damaged() -> None:
    people = [*steady(-2.0), *steady(3.0, 1)]
    assert report(*people, completeness=Read(False, "damaged")).verdict.label == "fake"


@pytest.mark.parametrize(
    ("faces", "times", "reason"),
    [
        (
            steady(3.0, count=3),
            32,
            "face in only 3 of 32 frames, at 0.0 to 0.4 s; look at more with frames= or every=",
        ),
        (steady(3.0, box=(0, 0, 40, 45)), 10, "small face (40 px in most frames, the model needs 50)"),
        (
            [sighting(i, z) for i, z in enumerate([6, 6, 6, 6, 6, 6, -2, -2, -2, -2])],
            10,
            "frames disagree (4 of 10 say the opposite)",
        ),
    ],
)
def test_doubts(faces: list, times: int, reason: str) -> None:
    found = report(*faces, times=np.arange(times) * 0.2)
    assert found.persons[0].verdict.label == "inconclusive"
    assert reason in found.persons[0].verdict.reasons


def test_a_blurred_face_is_doubtful() -> None:
    from dataclasses import replace

    found = report(*steady(3.0, sharpness=10.0))
    found = replace(found, card=replace(found.card, min_sharpness=25.0))
    assert "blurred face (sharpness 10 under 25 in most frames)" in found.verdict.reasons


@pytest.mark.parametrize("logit", [3.0, -3.0])
def test_a_clip_of_fewer_than_five_frames_is_inconclusive(logit: float) -> None:
    for count, label in ((1, "inconclusive"), (4, "inconclusive"), (5, "fake" if logit > 0 else "real")):
        whole = report(*steady(logit, count=count), completeness=Read(pictures=count))
        assert whole.verdict.label == label
        reason = f"frames in the whole clip: {count}; a verdict needs at least 5"
        assert (reason in whole.verdict.reasons) == (count < 5)


@pytest.mark.parametrize(
    ("note", "label", "reasons"),
    [(Note("n"), "real", 0), (doubt("n"), "real", 1), (unseen("n"), "inconclusive", 1)],
)
def test_notes_on_reading_reach_the_verdict_and_the_tables(note: Note, label: str, reasons: int) -> None:
    source = Source("clip.mp4", "0" * 64, "MP4", 1000, (note,))
    found = report(*steady(-3.0, count=9), source=source)
    assert found.verdict.label == label
    assert found.verdict.reasons.count("n") == reasons
    assert found.at_threshold(0.4).verdict.label == label
    assert set(found.to_frame()["warnings"]) == {"n"}
    assert found.to_dict()["source"]["warnings"] == ["n"]
    # A fake stays one: what was not looked at cannot clear it.
    assert report(*steady(3.0, count=9), source=source).verdict.label == "fake"
    assert report(source=source).verdict.reasons.count("n") == reasons


@pytest.mark.parametrize("frames", [1, 4])
def test_a_few_frames_of_a_long_video_are_not_enough(frames: int) -> None:
    found = report(*steady(-3.0, count=frames), completeness=Read(pictures=750))
    assert found.verdict.label == "inconclusive"
    reason = f"only {frames} of 750 frames looked at; look at more with frames="
    assert reason in found.verdict.reasons
    enough = report(*steady(-3.0, count=5), completeness=Read(pictures=750))
    assert enough.verdict.label == "real"
    assert enough.verdict.coverage.summary == "5 of 750 frames looked at, one every 0.20 s"
    assert enough.to_dict()["interval_s"] == pytest.approx(0.2)


def test_a_second_person_in_one_frame_is_named_with_its_time() -> None:
    times = np.arange(32) * 0.4
    people = [sighting(t, -3.0) for t in times[:31]]
    found = report(*people, sighting(times[31], 4.0, 1), times=times)
    assert [p.verdict.label for p in found.persons] == ["real", "inconclusive"]
    assert found.verdict.headline == "Inconclusive (threshold 0.50), but person 2 reaches it at 12.4 s"
    assert found.verdict.to_dict()["suspects"] == "person 2 reaches it at 12.4 s"
    reasons = [reason for reason in found.verdict.reasons if reason.startswith("person 2")]
    assert "1 of them at or over 0.50 (12.4 s)" in reasons[0]
    assert "face in only 1 of 32 frames, at 12.4 s" in reasons[1]
    # The same with a second person of whom nothing is to be seen.
    nobody = report(*people, sighting(times[31], -4.0, 1), times=times)
    assert nobody.verdict.headline == "Inconclusive (threshold 0.50)"


def test_single_frames_over_the_threshold_are_named_with_their_times() -> None:
    found = report(*[sighting(i * 0.2, 3.0 if i in (4, 5) else -3.0) for i in range(10)])
    assert found.verdict.label == "inconclusive"
    assert found.verdict.suspects == "frames of person 1 at 0.8 to 1.0 s reach P(fake) 0.95"
    assert found.verdict.reasons[0].endswith("2 of them at or over 0.50 (0.8 to 1.0 s)")


@pytest.mark.parametrize(
    ("frames", "pictures", "settings", "reason"),
    [
        (
            16,
            1500,
            {"detector": "hog"},
            "no face was found: 0 of 16 frames looked at had a face, one every 3.8 s; look at more with "
            "frames=, or try the detector blazeface, which finds turned and partly covered "
            "faces, "
            "or a larger or brighter copy that lies upright",
        ),
        (
            16,
            16,
            {"detector": "blazeface", "min_size": 40},
            "no face was found: 0 of all 16 frames had a face, one every 3.8 s; allow faces under 40 px with "
            "min_size=, or a larger or brighter copy",
        ),
        (0, 100, {}, "no face was found: no frame was looked at"),
    ],
)
def test_no_person(frames: int, pictures: int, settings: dict, reason: str) -> None:
    found = report(times=np.arange(frames) * 3.8, completeness=Read(pictures=pictures), settings=settings)
    assert found.verdict.reasons == (reason,)
    assert (found.face_share, found.persons) == (0.0, ())
    assert list(found.to_frame().columns)[:3] == ["file", "person", "track"]


def test_another_threshold_or_aggregation_computes_nothing() -> None:
    found = report(*[sighting(i, z) for i, z in enumerate([-1.0, -1.0, -1.0, -1.0, -1.0, 3.0])])
    assert found.verdict.label == "inconclusive" or found.persons[0].probability < 0.5
    strict = found.aggregated("top_k_mean")
    assert strict.persons[0].probability == pytest.approx((1 / (1 + math.exp(-3)) + 1 / (1 + math.e)) / 2)
    assert strict.settings["aggregation"] == "top_k_mean"
    assert found.at_threshold(0.2).threshold == 0.2
    with pytest.raises(ValueError, match="unknown aggregation"):
        found.aggregated("mode")
    with pytest.raises(ValueError, match="threshold"):
        found.at_threshold(1.0)


def test_temperature_is_applied_before_aggregation() -> None:
    found = report(*steady(4.0, temperature=2.0))
    assert found.persons[0].probability == pytest.approx(1 / (1 + math.exp(-2)))


def test_table_and_json() -> None:
    found = report(*steady(2.0, count=2), sighting(0.2, -1.0, 1, bridged=True))
    table = found.to_frame()
    assert list(table["person"]) == [1, 1, 2]
    assert list(table["bridged"]) == [False, False, True]
    assert list(table["size_px"]) == [100] * 3
    values = json.loads(json.dumps(found.to_dict()))
    assert [p["frames"] for p in values["persons"]] == [2, 1]
    assert values["persons"][1]["first_s"] == 0.2
    assert values["verdict"]["label"] == found.verdict.label
    assert "person 1 0.88" in repr(found)


def test_the_table_has_what_is_known_of_each_frame() -> None:
    looked_at = {
        "detail": Detail(61.26, True),
        "covered": 0.25,
        "mouth_covered": True,
        "uncertain": False,
        "profile": True,
    }
    turned = Source("clip.mp4", "0" * 64, "MP4", 1000, (turn_note(270),))
    seen = sighting(0.0, 2.0, kinds=(0.9, 0.1), **looked_at), sighting(0.2, 2.0, bridged=True)
    card = Card(temperature=1.0, kinds=("generated", "swapped"))
    found = report(*seen, card=card, source=turned, settings={"detector": "blazeface"})
    table = found.to_frame()
    first = table.to_dict("records")[0]
    columns = ["detail_px", "blocks", "covered", "mouth_covered", "uncertain", "profile"]
    assert [first[name] for name in columns] == [61.3, True, 0.25, True, False, True]
    assert (first["detector"], first["turned_deg"]) == ("blazeface", 270)
    assert (first["kind_generated"], first["kind_swapped"]) == (0.9, 0.1)
    assert table[["detector", *columns]].iloc[1].isna().all()
    assert list(report(card=card).to_frame().columns) == list(table.columns)
    assert set(report(*steady(2.0)).to_frame()["turned_deg"]) == {0}


def test_aggregations_are_compared_person_by_person() -> None:
    made = report(*steady(3.0, 0), *steady(-3.0, 1))
    table = made.compare_aggregations("mean_logit", "median")
    assert list(table["person"]) == ["person 1"] * 2 + ["person 2"] * 2
    assert list(table["aggregation"]) == ["mean_logit", "median"] * 2
    assert table["probability"].tolist() == pytest.approx([0.9526] * 2 + [0.0474] * 2, abs=1e-4)
    assert list(table["verdict"]) == [p.verdict.label for p in made.persons for _ in range(2)]


def test_persons_are_described_by_their_fake_segments() -> None:
    seen = [sighting(t, 2.0 if 1 <= t <= 3 else -2.0) for t in np.arange(6.0)]
    seen += [sighting(t, -2.0, 1) for t in np.arange(6.0)]
    assert describe_persons(report(*seen)) == ["person 1: 1.0 to 3.0 s", "person 2: never"]


def test_an_unknown_truth_is_compared_with_nothing() -> None:
    (sentence,) = describe_detection(report(*steady(3.0)), None)
    assert "not known" in sentence


def test_the_kind_of_a_person_is_the_mean_over_the_frames_by_their_score() -> None:
    card = Card(temperature=1.0, kinds=("generated", "swapped"))
    sightings = [
        *steady(2.0, count=5, kinds=(0.9, 0.1)),  # P(fake) 0.88 each
        *(sighting(1 + i * 0.2, -2.0, kinds=(0.1, 0.9)) for i in range(2)),  # 0.12 each
    ]
    found = report(*sightings, card=card)
    (person,) = found.persons
    p = 1 / (1 + math.exp(-2))
    expected = (5 * p * 0.9 + 2 * (1 - p) * 0.1) / (5 * p + 2 * (1 - p))
    assert person.kinds == pytest.approx({"generated": expected, "swapped": 1 - expected})
    assert f"if fake, then more likely wholly generated ({expected:.2f})" in person.verdict.reasons
    assert found.to_dict()["persons"][0]["kinds"] == person.kinds
    words = found.to_frame()["kind"]
    assert words[0] == "if fake, then more likely wholly generated (0.90)"
    assert set(report(*steady(2.0)).to_frame()["kind"]) == {""}
