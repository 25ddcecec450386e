"""Read tables of text as spreadsheets and other programs save them: any usual separator and encoding."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

_SEPARATORS = ",;\t|"


def read_table_text(path: str | os.PathLike, known: Collection[str]) -> tuple[str, str]:
    """Read a table as text and tell what separates its columns.

    Parameters
    ----------
    path
        A file in UTF-8, UTF-16 or the code page of Windows.
    known
        Names of columns, in lower case, that tell a header split at the right separator.

    Returns
    -------
    tuple of str
        The text from the header on, and the separator: a comma, a semicolon, a tab or a bar.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It holds no text.
    """
    lines = _decoded(Path(path).read_bytes()).splitlines(keepends=True)
    while lines and (not lines[0].strip() or lines[0].strip().lower() in (f"sep={s}" for s in _SEPARATORS)):
        del lines[0]  # Excel names the separator in a line of its own
    header = lines[0] if lines else ""

    def fit(separator: str) -> tuple[int, int]:
        names = {name.strip().strip('"').lower() for name in header.split(separator)}
        return len(names.intersection(known)), len(names)

    return "".join(lines), max(_SEPARATORS, key=fit)


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16")
    elif b"\0" in data[:200]:
        text = data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252")
    if "\0" in text:
        raise ValueError("it holds no text")
    return text
