"""Tell whether a checkpoint belongs to a training run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def check_checkpoint(path: Path, state: Mapping[str, Any], recipe: str, faces: str) -> None:
    """Compare the digests of recipe and faces in a checkpoint's state with those of the run that resumes.

    Raises
    ------
    ValueError
        The checkpoint belongs to another recipe, or to other faces.
    """
    if state["recipe"] != recipe:
        raise ValueError(f"{path} belongs to another recipe; choose another folder")
    # Checkpoints before this entry existed do not say.
    if state.get("faces", faces) != faces:
        raise ValueError(f"{path} belongs to other faces, or another split; choose another folder")
