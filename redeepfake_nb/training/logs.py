"""What a training run writes down: history as CSV, scalars for TensorBoard, a progress bar.

TensorBoard's files are written here directly, so that neither TensorFlow nor TensorBoard need be there.
They are records (length, its checksum, data, the data's checksum; ``tensorflow/core/lib/io/record_writer.h``)
of protocol buffer messages ``Event`` (``tensorflow/core/util/event.proto``).
"""

from __future__ import annotations

import csv
import os
import struct
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType

from ..utils.writing import whole_file


def write_history(path: Path, history: list[dict]) -> None:
    """One line per evaluation, replaced in one move. Lines may lack columns that later ones have."""
    columns = list(dict.fromkeys(name for line in history for name in line))
    with whole_file(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns)
        writer.writeheader()
        writer.writerows(history)


class ProgressBar:
    """``progress`` for :func:`redeepfake_nb.training.trainer.train`: a tqdm bar with the loss, on standard output.

    To be used in a ``with`` statement. Standard error would look like a failure in a notebook.
    """

    def __init__(self, every: float = 1.0) -> None:
        from tqdm import tqdm

        self._bar = tqdm(unit="step", file=sys.stdout, mininterval=every)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def __call__(self, step: int, steps: int, loss: float) -> None:
        """Step ``step`` of ``steps`` is done, with this recent loss."""
        self._bar.total = steps
        self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self._bar.update(step - self._bar.n)


class ScalarLog:
    """Scalars over steps, in a folder that TensorBoard reads.

    Parameters
    ----------
    folder
        Made with the first value. Each process adds a file of its own.
    step
        Where this process begins. TensorBoard forgets what a killed one wrote of later steps.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self.folder = folder
        self._step = step
        self._path: Path | None = None

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write these values at once; nothing is lost if the process is killed afterwards."""
        data = b""
        if self._path is None:
            now = time.time()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._path = self.folder / f"events.out.tfevents.{int(now):010d}.{os.getpid()}.redeepfake_nb"
            data = _record(_event(now, 0, _bytes(3, b"brain.Event:2")))
            start = _number(1, 1)  # SessionLog.START
            data += _record(_event(now, self._step, _bytes(7, start)))
        summary = b"".join(
            _bytes(1, _bytes(1, tag.encode()) + _tag(2, 5) + struct.pack("<f", value))
            for tag, value in values.items()
        )
        with open(self._path, "ab") as file:
            file.write(data + _record(_event(time.time(), step, _bytes(5, summary))))


def _event(wall_time: float, step: int, content: bytes) -> bytes:
    return _tag(1, 1) + struct.pack("<d", wall_time) + _number(2, step) + content


def _tag(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _number(field: int, value: int) -> bytes:
    return _tag(field, 0) + _varint(value)


def _bytes(field: int, data: bytes) -> bytes:
    return _tag(field, 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    """Seven bits to a byte, lowest first; the top bit says that more follow."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    """The checksum as record files hold it: turned by 15 bits, plus a constant."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(data: bytes) -> int:
    """Castagnoli's 32-bit checksum (RFC 3720, appendix B.4), which zlib does not have."""
    crc, table = 0xFFFFFFFF, _crc_table()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@cache
def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table
