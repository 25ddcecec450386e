"""Pictures on their side."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.data import astronaut

from redeepfake_nb import find_faces
from redeepfake_nb.faces.turned import turned_frames
from redeepfake_nb.media.frames import Frame, read_image


def test_frames_are_turned_clockwise_and_say_so() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 0] = 255  # upper left
    right, left, down = turned_frames(read_image(image))
    assert (right.width, right.height) == (2, 3)
    assert right.image[0, 1].all()
    assert left.image[2, 0].all()
    assert down.image[1, 2].all()
    assert right.source.warnings == ("turned 90 degrees clockwise, because faces are upright only so",)
    assert down.source.warnings[-1].startswith("turned upside down")
    assert [f.source for f in turned_frames(Frame(image))] == [None] * 3


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_face_on_its_side_is_found_in_the_turned_picture(turns: int) -> None:
    upright = astronaut()[:300]
    (expected,) = find_faces(upright, "blazeface")
    lying = np.ascontiguousarray(np.rot90(upright, turns))
    faces = find_faces(lying, "blazeface")
    (face,) = faces
    assert np.array_equal(face.frame.image, upright)
    assert face.box == expected.box
    assert face.frame.source.warnings[-1].startswith("turned")
