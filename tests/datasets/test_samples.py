"""The sample pictures: portrait and manipulated copy."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image

from redeepfake_nb.datasets import samples
from redeepfake_nb.datasets.samples import sample_edited, sample_image, sample_manipulated, write_samples
from redeepfake_nb.errors import OutputError
from redeepfake_nb.faces.face import find_faces
from redeepfake_nb.media.frames import read_image

pytest.importorskip("dlib")


def test_portrait_is_the_one_of_scikit_image():
    skimage_data = pytest.importorskip("skimage.data")
    frame = sample_image()
    np.testing.assert_array_equal(frame.image, skimage_data.astronaut()[:320])
    assert frame.source.name == "sample-portrait.png"
    assert frame.source.warnings == ()


@pytest.mark.parametrize("make", [sample_image, sample_manipulated, sample_edited])
def test_exactly_one_face_is_found(make):
    (face,) = find_faces(make())
    assert face.confidence > 0.5
    assert face.landmarks.shape == (68, 2)


@pytest.mark.parametrize("seed", [0, 1, 2, samples._BLEND_SEED])
def test_manipulation_is_confined_to_the_face_and_visible(seed):
    real, fake = sample_image().image.astype(int), sample_manipulated(seed).image.astype(int)
    left, top, right, bottom = find_faces(sample_image())[0].crop_box(0.6)
    outside = np.ones(real.shape[:2], bool)
    outside[top:bottom, left:right] = False
    np.testing.assert_array_equal(fake[outside], real[outside])
    change = np.abs(fake - real).mean(axis=2)
    assert change[change > 0].mean() > 3
    assert 0.01 < (change > 0).mean() < 0.15


def test_manipulation_is_deterministic_by_seed():
    sums = [sample_manipulated(seed).source.sha256 for seed in (0, 0, 1)]
    assert sums[0] == sums[1] != sums[2]
    assert sample_manipulated().source.sha256 == sample_manipulated(samples._BLEND_SEED).source.sha256


def test_written_files_are_the_samples(tmp_path):
    folder = tmp_path / "new" / "folder"
    for _ in range(2):  # the second time they are replaced
        paths = write_samples(folder)
    assert [p.name for p in paths] == ["sample-portrait.png", "sample-manipulated.png"]
    assert sorted(folder.iterdir()) == sorted(paths)
    for path, frame in zip(paths, (sample_image(), sample_manipulated()), strict=True):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == frame.source.sha256
        np.testing.assert_array_equal(read_image(path).image, frame.image)
    with Image.open(paths[1]) as picture:
        assert "manipulated" in picture.text["Description"]


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="there is a file of that name"):
        write_samples(tmp_path / "file")


def test_failed_write_leaves_no_partial_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutputError, match="disk is full"):
        write_samples(tmp_path)
    assert list(tmp_path.iterdir()) == []
