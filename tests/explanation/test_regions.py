"""Parts of the face from hand-made landmarks, heatmaps with known sums, and the sentences about them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.hand_made_face import SIZE, hand_made
from helpers.reports import make_report

from redeepfake_nb.datasets.samples import sample_image
from redeepfake_nb.explanation.regions import REGIONS, Regions, label_regions, sum_regions
from redeepfake_nb.faces.face import Face, find_faces
from redeepfake_nb.media.frames import Frame
from redeepfake_nb.models.likely_kind import KIND_GROUPS

# Pixels (x, y) that unambiguously belong to a part.
INSIDE = {
    "eyes": [(72, 86), (128, 86)],
    "brows": [(70, 66), (130, 66)],
    "mouth": [(100, 142), (80, 142)],
    "nose": [(100, 100), (92, 118)],
    "jaw line and boundary": [(40, 92), (160, 92), (100, 175)],
    "forehead": [(100, 55), (75, 52)],
    "cheeks and chin": [(60, 115), (140, 115), (100, 162)],
    "background": [(3, 3), (197, 3), (3, 197), (197, 197)],
}


def face_with(landmarks: np.ndarray | None, margin: float = 0.0) -> Face:
    frame = Frame(np.full((SIZE, SIZE, 3), 128, np.uint8))
    return Face(frame, (0, 0, SIZE, SIZE), landmarks, margin=margin)


def heatmap_on(name: str, share: float) -> np.ndarray:
    """A heatmap with this share of its sum spread over one part, and the rest over all other pixels."""
    on = label_regions(hand_made(), SIZE, SIZE) == REGIONS.index(name)
    return np.where(on, share / on.sum(), (1 - share) / (~on).sum())


@pytest.mark.parametrize("name", REGIONS)
def test_unambiguous_pixels(name: str) -> None:
    labels = label_regions(hand_made(), SIZE, SIZE)
    assert [REGIONS[labels[y, x]] for x, y in INSIDE[name]] == [name] * len(INSIDE[name])


def test_parts_cover_every_pixel_once_and_are_symmetric() -> None:
    labels = label_regions(hand_made(), SIZE, SIZE)
    assert labels.shape == (SIZE, SIZE)
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) == set(range(len(REGIONS)))
    # x = 100 is the middle of columns 1 to 199.
    mirrored = labels[:, 1:][:, ::-1]
    assert (labels[:, 1:] != mirrored).mean() < 0.01


def test_overlapping_pixels_belong_to_the_earlier_part() -> None:
    """An eye moved onto the mouth counts as eye."""
    points = hand_made()
    points[36:42] += [28, 56]
    labels = label_regions(points, SIZE, SIZE)
    assert REGIONS[labels[142, 100]] == "eyes"


@pytest.mark.parametrize("angle", [-40, 25, 180])
def test_parts_rotate_with_the_face(angle: float) -> None:
    turn = np.deg2rad(angle)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])

    def rotated(points: np.ndarray) -> np.ndarray:
        return (np.asarray(points, float) - 100) @ matrix.T + 100

    labels = label_regions(rotated(hand_made()), SIZE, SIZE)
    for name in ("eyes", "mouth", "nose", "forehead", "cheeks and chin"):
        for x, y in np.rint(rotated(INSIDE[name])).astype(int):
            assert REGIONS[labels[y, x]] == name


def test_a_mirrored_face_has_its_forehead_above(rng: np.random.Generator) -> None:
    """Landmarks that were only mirrored, not renumbered, run from right to left."""
    labels = label_regions(hand_made() * [-1, 1] + [200, 0], SIZE, SIZE)
    assert REGIONS[labels[55, 100]] == "forehead"
    assert REGIONS[labels[162, 100]] == "cheeks and chin"


def test_shares_do_not_depend_on_resolution() -> None:
    small, large = (
        np.bincount(label_regions(hand_made() * k, SIZE * k, SIZE * k).ravel(), minlength=8) / (SIZE * k) ** 2
        for k in (1, 4)
    )
    np.testing.assert_allclose(small, large, atol=0.01)


@pytest.mark.parametrize("shift", [0.0, 1e7, -1e7])
def test_landmarks_may_lie_outside(shift: float) -> None:
    labels = label_regions(hand_made() + shift, SIZE, SIZE)
    assert (labels == REGIONS.index("background")).all() == (shift != 0)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((5, 2)), "68 finite points"),
        (np.full((68, 2), np.nan), "68 finite points"),
        (np.full((68, 2), 7.0), "nearly coincide"),
    ],
)
def test_landmarks_are_checked(points: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label_regions(points, SIZE, SIZE)


@pytest.mark.parametrize("name", REGIONS)
def test_evidence_is_summed_by_part(name: str) -> None:
    found = sum_regions(heatmap_on(name, 0.7), face_with(hand_made()), 0.0)
    table = found.table.set_index("region")
    area = (found.labels == REGIONS.index(name)).mean()
    assert table.loc[name, "evidence"] == pytest.approx(0.7)
    assert table.loc[name, "area"] == pytest.approx(area)
    assert table.loc[name, "ratio"] == pytest.approx(0.7 / area)
    assert table["evidence"].sum() == pytest.approx(1)
    assert table["area"].sum() == pytest.approx(1)
    assert list(table["evidence"]) == sorted(table["evidence"], reverse=True)
    assert found.strongest == name


def test_sentence_names_the_part() -> None:
    area = (label_regions(hand_made(), SIZE, SIZE) == REGIONS.index("mouth")).mean()
    heat, face = heatmap_on("mouth", 0.46), face_with(hand_made())
    assert (
        sum_regions(heat, face, 0.0).sentence
        == f"Most positive evidence lies around the mouth (46 % on {area * 100:.0f} % of the area)."
    )
    assert sum_regions(heat, face, 0.0, "real").sentence.startswith(
        "Most evidence for real lies around the mouth"
    )


def test_standing_out_is_not_holding_most() -> None:
    """A quarter of the evidence on a small part, more of it on a large one."""
    sentence = sum_regions(heatmap_on("nose", 0.25), face_with(hand_made()), 0.0).sentence
    assert sentence.startswith("The positive evidence stands out most on the nose (25 % on ")


def test_sentence_about_evidence_outside_the_face() -> None:
    sentence = sum_regions(heatmap_on("background", 0.95), face_with(hand_made()), 0.0).sentence
    assert sentence.startswith("Most positive evidence lies outside the face (95 % on ")
    assert sentence.endswith("so it says little about the face itself.")


def test_most_means_two_fifths_or_more() -> None:
    face = face_with(hand_made())
    sentences = [sum_regions(heatmap_on("background", share), face, 0.0).sentence for share in (0.80, 0.95)]
    assert [s.startswith("Most") for s in sentences] == [True, True]
    thirds = sum(
        (heatmap_on(name, 1 / 3 + extra) for name, extra in zip(REGIONS[:3], (0, 0, 0.1), strict=True))
    )
    found = sum_regions(thirds, face, 0.0)
    assert found.evidence.max() < 0.4
    assert found.sentence.startswith("The positive evidence stands out most around the mouth")


def test_uniform_evidence_names_no_part() -> None:
    found = sum_regions(np.ones((SIZE, SIZE)), face_with(hand_made()), 0.0)
    assert found.strongest is None
    assert "spread almost evenly" in found.sentence
    np.testing.assert_allclose(found.table["ratio"], 1)


def test_an_empty_heatmap_names_no_part() -> None:
    found = sum_regions(np.zeros((SIZE, SIZE)), face_with(hand_made()), 0.0)
    assert (
        found.sentence == "No place in this crop was found to speak for fake: there is no positive evidence."
    )
    assert (found.table["evidence"] == 0).all()
    assert found.strongest is None


def test_a_part_outside_the_crop_has_no_ratio() -> None:
    """A face that reaches over the lower edge: no mouth in the picture."""
    found = sum_regions(np.ones((SIZE, SIZE)), face_with(hand_made() + np.array([0, 100])), 0.0)
    mouth = found.table.set_index("region").loc["mouth"]
    assert mouth["area"] == 0
    assert np.isnan(mouth["ratio"])


@pytest.mark.parametrize(
    ("face", "reason"),
    [
        (Face.whole(np.zeros((SIZE, SIZE, 3), np.uint8)), "taken as one face, without landmarks"),
        (face_with(None), "No landmarks were found"),
        (face_with(np.full((68, 2), 50.0)), "nearly coincide"),
    ],
)
def test_without_landmarks_there_is_a_reason_and_no_table(face: Face, reason: str) -> None:
    found = sum_regions(np.ones((SIZE, SIZE)), face, 0.0)
    assert reason in found.reason
    assert found.sentence == found.reason
    assert found.table.empty
    assert list(found.table.columns) == ["region", "evidence", "area", "ratio"]
    assert found.labels is None
    assert found.strongest is None


@pytest.mark.parametrize(
    "heatmap", [np.ones((3, 3)), np.full((SIZE, SIZE), -1.0), np.full((SIZE, SIZE), np.nan)]
)
def test_heatmaps_are_checked(heatmap: np.ndarray) -> None:
    with pytest.raises(ValueError, match="heatmap"):
        sum_regions(heatmap, face_with(hand_made()), 0.0)


def test_parts_follow_the_crop() -> None:
    """The same face in a larger frame, with a margin around its box; landmarks are in frame pixels."""
    frame = Frame(np.full((300, 320, 3), 128, np.uint8))
    face = Face(frame, (60, 50, 260, 250), hand_made() + np.array([60, 50]))
    without, around = (sum_regions(np.ones(face.crop(m).shape[:2]), face, m).labels for m in (0.0, 0.2))
    np.testing.assert_array_equal(without, label_regions(hand_made(), SIZE, SIZE))
    left, top = np.array(face.crop_box(0.0)[:2]) - face.crop_box(0.2)[:2]
    cut = around[top : top + SIZE, left : left + SIZE]
    np.testing.assert_array_equal(cut, without)


def test_the_sample_portrait_has_all_parts() -> None:
    face = replace(find_faces(sample_image())[0], margin=0.4)
    found = sum_regions(np.ones(face.crop().shape[:2]), face, 0.4)
    area = found.table.set_index("region")["area"]
    assert (area > 0.01).all()
    assert area["cheeks and chin"] > area["mouth"] > area["nose"]
    left, top, _, _ = face.crop_box(0.4)
    for point, name in (
        (30, "nose"),
        (66, "mouth"),
        (37, "eyes"),
        (19, "brows"),
        (8, "jaw line and boundary"),
    ):
        x, y = np.rint(face.landmarks[point] - [left, top]).astype(int)
        assert REGIONS[found.labels[y, x]] == name


def test_words_for_the_kind_that_the_model_names() -> None:
    """Evidence outside the face says little of a swap, and is what a generated picture often has."""
    evidence = np.eye(len(REGIONS))[REGIONS.index("background")]
    area = np.full(len(REGIONS), 1 / len(REGIONS))
    sentences = {
        k: Regions(None, evidence, area, "fake", kind=k).sentence for k in ("", "generated", "swapped")
    }
    assert sentences[""].endswith("so it says little about the face itself.")
    assert sentences["swapped"] == (
        f"{sentences['']} A swap leaves what is outside the face as it was, so this place does not fit the "
        "kind that the model names."
    )
    assert "often spread over hair and background" in sentences["generated"]
    assert "says little" not in sentences["generated"]
    even = Regions(None, area, area, "fake", kind="generated").sentence
    assert even.endswith("often spread over hair and background.")
    assert "hair" not in Regions(None, area, area, "real", kind="generated").sentence


@pytest.mark.parametrize(("logit", "kind"), [(2.0, "swapped"), (-2.0, "")])
def test_no_kind_is_named_of_a_face_whose_score_says_real(logit: float, kind: str) -> None:
    (explanation,) = make_report([logit], heat=True).explanations
    prediction = replace(explanation.prediction, kinds={"generated": 0.1, "swapped": 0.9})
    assert replace(explanation, prediction=prediction).regions.kind == kind


def test_whether_a_kind_is_named_follows_a_moved_threshold() -> None:
    (explanation,) = make_report([2.0], heat=True).explanations
    prediction = replace(explanation.prediction, kinds={"generated": 0.1, "swapped": 0.9})
    explanation = replace(explanation, prediction=prediction)
    moved = explanation.at_threshold(0.99)
    assert (explanation.regions.kind, moved.regions.kind) == ("swapped", "")
    assert moved.at_threshold(prediction.threshold).regions.kind == "swapped"
    assert moved.heatmap is explanation.heatmap
    assert explanation.at_threshold(prediction.threshold) is explanation


@pytest.mark.parametrize("kind", KIND_GROUPS)
@pytest.mark.parametrize("part", [*REGIONS, None])
def test_every_place_means_something_for_every_kind(kind: str, part: str | None) -> None:
    area = np.full(len(REGIONS), 1 / len(REGIONS))
    evidence = area if part is None else np.eye(len(REGIONS))[REGIONS.index(part)]
    plain, named = (Regions(None, evidence, area, "fake", kind=k).sentence for k in ("", kind))
    assert named.count(".") == plain.count(".") + 1
    assert named.startswith(plain) or (kind, part) == ("generated", "background")
