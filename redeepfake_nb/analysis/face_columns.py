"""What is known of a face beside its score, as columns of the tables of pictures and videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..faces.face import Face

if TYPE_CHECKING:
    from .video_report import Sighting

FACE_COLUMNS = "detector turned_deg detail_px blocks covered mouth_covered uncertain profile"


def face_facts(face: Face | Sighting, detector: str | None, turned: int) -> dict[str, Any]:
    """Return the cells of :data:`FACE_COLUMNS` for one face; ``None`` is what is not known.

    Parameters
    ----------
    face
        Of a picture, or of a video's frame.
    detector
        Who found it; ``None`` where it was tracked from the frame before.
    turned
        Degrees clockwise by which the picture or video was turned to search it.
    """
    known = not isinstance(face, Face) or face.key_points is not None
    return {
        "detector": detector,
        "turned_deg": turned,
        "detail_px": None if face.detail is None else round(face.detail.size, 1),
        "blocks": None if face.detail is None else face.detail.blocks,
        "covered": face.covered,
        "mouth_covered": face.mouth_covered if known else None,
        "uncertain": face.uncertain if known else None,
        "profile": face.profile if known else None,
    }


def kind_columns(kinds: Sequence[str]) -> list[str]:
    """Name the columns that hold the probability of each kind of fake."""
    return [f"kind_{kind}" for kind in kinds]


def kind_facts(kinds: Mapping[str, float]) -> dict[str, float]:
    """Return the cells of :func:`kind_columns` for one face."""
    return dict(zip(kind_columns(list(kinds)), kinds.values(), strict=True))
