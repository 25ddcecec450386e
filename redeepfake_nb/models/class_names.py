"""Tell which class a high output means from the names of the classes in the order of the model's columns.

Keras numbers classes by the alphabetical order of their folders. Of ``fake`` and ``real``, ``real`` is the
second: the second column of a softmax, and what a high sigmoid means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .card import PositiveClass

_FAKE = {"ai", "altered", "deepfake", "deepfakes", "df", "fake", "fakes", "faked", "forged", "forgery"}
_FAKE |= {"generated", "manipulated", "spoof", "swapped", "synthesis", "synthetic", "tampered"}
_REAL = {"actual", "authentic", "bonafide", "genuine", "live", "original", "originals", "pristine", "real"}
_REAL |= {"reals", "untouched", "youtube"}
# Files in which the classes' names are usually kept, beside the model.
_FILES = (
    "labels.txt",
    "class_names.txt",
    "classes.txt",
    "class_names.json",
    "class_indices.json",
    "labels.json",
)
_MAX_BYTES = 4096


def positive_class_of(names: Sequence[str]) -> PositiveClass:
    """Return the class that a high output means: the second one.

    Parameters
    ----------
    names
        The two classes in the order of the model's columns, such as ``("fake", "real")``.

    Raises
    ------
    ValueError
        Not two names of which one means fake and the other real.
    """
    given = [names] if isinstance(names, str) else list(names)
    meanings = [_meaning(name) for name in given]
    if len(meanings) != 2 or None in meanings or meanings[0] == meanings[1]:
        raise ValueError(
            "class_names are the two classes in the order of the model's columns, one of them fake and the "
            f"other real, such as ('fake', 'real'), not {names!r}"
        )
    return "fake" if meanings[1] == "fake" else "real"


def _meaning(name: object) -> PositiveClass | None:
    words = set(re.findall(r"[a-z]+", str(name).lower()))
    found: list[PositiveClass] = []
    if words & _FAKE:
        found.append("fake")
    if words & _REAL:
        found.append("real")
    return found[0] if len(found) == 1 else None


def find_class_names(model: Path) -> tuple[str, tuple[str, ...]] | None:
    """Find a file with the classes' names beside a model.

    Returns
    -------
    tuple or None
        Name of the file, and the two names in their order; ``None`` if there is none, or it lists others.
    """
    for name in (f"{model.stem}_labels.txt", *_FILES):
        try:
            path = model.with_name(name)
            if not path.is_file() or path.stat().st_size > _MAX_BYTES:
                continue
            names = _parse(path.read_text(encoding="utf-8"), path.suffix)
            positive_class_of(names)
        except (OSError, ValueError, TypeError, RecursionError):
            continue
        return name, tuple(names)
    return None


def _parse(text: str, suffix: str) -> list[str]:
    """Return names in order, from lines such as ``0 fake`` or JSON: a list, or names and numbers mapped."""
    if suffix == ".json":
        value: Any = json.loads(text)
        if isinstance(value, Mapping):
            by_number = (
                value if all(str(key).isdigit() for key in value) else {v: k for k, v in value.items()}
            )
            value = [by_number[key] for key in sorted(by_number, key=lambda key: int(key))]
        return [str(name) for name in value]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [re.sub(r"^\d+[\s:,;.]+", "", line) for line in lines]


def question(model: Path) -> str:
    """Say how to find out which class a high output means, as the end of a sentence."""
    found = find_class_names(model)
    known = ""
    if found is not None:
        name, names = found
        known = f" {name} beside it lists {', '.join(names)}, which would be class_names={names!r}."
    return (
        "which class a high output means, that is the second of two columns. Keras numbers classes by the "
        "alphabetical order of their folders: of fake and real, a high output means real "
        '(positive_class="real"), and class_names=("fake", "real") says so by columns.' + known
    )
