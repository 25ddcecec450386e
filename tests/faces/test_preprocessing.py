"""Preprocessing, checked on arrays computed by hand."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import cv2
import numpy as np
import pytest

from redeepfake_nb.errors import UnknownChoice
from redeepfake_nb.faces.face import Face
from redeepfake_nb.faces.preprocessing import (
    PRESETS,
    TEMPLATE,
    Preprocessing,
    face_pixels,
    five_points,
    frame_to_input,
    is_aligned,
    prepare_crop,
    preprocess,
    resize_to_square,
    similarity_transform,
)
from redeepfake_nb.media.frames import Frame


def numbered(height: int, width: int) -> Frame:
    """An image whose red channel is the column and whose green channel the row."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[..., 0] = np.arange(width)
    image[..., 1] = np.arange(height)[:, None]
    return Frame(image)


def landmarks_at(points: np.ndarray) -> np.ndarray:
    """68 landmarks whose eye centres, nose tip and mouth corners are the five ``points``."""
    landmarks = np.tile(np.mean(points, axis=0), (68, 1))
    landmarks[36:42], landmarks[42:48], landmarks[30], landmarks[48], landmarks[54] = points
    return landmarks


def turned(points: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ rotation.T + shift


# --- the settings ------------------------------------------------------------------------------------


def test_defaults_and_json_round_trip():
    assert Preprocessing() == Preprocessing(224, "RGB", (0.0, 255.0), 0.0, False)
    for p in (Preprocessing(), Preprocessing(150, "BGR", (-1, 1), 0.3, True)):
        assert Preprocessing.from_dict(json.loads(json.dumps(p.to_dict()))) == p
    assert Preprocessing.from_dict({"input_size": 64}) == Preprocessing(64)


def test_equal_settings_are_equal_and_plain():
    p = Preprocessing(np.int64(224), value_range=[0, np.float32(255)], margin=0, align=np.False_)
    assert p == Preprocessing()
    assert hash(p) == hash(Preprocessing())
    assert json.dumps(p.to_dict()) == json.dumps(Preprocessing().to_dict())
    with pytest.raises(FrozenInstanceError):
        p.margin = 1.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_size", 0),
        ("input_size", 7),
        ("input_size", 4097),
        ("input_size", 224.0),
        ("input_size", True),
        ("input_size", (224, 224)),
        ("color_order", "rgb"),
        ("color_order", None),
        ("mean", (0, 0)),
        ("mean", 0.5),
        ("mean", "abc"),
        ("std", (1, 1, float("nan"))),
        ("std", (1, 1, 0)),
        ("value_range", (0, 0)),
        ("value_range", (1, -1)),
        ("value_range", (0, float("inf"))),
        ("value_range", (float("nan"), 1)),
        ("value_range", (0, 1, 2)),
        ("value_range", "01"),
        ("value_range", 255),
        ("margin", -0.1),
        ("margin", 5),
        ("margin", float("nan")),
        ("margin", "0.3"),
        ("align", 1),
        ("align", None),
    ],
)
def test_invalid_settings_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        Preprocessing(**{name: value})


def test_unknown_keys_are_named():
    with pytest.raises(
        ValueError, match=r"unknown preprocessing keys: colour_order, size; known: input_size"
    ):
        Preprocessing.from_dict({"size": 224, "colour_order": "RGB", "margin": 0.0})
    with pytest.raises(ValueError, match="list"):
        Preprocessing.from_dict([])


# --- pixels ------------------------------------------------------------------------------------------


def test_colour_order_and_range_by_hand():
    crop = np.zeros((8, 8, 3), dtype=np.uint8)
    crop[0, 0] = (0, 51, 255)
    rgb = prepare_crop(crop, Preprocessing(8))
    assert rgb.dtype == np.float32
    assert rgb[0, 0].tolist() == [0, 51, 255]
    assert prepare_crop(crop, Preprocessing(8, "BGR"))[0, 0].tolist() == [255, 51, 0]
    assert prepare_crop(crop, Preprocessing(8, value_range=(0, 1)))[0, 0] == pytest.approx([0, 0.2, 1])
    both = prepare_crop(crop, Preprocessing(8, "BGR", (-1, 1)))
    assert both[0, 0] == pytest.approx([1, -0.6, -1], abs=1e-6)
    assert both[1:].max() == both.min() == -1
    assert both.flags.c_contiguous


def test_mean_and_deviation_by_hand():
    crop = np.zeros((8, 8, 3), dtype=np.uint8)
    crop[0, 0] = (0, 51, 255)
    given = Preprocessing(8, "BGR", (0, 1), mean=(0.5, 0.1, 0.0), std=(0.5, 0.1, 2))
    found = prepare_crop(crop, given)
    assert found.dtype == np.float32
    assert found[0, 0] == pytest.approx([1, 1, 0], abs=1e-6)  # (1 - .5) / .5, (.2 - .1) / .1, 0 / 2
    assert given.black == pytest.approx([-1, -1, 0])
    assert found[1, 1] == pytest.approx(given.black)
    assert Preprocessing.from_dict(json.loads(json.dumps(given.to_dict()))) == given
    assert hash(given) != hash(replace(given, std=None))


def test_presets_are_the_published_ones():
    crop = np.zeros((8, 8, 3), dtype=np.uint8)
    crop[0, 0] = (255, 0, 51)
    values = {name: prepare_crop(crop, Preprocessing.preset(name, 8))[0, 0].tolist() for name in PRESETS}
    assert values["imagenet"] == pytest.approx([(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225])
    assert values["caffe"] == pytest.approx([51 - 103.939, -116.779, 255 - 123.68])
    assert values["tf"] == values["-1..1"] == pytest.approx([1, -1, -0.6])
    assert values["0..1"] == pytest.approx([1, 0, 0.2])
    assert values["efficientnet"] == [255, 0, 51]
    turned = prepare_crop(crop, Preprocessing.preset("imagenet", 8, color_order="BGR"))[0, 0]
    assert turned.tolist() == values["imagenet"][::-1]
    changed = Preprocessing.preset("tf", 64, margin=0.3, align=True)
    assert changed == Preprocessing(64, "RGB", (-1, 1), 0.3, True)
    with pytest.raises(UnknownChoice, match="unknown preset 'torch'; there are imagenet"):
        Preprocessing.preset("torch")


def test_keras_agrees_with_the_presets(rng):
    from keras.applications import imagenet_utils

    crop = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for preset, mode in (("tf", "tf"), ("caffe", "caffe"), ("imagenet", "torch")):
        expected = imagenet_utils.preprocess_input(crop.astype(np.float32), mode=mode)
        np.testing.assert_allclose(prepare_crop(crop, Preprocessing.preset(preset, 8)), expected, atol=1e-4)


def test_a_summary_in_words():
    assert Preprocessing().summary == "224 px, RGB, values 0 to 255"
    assert Preprocessing.preset("imagenet", 64, margin=0.2, align=True).summary == (
        "64 px, RGB, values 0 to 1, minus (0.485, 0.456, 0.406), divided by (0.229, 0.224, 0.225), "
        "margin 0.2, aligned"
    )


def test_without_mean_the_dictionary_is_that_of_older_versions():
    keys = ["input_size", "color_order", "value_range", "margin", "align"]
    assert list(Preprocessing().to_dict()) == keys


def test_every_grey_level_reaches_the_model_unchanged():
    levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    assert np.array_equal(prepare_crop(levels, Preprocessing(16)), levels)
    unit = prepare_crop(levels, Preprocessing(16, value_range=(0, 1)))
    assert unit == pytest.approx(levels / 255, abs=1e-6)


def test_shrinking_averages_and_enlarging_interpolates():
    fine = np.zeros((16, 16, 3), dtype=np.uint8)
    fine[::2, ::2] = 200  # one of four pixels
    assert (resize_to_square(fine, 8) == 50).all()
    coarse = np.zeros((8, 8, 3), dtype=np.uint8)
    coarse[:, 4:] = 100
    row = resize_to_square(coarse, 16)[0, :, 0]
    assert row.tolist() == [0] * 7 + [25, 75] + [100] * 7


@pytest.mark.parametrize("height", [10, 12])
def test_a_nearly_square_crop_is_resized_directly(height):
    crop = numbered(height, 10).image
    assert np.array_equal(resize_to_square(crop, 8), cv2.resize(crop, (8, 8), interpolation=cv2.INTER_AREA))


def test_a_long_crop_is_padded_with_its_border_and_keeps_its_proportions():
    crop = np.zeros((8, 4, 3), dtype=np.uint8)
    crop[:, 0], crop[:, 1:3], crop[:, 3] = 10, 100, 20
    assert resize_to_square(crop, 8)[5, :, 1].tolist() == [10, 10, 10, 100, 100, 20, 20, 20]
    assert resize_to_square(crop.transpose(1, 0, 2), 8)[:, 5, 1].tolist() == [
        10,
        10,
        10,
        100,
        100,
        20,
        20,
        20,
    ]


def test_the_smallest_crop_fills_the_input():
    assert (resize_to_square(np.full((1, 1, 3), 7, dtype=np.uint8), 8) == 7).all()
    assert resize_to_square(np.zeros((1, 500, 3), dtype=np.uint8), 8).shape == (8, 8, 3)


def test_a_crop_of_the_right_size_is_copied_not_shared():
    crop = np.zeros((8, 8, 3), dtype=np.uint8)
    resize_to_square(crop, 8)[:] = 9
    prepare_crop(crop, Preprocessing(8))[:] = 9
    assert not crop.any()


def test_memory_layout_of_a_crop_does_not_matter(rng):
    crop = rng.integers(0, 256, (20, 18, 3), dtype=np.uint8)
    view = np.ascontiguousarray(crop[:, ::-1, ::-1])[:, ::-1, ::-1]
    assert not view.flags.c_contiguous
    for size in (8, 30):
        assert np.array_equal(resize_to_square(view, size), resize_to_square(crop, size))


@pytest.mark.parametrize(
    "crop",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_invalid_crops(crop):
    with pytest.raises(ValueError, match="uint8 RGB"):
        prepare_crop(crop, Preprocessing(8))


# --- faces -------------------------------------------------------------------------------------------


def test_no_faces_make_an_empty_batch():
    for none in ([], (), iter([])):
        batch = preprocess(none, Preprocessing(32))
        assert batch.shape == (0, 32, 32, 3)
        assert batch.dtype == np.float32


def test_a_batch_holds_each_face_in_the_order_given():
    frame = numbered(40, 40)
    faces = [Face(frame, (0, 0, 8, 8)), Face(frame, (30, 20, 38, 28))]
    batch = preprocess(iter(faces), Preprocessing(8))
    assert batch.shape == (2, 8, 8, 3)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    assert batch[:, 0, 0, :2].tolist() == [[0, 0], [30, 20]]
    assert np.array_equal(preprocess(faces[1], Preprocessing(8)), batch[1:])


def test_a_batch_equals_prepare_crop_of_the_crop(rng):
    frame = Frame(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
    face = Face(frame, (20, 20, 80, 78))
    p = Preprocessing(40, "BGR", (-1, 1), margin=0.2)
    assert np.array_equal(preprocess(face, p)[0], prepare_crop(face.crop(0.2), p))
    assert np.array_equal(face_pixels(face, p), resize_to_square(face.crop(0.2), 40))
    assert face_pixels(face, p).dtype == np.uint8


def test_the_margin_of_a_face_overrides_that_of_the_model():
    frame = numbered(40, 40)
    p = Preprocessing(8, margin=0.5)
    face = Face(frame, (16, 16, 24, 24))
    assert face_pixels(face, p).max() > face_pixels(replace(face, margin=0.0), p).max() == 23
    assert np.array_equal(face_pixels(replace(face, margin=0.5), Preprocessing(8)), face_pixels(face, p))
    # A picture that is already a crop is not widened.
    assert np.array_equal(face_pixels(Face.whole(numbered(8, 8)), p), numbered(8, 8).image)


def test_frame_to_input_by_hand():
    """Twice as large: the middle of pixel 10 falls between the input's first two pixels, at 0.5."""
    face = Face(numbered(40, 40), (10, 20, 18, 28))
    assert frame_to_input(face, Preprocessing(16)).tolist() == [[2, 0, -19.5], [0, 2, -39.5]]
    # 4 columns are padded to 8, two on each side; then 8 px become 8 px.
    narrow = Face(numbered(40, 40), (10, 20, 14, 28))
    assert frame_to_input(narrow, Preprocessing(8)).tolist() == [[1, 0, -8], [0, 1, -20]]


@pytest.mark.parametrize(
    ("box", "margin"),
    [((30, 20, 70, 60), 0.0), ((30, 20, 70, 60), 0.1), ((0, 0, 40, 40), 0.5), ((0, 0, 90, 30), 0)],
)
def test_frame_to_input_maps_pixels(box, margin):
    """A smooth ramp is resized exactly by linear interpolation, so values are positions."""
    face = Face(numbered(100, 120), box)
    p = Preprocessing(200, margin=margin)
    matrix = frame_to_input(face, p)
    pixels = face_pixels(face, p).astype(float)
    left, top, right, bottom = face.crop_box(margin)
    for x, y in [(left + 3, top + 3), (right - 4, bottom - 4), (left + 5, bottom - 6)]:
        column, row = matrix @ (x, y, 1)
        seen = pixels[round(row), round(column), :2]
        assert seen == pytest.approx([x, y], abs=1)


# --- alignment ---------------------------------------------------------------------------------------


def test_similarity_transform_inverts_a_rotation():
    points = np.array([[0, 0], [4, 0], [1, 3], [2, 2]], dtype=float)
    matrix = similarity_transform(turned(points, 37, 2.5, (11, -7)), points)
    assert np.abs(turned(points, 37, 2.5, (11, -7)) @ matrix[:, :2].T + matrix[:, 2] - points).max() < 1e-9
    assert np.sqrt(np.linalg.det(matrix[:, :2])) == pytest.approx(1 / 2.5)


def test_similarity_transform_by_hand_and_without_reflection():
    assert similarity_transform([[0, 0], [1, 0]], [[5, 5], [5, 7]]) == pytest.approx(
        np.array([[0, -2, 5], [2, 0, 5]])
    )
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float)
    assert np.linalg.det(similarity_transform(square, square * (-1, 1))[:, :2]) >= 0


def test_similarity_transform_is_that_of_umeyama(rng):
    """The closed form, written out for points in general position."""
    for _ in range(20):
        source, target = rng.normal(size=(2, 5, 2)) * 100
        centred, wanted = source - source.mean(axis=0), target - target.mean(axis=0)
        u, singular, vt = np.linalg.svd(wanted.T @ centred / 5)
        sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
        rotation = u @ np.diag(sign) @ vt
        scale = (singular * sign).sum() / ((centred**2).sum() / 5)
        shift = target.mean(axis=0) - scale * rotation @ source.mean(axis=0)
        expected = np.column_stack([scale * rotation, shift])
        assert similarity_transform(source, target) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_similarity_transform_of_degenerate_points():
    with pytest.raises(ValueError, match="coincide"):
        similarity_transform(np.ones((5, 2)), TEMPLATE)
    with pytest.raises(ValueError, match="equal length"):
        similarity_transform(np.ones((5, 2)), TEMPLATE[:4])
    with pytest.raises(ValueError, match=r"\(68, 2\)"):
        five_points(np.zeros((5, 2)))


def test_five_points_are_eye_centres_nose_and_mouth_corners():
    landmarks = np.zeros((68, 2))
    landmarks[36:42, 0] = [0, 1, 2, 3, 2, 1]
    landmarks[42:48, 0] = [10, 11, 12, 13, 12, 11]
    landmarks[30], landmarks[48], landmarks[54] = (6, 5), (3, 9), (10, 9)
    assert five_points(landmarks).tolist() == [[1.5, 0], [11.5, 0], [6, 5], [3, 9], [10, 9]]


@pytest.mark.parametrize("margin", [0.0, 0.25])
@pytest.mark.parametrize("degrees", [0, 30, -30, 170])
def test_rotated_faces_are_aligned(degrees, margin):
    points = turned((TEMPLATE - 0.5) * 80, degrees, 1.0, (150, 140))
    face = Face(Frame(np.zeros((300, 300, 3), np.uint8)), (110, 100, 190, 180), landmarks_at(points))
    p = Preprocessing(160, margin=margin, align=True)
    assert is_aligned(face, p)
    matrix = frame_to_input(face, p)
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(moved - ((TEMPLATE + margin) / (1 + 2 * margin) * 160 - 0.5)).max() < 1e-3


def test_alignment_moves_the_pixels_with_the_points():
    """Five bright dots on a rotated face end up at the positions of the template."""
    points = turned((TEMPLATE - 0.5) * 100, 30, 1.0, (150, 140))
    image = np.zeros((300, 300, 3), np.uint8)
    for x, y in points:
        cv2.circle(image, (round(x * 16), round(y * 16)), 4 * 16, (255, 255, 255), -1, cv2.LINE_AA, shift=4)
    face = Face(Frame(image), (100, 90, 200, 190), landmarks_at(points))
    for size in (40, 100, 230):  # the dots are shrunk, kept and enlarged
        pixels = face_pixels(face, Preprocessing(size, align=True))
        assert pixels.shape == (size, size, 3)
        for x, y in TEMPLATE:
            row, column, reach = y * size - 0.5, x * size - 0.5, size // 12
            part = pixels[round(row) - reach :, round(column) - reach :, 0][: 2 * reach + 1, : 2 * reach + 1]
            rows, columns = np.indices(part.shape)
            centre = np.array([(rows * part.astype(float)).sum(), (columns * part.astype(float)).sum()])
            centre = centre / part.sum() + (round(row) - reach, round(column) - reach)
            assert centre == pytest.approx([row, column], abs=0.25)


def test_strong_shrinking_averages_instead_of_skipping():
    points = (TEMPLATE - 0.5) * 640 + 400
    image = np.zeros((800, 800, 3), np.uint8)
    image[::2] = 200  # stripes that bilinear sampling alone would turn into 0 or 200
    face = Face(Frame(image), (80, 80, 720, 720), landmarks_at(points))
    pixels = face_pixels(face, Preprocessing(80, align=True))
    assert abs(pixels.astype(int) - 100).max() <= 2


def test_outside_the_frame_the_border_is_repeated():
    image = np.full((100, 100, 3), 60, np.uint8)
    points = (TEMPLATE - 0.5) * 80 + (10, 90)
    face = Face(Frame(image), (0, 50, 50, 100), landmarks_at(points))
    assert (face_pixels(face, Preprocessing(64, margin=0.3, align=True)) == 60).all()


def test_alignment_in_images_longer_than_opencv_can_warp():
    image = np.full((60, 33_000, 3), 60, np.uint8)
    face = Face(Frame(image), (32_900, 0, 32_960, 60), landmarks_at((TEMPLATE - 0.5) * 60 + (32_930, 30)))
    assert (face_pixels(face, Preprocessing(32, align=True)) == 60).all()


def test_faces_that_cannot_be_aligned_are_cropped():
    frame = numbered(40, 40)
    bare = Face(frame, (10, 10, 18, 18))
    collapsed = Face(frame, (10, 10, 18, 18), np.full((68, 2), 12.0))
    p = Preprocessing(8, align=True)
    for face in (bare, collapsed):
        assert not is_aligned(face, p)
        assert np.array_equal(face_pixels(face, p), face.crop())
        assert frame_to_input(face, p) == pytest.approx(np.array([[1, 0, -10], [0, 1, -10]]))
    upright = Face(frame, (10, 10, 18, 18), landmarks_at(TEMPLATE * 8 + 10))
    assert is_aligned(upright, p)
    assert not is_aligned(upright, Preprocessing(8))


@pytest.mark.parametrize("degrees", [0, 40, -90])
def test_without_landmarks_the_detectors_eyes_and_mouth_align(degrees):
    eyes, nose, mouth = (0.35, 0.308), (0.2, 0.48), (0.5, 0.746)  # of a profile
    points = np.array([eyes, (0.65, 0.308), nose, mouth, (0.8, 0.4), (0.8, 0.4)])
    points = turned((points - 0.5) * 80, degrees, 1.0, (150, 140))
    face = Face(Frame(np.zeros((300, 300, 3), np.uint8)), (110, 100, 190, 180), key_points=points)
    p = Preprocessing(160, align=True)
    assert is_aligned(face, p)
    matrix = frame_to_input(face, p)
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    assert moved[:2].mean(axis=0) == pytest.approx((0.5 * 160 - 0.5, 0.308 * 160 - 0.5), abs=1e-3)
    assert moved[3] == pytest.approx((0.5 * 160 - 0.5, 0.746 * 160 - 0.5), abs=1e-3)
    assert not is_aligned(face, Preprocessing(160))
