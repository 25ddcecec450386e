"""Enlarged, pixelated and covered faces are told from whole ones, on the sample portrait."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from redeepfake_nb import Face, find_faces
from redeepfake_nb.datasets.samples import sample_image
from redeepfake_nb.faces.detail import flat_share, measure_detail

SIDE = 160


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    """The sample's face, 160 px."""
    face = find_faces(sample_image())[0]
    return cv2.resize(face.crop(0.0), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def enlarged(crop: np.ndarray, side: int, method: int = cv2.INTER_CUBIC, quality: int = 0) -> np.ndarray:
    """The crop reduced to ``side`` px and enlarged again, as JPEG where a quality is given."""
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, crop.shape[1::-1], interpolation=method)
    return as_jpeg(large, quality) if quality else large


def as_jpeg(crop: np.ndarray, quality: int) -> np.ndarray:
    coded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)


@pytest.mark.parametrize("quality", [0, 90, 60, 30])
def test_a_whole_face_has_its_own_size(crop: np.ndarray, quality: int) -> None:
    found = measure_detail(as_jpeg(crop, quality) if quality else crop)
    assert not found.blocks
    assert found.size > 0.75 * SIDE
    assert flat_share(crop) < 0.05


@pytest.mark.parametrize("side", [20, 40, 50])
@pytest.mark.parametrize(
    ("method", "quality"),
    [(cv2.INTER_LINEAR, 0), (cv2.INTER_CUBIC, 90), (cv2.INTER_LANCZOS4, 80)],
)
def test_an_enlarged_face_has_that_of_the_small_one(
    crop: np.ndarray, side: int, method: int, quality: int
) -> None:
    found = measure_detail(enlarged(crop, side, method, quality))
    assert not found.blocks
    assert found.size == pytest.approx(side, rel=0.45)


@pytest.mark.parametrize("quality", [0, 90, 75])
@pytest.mark.parametrize("side", [10, 20, 28, 40])
def test_blocks_are_counted(crop: np.ndarray, side: int, quality: int) -> None:
    found = measure_detail(enlarged(crop, side, cv2.INTER_NEAREST, quality))
    assert found.blocks
    assert found.size < 45


def test_detail_is_measured_in_pixels_of_the_crop(crop: np.ndarray) -> None:
    """A face of 800 px that was enlarged from 40 px has the detail of 40 px, whatever side is analysed."""
    small = cv2.resize(crop, (40, 40), interpolation=cv2.INTER_AREA)
    found = measure_detail(cv2.resize(small, (800, 800), interpolation=cv2.INTER_CUBIC))
    assert found.size == pytest.approx(40, rel=0.35)


@pytest.mark.parametrize("crop_of", [(8, 8), (31, 200), (1, 1)])
def test_tiny_crops_and_crops_without_texture_are_what_they_are(crop_of: tuple[int, int]) -> None:
    for level in (0, 128):
        plain = np.full((*crop_of, 3), level, np.uint8)
        assert measure_detail(plain).size == min(crop_of)
        assert flat_share(plain) == 0
    plain = np.full((90, 70, 3), 200, np.uint8)
    assert (measure_detail(plain).size, flat_share(plain)) == (70, 0)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (20, 90, 200)])
@pytest.mark.parametrize("quality", [0, 75])
def test_a_bar_over_the_eyes_covers_its_share(crop: np.ndarray, colour: tuple, quality: int) -> None:
    covered = crop.copy()
    covered[35:64, 8:152] = colour  # 18 % of the height
    share = flat_share(as_jpeg(covered, quality) if quality else covered)
    assert share == pytest.approx(0.17, abs=0.05)


def test_a_face_measures_itself(crop: np.ndarray) -> None:
    face = Face.whole(enlarged(crop, 20))
    assert face.detail == measure_detail(face.crop(0.0))
    assert face.covered == flat_share(face.crop(0.0))
