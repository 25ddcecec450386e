"""The five rules that derive a verdict from scores."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from redeepfake_nb import Card, Face, Frame, Prediction
from redeepfake_nb.analysis.coverage import Coverage
from redeepfake_nb.analysis.verdict import (
    Verdict,
    doubts,
    judge,
    judge_person,
    judge_video,
    with_provenance,
    without_face,
)
from redeepfake_nb.media.frames import Source
from redeepfake_nb.media.notes import Note, doubt, unseen
from redeepfake_nb.models.tested_kinds import KINDS, KindResult
from redeepfake_nb.provenance import Claim, ContentCredentials, Provenance

FRAME = Frame(np.zeros((400, 400, 3), np.uint8))
# Every kind detected, and every kind but wholly generated faces, which come first.
ALL_DETECTED = tuple(KindResult(kind, "A", 0.9, 0.85, 0.95, 100, 200) for kind in KINDS)
BLIND_TO_GENERATED = (KindResult("generated", "A", 0.3, 0.25, 0.35, 100, 200), *ALL_DETECTED[1:])
CARD = Card(temperature=1.0, min_face=80, min_sharpness=10.0, tested_on=ALL_DETECTED)


def scored(probability: float, size: int = 100, sharpness: float = 50.0) -> Prediction:
    face = Face(FRAME, (0, 0, size, size), sharpness=sharpness)
    return Prediction(face, math.log(probability / (1 - probability)), temperature=1.0)


@pytest.mark.parametrize(
    ("case", "predictions", "label"),
    [
        ("no face", [], "inconclusive"),
        ("clear and over", [scored(0.9)], "fake"),
        ("clear and under", [scored(0.1)], "real"),
        ("near the threshold from above", [scored(0.55)], "inconclusive"),
        ("near the threshold from below", [scored(0.45)], "inconclusive"),
        ("small and over", [scored(0.95, size=79)], "inconclusive"),
        ("just large enough", [scored(0.95, size=80)], "fake"),
        ("small and under", [scored(0.05, size=79)], "inconclusive"),
        ("blurred and over", [scored(0.95, sharpness=9.0)], "inconclusive"),
        ("one clear fake among clear reals", [scored(0.1), scored(0.9)], "fake"),
        ("one clear fake beside a doubtful face", [scored(0.9), scored(0.1, size=20)], "fake"),
        ("a doubtful fake among clear reals", [scored(0.1), scored(0.9, size=20)], "inconclusive"),
        ("clear reals beside a doubtful one", [scored(0.1), scored(0.1, size=20)], "inconclusive"),
        ("all clear and under", [scored(0.1), scored(0.2)], "real"),
    ],
)
def test_rules(case: str, predictions: list[Prediction], label: str) -> None:
    assert judge(predictions, CARD, 0.5).label == label, case


def test_an_unresponsive_model_is_inconclusive() -> None:
    card = replace(CARD, unresponsive=True)
    for probability in (0.1, 0.9):
        verdict = judge([scored(probability), scored(probability)], card, 0.5)
        assert verdict.label == "inconclusive"
        assert sum("same score" in reason for reason in verdict.reasons) == 1
        person = judge_person(
            probability,
            [probability] * 9,
            sizes=[100] * 9,
            sharpness=[50] * 9,
            frames=9,
            card=card,
            threshold=0.5,
        )
        assert person.label == "inconclusive"
        assert sum("same score" in reason for reason in person.reasons) == 1


def test_the_same_scores_at_another_threshold() -> None:
    predictions = [scored(0.7)]
    assert judge(predictions, CARD, 0.5).label == "fake"
    assert judge(predictions, CARD, 0.75).label == "inconclusive"
    assert judge(predictions, CARD, 0.9).label == "real"


def test_reasons_are_words_with_numbers() -> None:
    verdict = judge([scored(0.83), scored(0.2, size=40, sharpness=5.0)], CARD, 0.5)
    assert verdict.reasons == (
        "P(fake) at or over 0.50 for 1 of 2 faces, highest 0.83",
        "face 2: small face (40 px, the model needs 80)",
        "face 2: blurred face (sharpness 5 under 10)",
    )


def test_no_face_is_inconclusive() -> None:
    verdict = judge([], CARD, 0.5)
    assert verdict.reasons == ("no face was found",)
    assert verdict.to_dict() == {
        "label": "inconclusive",
        "headline": "Inconclusive (threshold 0.50)",
        "threshold": 0.5,
        "reasons": ["no face was found"],
        "limits": "",
        "suspects": "",
        "false_alarms": "",
        "coverage": "",
        "declared": "",
    }


def test_no_face_says_what_to_try_next() -> None:
    assert without_face("hog") == (
        "no face was found; try the detector blazeface, which finds turned and partly covered "
        "faces, "
        "or a larger or brighter copy that lies upright"
    )
    assert without_face("blazeface") == "no face was found; try a larger or brighter copy"
    assert "allow faces under 40 px with min_size=" in without_face("mine", 40)
    assert judge([], CARD, 0.5, no_face=without_face("blazeface")).reasons == (without_face("blazeface"),)


@pytest.mark.parametrize(
    ("note", "label", "reasons"),
    [(Note("n"), "real", 0), (doubt("n"), "real", 1), (unseen("n"), "inconclusive", 1)],
)
def test_notes_on_reading_are_reasons_by_their_kind(note: Note, label: str, reasons: int) -> None:
    found = judge([scored(0.1)], CARD, 0.5, notes=(note,))
    assert (found.label, found.reasons.count("n")) == (label, reasons)
    # A fake stays one: what was not looked at cannot clear it.
    assert judge([scored(0.9)], CARD, 0.5, notes=(note,)).label == "fake"
    assert judge([], CARD, 0.5, notes=(note,)).reasons.count("n") == reasons


def test_an_inconclusive_headline_names_the_face_over_the_threshold() -> None:
    verdict = judge([scored(0.1), scored(0.9, size=20)], CARD, 0.5)
    assert verdict.headline == "Inconclusive (threshold 0.50), but face 2 reaches it"
    verdict = judge([scored(0.9, size=20), scored(0.1), scored(0.9, size=20)], CARD, 0.5)
    assert verdict.headline == "Inconclusive (threshold 0.50), but face 1 and face 3 reach it"
    # One face alone needs no name, and a score near the threshold is none to point at.
    assert judge([scored(0.9, size=20)], CARD, 0.5).headline == "Inconclusive (threshold 0.50)"
    assert judge([scored(0.1), scored(0.55)], CARD, 0.5).headline == "Inconclusive (threshold 0.50)"


def test_an_uncalibrated_model_says_so_and_has_a_wider_band() -> None:
    uncalibrated = Card(temperature=None, tested_on=ALL_DETECTED)
    verdict = judge([scored(0.7)], uncalibrated, 0.5)
    assert verdict.label == "inconclusive"
    assert "never calibrated" in verdict.reasons[-1]
    assert judge([scored(0.8)], uncalibrated, 0.5).label == "fake"


def test_a_profile_is_a_doubt() -> None:
    ahead = [(30, 40), (70, 40), (50, 60), (50, 80), (20, 45), (80, 45)]
    turned = [(30, 40), (50, 40), (10, 60), (30, 80), (40, 45), (80, 45)]
    for points, expected in ((ahead, 0), (turned, 1)):
        shown = scored(0.9)
        face = replace(shown.face, key_points=np.float32(points))
        found = doubts(replace(shown, face=face), CARD, 0.5)
        assert sum("profile" in doubt for doubt in found) == expected


@pytest.mark.parametrize(
    ("detector", "confidence", "expected"),
    [("blazeface", 0.45, 1), ("blazeface", 0.7, 0), ("blazeface", None, 0), ("hog", 0.6, 0)],
)
def test_a_weak_detection_is_a_doubt(detector: str, confidence: float | None, expected: int) -> None:
    shown = scored(0.9)
    face = replace(shown.face, detector=detector, confidence=confidence)
    found = doubts(replace(shown, face=face), CARD, 0.5)
    assert sum("whether this is a face" in doubt for doubt in found) == expected


def test_doubts_use_a_default_size_where_the_card_has_none() -> None:
    assert doubts(scored(0.9, size=63), Card(temperature=1.0), 0.5) == (
        "small face (63 px, the model needs 64)",
    )
    assert doubts(scored(0.9, size=64), Card(temperature=1.0), 0.5) == ()


def textured(side: int = 160) -> np.ndarray:
    """Noise with as much energy in each octave, as in natural images: (side, side, 3) uint8."""
    rng, image = np.random.default_rng(0), np.zeros((side, side))
    for cells in (4, 8, 16, 32, 64, 128):
        noise = rng.normal(0, 12, (cells, cells))
        image += cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(image + 128, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def changed(how: str) -> Prediction:
    """A clear fake face, changed as its name says."""
    image = textured()
    small = cv2.resize(image, (40, 40), interpolation=cv2.INTER_AREA)
    if how == "enlarged":
        image = cv2.resize(small, (160, 160), interpolation=cv2.INTER_CUBIC)
    elif how == "blocks":
        image = cv2.resize(small, (160, 160), interpolation=cv2.INTER_NEAREST)
    elif how == "covered":
        image[30:60, 10:150] = 0
    return Prediction(Face(Frame(image), (0, 0, 160, 160), sharpness=50.0), 4.0, temperature=1.0)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("untouched", None),
        (
            "enlarged",
            r"enlarged or blurred face \(detail of about (3|4)\d px in 160 px, the model needs 80\)",
        ),
        ("blocks", r"face made of blocks \(detail of about 40 px in 160 px, the model needs 80\)"),
        ("covered", r"covered face \((1|2)\d% of it is of one colour\)"),
    ],
)
def test_what_is_not_there_is_a_doubt(how: str, reason: str | None) -> None:
    prediction = changed(how)
    verdict = judge([prediction], CARD, 0.5)
    face = prediction.face
    person = judge_person(
        0.95,
        [0.95] * 9,
        sizes=[160] * 9,
        sharpness=[50] * 9,
        frames=9,
        card=CARD,
        threshold=0.5,
        details=[face.detail] * 9,
        covered=[face.covered] * 9,
    )
    if reason is None:
        assert (verdict.label, person.label) == ("fake", "fake")
        return
    assert (verdict.label, person.label) == ("inconclusive", "inconclusive")
    assert re.fullmatch(reason, verdict.reasons[1])
    assert re.fullmatch(re.sub(r"(160 px|one colour)", r"\1 in most frames", reason), person.reasons[1])


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ("mouth_covered", "the mouth looks covered or altered in most frames"),
        ("uncertain", "uncertain whether this is a face in most frames"),
        ("profile", "face in profile in most frames (the head is turned by more than 45 degrees)"),
    ],
)
def test_what_most_frames_of_a_person_show_is_a_doubt(seen: str, reason: str) -> None:
    for flags, label in (([], "fake"), ([True] * 4 + [False] * 4, "fake"), ([True] * 5, "inconclusive")):
        person = judge_person(
            0.95,
            [0.95] * 9,
            sizes=[160] * 9,
            sharpness=[50] * 9,
            frames=9,
            card=CARD,
            threshold=0.5,
            **{seen: flags},
        )
        assert (person.label, reason in person.reasons) == (label, label == "inconclusive")


def test_a_covered_mouth_is_a_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "the mouth looks covered or altered" not in doubts(scored(0.9), CARD, 0.5)
    monkeypatch.setattr(Face, "mouth_covered", True)
    assert "the mouth looks covered or altered" in doubts(scored(0.9), CARD, 0.5)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, float("nan")])
def test_threshold_out_of_range(threshold: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        judge([scored(0.9)], CARD, threshold)


def test_headlines_are_cautious() -> None:
    lines = [judge([scored(p)], CARD, 0.5).headline for p in (0.9, 0.5, 0.1)]
    assert lines == [
        "Points to manipulation (threshold 0.50)",
        "Inconclusive (threshold 0.50)",
        "No sign of manipulation found (threshold 0.50)",
    ]


def test_a_verdict_names_what_the_model_does_not_detect() -> None:
    card = Card(temperature=1.0, tested_on=BLIND_TO_GENERATED)
    limits = "this model does not detect wholly generated faces"
    verdict = judge([scored(0.1)], card, 0.5)
    assert verdict.headline == f"No sign of manipulation found (threshold 0.50), but {limits}"
    assert verdict.to_dict()["limits"] == limits
    assert limits not in verdict.reasons
    near = judge([scored(0.45)], card, 0.5)
    assert near.label == "inconclusive"
    assert near.headline == "Inconclusive (threshold 0.50)"
    assert near.reasons[-1] == limits
    found = judge([scored(0.9)], card, 0.5)
    assert found.headline == "Points to manipulation (threshold 0.50)"
    assert limits not in found.reasons


def test_a_video_names_it_once() -> None:
    card = Card(temperature=1.0, tested_on=BLIND_TO_GENERATED)
    limits = "this model does not detect wholly generated faces"
    near = judge([scored(0.45)], card, 0.5)
    verdict = judge_video([("person 1", near), ("person 2", near)], (), card, 0.5)
    assert [reason for reason in verdict.reasons if limits in reason] == [limits]
    clear = judge([scored(0.1)], card, 0.5)
    assert judge_video([("person 1", clear)], (), card, 0.5).headline.endswith(f"but {limits}")


def test_a_finding_names_the_false_alarms_at_its_threshold() -> None:
    # 90 of 100 genuine faces and 80 of 100 fakes are recognised.
    measured = {"threshold": 0.5, "recall": {"value": 0.8}, "balanced_accuracy": {"value": 0.85}}
    card = Card(temperature=1.0, tested_on=ALL_DETECTED, metrics=measured)
    known = "but of 100 genuine faces in this model's test about 10 reach it, too"
    assert judge([scored(0.9)], card, 0.5).headline == f"Points to manipulation (threshold 0.50), {known}"
    assert judge([scored(0.9)], card, 0.6).headline == "Points to manipulation (threshold 0.60)"
    assert known not in judge([scored(0.1)], card, 0.5).headline


def person_of(single: list[float], overall: float = 0.2, step: float = 1.0, **options) -> Verdict:
    count = len(single)
    options = {"card": CARD, "threshold": 0.5, "times": [i * step for i in range(count)], **options}
    return judge_person(
        overall, single, sizes=[100] * count, sharpness=[50] * count, frames=count, interval=step, **options
    )


@pytest.mark.parametrize(
    ("case", "high", "label"),
    [
        ("none", {}, "real"),
        ("one barely over", {5: 0.7}, "real"),
        ("two neighbours barely over", {5: 0.7, 6: 0.7}, "real"),
        ("one at nine times the odds", {5: 0.901}, "real"),
        ("two apart", {5: 0.95, 8: 0.95}, "real"),
        ("two neighbours", {5: 0.901, 6: 0.901}, "inconclusive"),
        ("two neighbours by their mean", {5: 0.94, 6: 0.86}, "inconclusive"),
        ("the second under the threshold", {5: 0.985, 6: 0.49}, "real"),
        ("one alone and certain", {5: 0.991}, "inconclusive"),
    ],
)
def test_frames_that_stand_out_make_a_real_person_inconclusive(case: str, high: dict, label: str) -> None:
    assert person_of([high.get(i, 0.1) for i in range(12)]).label == label, case


def test_frames_that_stand_out_are_named_with_their_times() -> None:
    single = [0.99 if i in (5, 6) else 0.1 for i in range(12)]
    person = person_of(single)
    assert person.suspects == "frames of the person at 5.0 to 6.0 s reach P(fake) 0.99"
    assert person.reasons[-1] == (
        "frames at 5.0 to 6.0 s reach P(fake) 0.99, far over the threshold, "
        "though the score over all is under it"
    )
    verdict = judge_video([("person 1", person)], (), CARD, 0.5)
    assert verdict.headline == f"Inconclusive (threshold 0.50), but {person.suspects}"
    assert person_of(single, times=[]).suspects == "frames of the person reach P(fake) 0.99"
    # Far over is meant of the threshold: 0.99 has 5.2 times the odds of 0.95.
    assert person_of(single, threshold=0.95).label == "real"


@pytest.mark.parametrize(
    ("coverage", "seen"),
    [
        (None, ""),
        (Coverage(150, 150, 0.04), ""),
        (Coverage(36, 150, 0.17), " in 36 of 150 frames, one every 0.17 s"),
        (
            Coverage(36, 7500, 8.33),
            " in 36 of 7,500 frames, one every 8.3 s, but nothing is known of the time between",
        ),
    ],
)
def test_a_video_without_a_finding_says_what_was_looked_at(coverage: Coverage | None, seen: str) -> None:
    persons = [("person 1", person_of([0.1] * 12))]
    verdict = judge_video(persons, (), CARD, 0.5, coverage=coverage)
    assert verdict.headline == f"No sign of manipulation found (threshold 0.50){seen}"
    partial = coverage is not None and not coverage.complete
    assert (verdict.reasons[-1] == (coverage.summary if coverage else "")) == partial
    blind = replace(CARD, tested_on=BLIND_TO_GENERATED)
    joined = ", and" if "but" in seen else ", but"
    assert judge_video(persons, (), blind, 0.5, coverage=coverage).headline.endswith(
        f"{seen}{joined} this model does not detect wholly generated faces"
    )


SOURCE = Source("a.jpg", None, "JPEG", 1)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("provenance", "headline"),
    [
        (
            Provenance(SOURCE, ContentCredentials("valid", ai="all")),
            "valid Content Credentials say that generative AI made it",
        ),
        (Provenance(SOURCE, ContentCredentials("tampered")), "the file was changed after"),
        (
            Provenance(SOURCE, claims=(Claim("generator", "X", "EXIF", ai=True),)),
            "the file itself claims, unverified,",
        ),
        (Provenance(SOURCE, ContentCredentials("valid", "trusted")), ""),
        (Provenance(SOURCE), ""),
        (None, ""),
    ],
)
def test_declarations_are_named_and_change_no_label(
    p: float, provenance: Provenance | None, headline: str
) -> None:
    plain = judge([scored(p)], CARD, 0.5)
    verdict = with_provenance(plain, provenance)
    assert (verdict.label, verdict.threshold) == (plain.label, plain.threshold)
    named = provenance.statements if provenance else ()
    assert verdict.reasons == (*named, *plain.reasons)
    assert verdict.headline.lower().startswith(headline.lower())
    assert verdict.headline.lower().endswith(plain.headline.lower())
    assert ("; by the score alone: " in verdict.headline) == bool(headline)
    assert bool(verdict.declared) == bool(headline)


def test_a_model_that_detects_all_kinds_needs_no_warning() -> None:
    card = Card(temperature=1.0, tested_on=ALL_DETECTED)
    assert judge([scored(0.1)], card, 0.5).headline == "No sign of manipulation found (threshold 0.50)"


def test_the_likeliest_kind_of_a_face_over_the_threshold_is_named() -> None:
    generated = {"generated": 0.8, "swapped": 0.15, "edited": 0.05}
    over, under = (replace(scored(p), kinds=generated) for p in (0.9, 0.1))
    words = "if fake, then more likely wholly generated (0.80)"
    alone = judge([over], CARD, 0.5)
    assert alone.label == "fake"
    assert alone.reasons[1] == words
    assert f"face 2: {words}" in judge([under, over], CARD, 0.5).reasons
    assert not [reason for reason in judge([under], CARD, 0.5).reasons if "if fake" in reason]


def test_the_likeliest_kind_of_a_person_over_the_threshold_is_named() -> None:
    options = {"sizes": [100] * 9, "sharpness": [50] * 9, "frames": 9, "card": CARD, "threshold": 0.5}
    kinds = {"generated": 0.1, "swapped": 0.9}
    assert judge_person(0.9, [0.9] * 9, kinds=kinds, **options).reasons[1] == (
        "if fake, then more likely swapped or re-enacted (0.90)"
    )
    assert not [r for r in judge_person(0.1, [0.1] * 9, kinds=kinds, **options).reasons if "if fake" in r]
