"""Find the face of one picture that shows the same person as a face of another picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..faces.detection import box_iou
from ..faces.face import Face
from ..media.frames import Frame
from ..models.embedding import embed_faces
from .pairs import SAME_PLACE, same_shape, scaled_box


def matching_face(face: Face, frame: Frame, faces: Sequence[Face]) -> Face | None:
    """Return the face of another picture that belongs to ``face``.

    Parameters
    ----------
    face
        Of the first picture.
    frame
        The other picture.
    faces
        Its faces, largest first; may be empty.

    Returns
    -------
    Face or None
        In a picture of the same shape the face at the same place, also where no face was found in it. Else
        the face whose embedding is closest, or the largest one where there are no landmarks. None where the
        picture has no face.
    """
    if same_shape(face.frame, frame):
        box = scaled_box(face, frame)
        nearest = max(faces, key=lambda other: box_iou(box, other.box), default=None)
        if nearest is None:
            return replace(face, frame=frame, box=box, landmarks=None, key_points=None, sharpness=None)
        if box_iou(box, nearest.box) >= SAME_PLACE:
            return nearest
    known = [other for other in faces if other.landmarks is not None]
    if len(faces) < 2 or face.landmarks is None or not known:
        return faces[0] if faces else None
    (wanted,) = embed_faces(face.frame.image, [face.landmarks])
    embeddings = embed_faces(frame.image, [other.landmarks for other in known if other.landmarks is not None])
    return known[int(np.argmin([np.linalg.norm(wanted - e) for e in embeddings]))]
