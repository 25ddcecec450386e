"""Whether the HDF5 library comes to an end with a file, tried in a process of its own.

The library is C and trusts what a file says of itself: damaged attributes may send it in a circle, which no
time limit inside a process ends, and damaged indexes may crash it. So a child goes through a file first.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ...errors import NotAModel

# Seconds. A real file takes a fraction of one.
LIMIT = 20.0
# Follows nothing that points out of the file; errors are left to whoever opens it next.
_WALK = """
import sys
import h5py

waiting, seen = [(h5py.File(sys.argv[1], "r", locking=False), 0)], set()
while waiting and len(seen) < 50_000:
    group, depth = waiting.pop()
    for attribute in group.attrs:
        try:
            group.attrs[attribute]
        except Exception:
            pass
    if isinstance(group, h5py.Dataset):
        if group.chunks:
            group.id.get_num_chunks()
        continue
    for name in group if depth < 64 else ():
        try:
            member = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
            place = h5py.h5o.get_info(member.id).addr if member is not None else None
        except Exception:
            continue
        if place is not None and place not in seen:
            seen.add(place)
            waiting.append((member, depth + 1))
"""


def probe(path: Path, subject: object) -> None:
    """Let a child go through the file's groups, attributes and indexes; its arrays stay unread.

    Raises
    ------
    NotAModel
        The library hangs on it or crashes.
    """
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-c", _WALK, os.fspath(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired as error:
        raise _damaged("comes to no end with it", subject) from error
    except OSError:
        return  # no such process can be started here
    if ended.returncode < 0:
        raise _damaged("crashes on it", subject)


def _damaged(how: str, subject: object) -> NotAModel:
    return NotAModel(
        f"the file is damaged so that the HDF5 library {how}",
        subject=subject,
        next_step="Copy or download it again.",
    )
