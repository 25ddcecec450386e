"""Pictures on their side."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from redeepfake_nb import find_faces
from redeepfake_nb.faces.blazeface import BlazeFaceDetector
from redeepfake_nb.faces.turned import TURNS, turn_of_frames, turned_by, turned_frame
from redeepfake_nb.media.frames import Frame, read_image, turned_pixels


def test_frames_are_turned_clockwise_and_say_so() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 0] = 255  # upper left
    right, left, down = (turned_frame(read_image(image), degrees) for degrees in TURNS)
    assert (right.width, right.height) == (2, 3)
    assert right.image[0, 1].all()
    assert left.image[2, 0].all()
    assert down.image[1, 2].all()
    assert right.source.warnings == ("turned 90 degrees clockwise, because faces are upright only so",)
    assert down.source.warnings[-1].startswith("turned upside down")
    assert turned_frame(Frame(image), 90).source is None
    assert [turned_by(frame.source) for frame in (right, left, down)] == list(TURNS)
    assert (turned_by(read_image(image).source), turned_by(None)) == (0, 0)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_face_on_its_side_is_found_in_the_turned_picture(turns: int) -> None:
    upright = astronaut()[:300]
    (expected,) = find_faces(upright, "blazeface")
    lying = np.ascontiguousarray(np.rot90(upright, turns))
    faces = find_faces(lying, "blazeface")
    (face,) = faces
    assert np.array_equal(face.frame.image, upright)
    # The second look, which every face of a turned picture gets, moves the box a little.
    assert np.abs(np.subtract(face.box, expected.box)).max() <= 0.1 * expected.width
    assert face.frame.source.warnings[-1].startswith("turned")


@pytest.mark.parametrize("tilt", [-135, -45, 45, 135])
def test_a_face_between_two_quarter_turns_is_found(tilt: int) -> None:
    """Its tilt is an estimate, which may put it beyond 45 degrees in both turned pictures."""
    height, width = (upright := astronaut()[:300]).shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -tilt, 0.8)
    matrix[:, 2] += (600 - width) / 2, (600 - height) / 2
    image = cv2.warpAffine(upright, matrix, (600, 600), borderValue=(128, 128, 128))
    (face,) = find_faces(image, "blazeface")
    assert bool(face.frame.source.warnings) == (abs(tilt) > 90)


@pytest.mark.parametrize(
    ("turns", "degrees", "taken"),
    [
        ((0, 0, 0), 0, 1),  # an upright face ends the search
        ((90, 90, 90, 90, 90), 90, 4),
        ((None, 180, None, 180), 180, 4),
        ((None, 270), 0, 2),  # one of two frames is too few
        ((270,), 270, 1),
        ((90, 270, 90, 90), 0, 4),
        ((), 0, 0),
    ],
)
def test_a_video_is_turned_where_its_first_frames_agree(
    turns: tuple[int | None, ...], degrees: int, taken: int
) -> None:
    upright = astronaut()[:300, 100:340]
    nothing = np.zeros((64, 64, 3), np.uint8)
    images = [nothing if turn is None else turned_pixels(upright, -turn) for turn in turns]
    found = turn_of_frames([Frame(image) for image in images], BlazeFaceDetector((384,)))
    assert (len(found[0]), found[1]) == (taken, degrees)


def test_only_blazeface_turns_videos() -> None:
    assert turn_of_frames([Frame(np.zeros((9, 9, 3), np.uint8))], lambda image: []) == ([], 0)
