"""Logs: bytes that can be checked by hand, and TensorBoard's own reader where it is installed."""

from __future__ import annotations

import struct
from pathlib import Path

import pandas as pd
import pytest

from redeepfake_nb.training.logs import ProgressBar, ScalarLog, crc32c, write_history


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        # RFC 3720, B.4, and the check value of the catalogue of CRC algorithms.
        (b"", 0),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
    ],
)
def test_checksums_of_the_standard(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


def records(folder: Path) -> list[bytes]:
    """The messages in all files of a folder, with lengths and checksums checked."""
    found = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            for part, mark in ((data[:8], data[8:12]), (data[12 : 12 + length], data[12 + length :][:4])):
                crc = crc32c(part)
                turned = (crc // 2**15 + crc * 2**17) % 2**32
                assert struct.unpack("<I", mark)[0] == (turned + 0xA282EAD8) % 2**32
            found.append(data[12 : 12 + length])
            data = data[16 + length :]
    return found


def test_a_scalar_byte_by_byte(tmp_path: Path) -> None:
    ScalarLog(tmp_path / "tb", 300).add(300, {"a": 1.5})
    version, start, value = records(tmp_path / "tb")
    assert version[:1] == b"\x09"  # field 1, eight bytes: wall time
    assert version[9:] == b"\x10\x00\x1a\x0dbrain.Event:2"
    # 300 is 0b10_0101100: seven bits, lowest first. Field 7 holds the message "field 1 is 1".
    assert start[9:] == b"\x10\xac\x02\x3a\x02\x08\x01"
    # Field 5, 10 bytes: field 1, 8 bytes: field 1 is "a", field 2 is 1.5 as four bytes.
    assert value[9:] == b"\x10\xac\x02\x2a\x0a\x0a\x08\x0a\x01a\x15\x00\x00\xc0\x3f"


def test_nothing_is_written_before_there_is_a_value(tmp_path: Path) -> None:
    ScalarLog(tmp_path / "tb")
    assert not (tmp_path / "tb").exists()


def test_tensorboard_reads_it_and_forgets_what_a_resumed_run_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    killed = ScalarLog(tmp_path / "tb")
    for step in (10, 20, 30):
        killed.add(step, {"loss": step / 10, "auc": 0.5})
    monkeypatch.setattr("redeepfake_nb.training.logs.time.time", lambda: 2_000_000_000.0)
    ScalarLog(tmp_path / "tb", 20).add(20, {"loss": -1.0})
    log = reader.EventAccumulator(str(tmp_path / "tb"))
    log.Reload()
    assert [(s.step, s.value) for s in log.Scalars("loss")] == [(10, 1.0), (20, -1.0)]
    assert [s.step for s in log.Scalars("auc")] == [10]


def test_history_grows_columns(tmp_path: Path) -> None:
    path = tmp_path / "out" / "history.csv"
    write_history(path, [{"step": 1, "auc": 0.5}])
    write_history(path, [{"step": 1, "auc": 0.5}, {"step": 2, "auc": 0.75, "start": "random"}])
    read = pd.read_csv(path)
    assert list(read.columns) == ["step", "auc", "start"]
    assert list(read["auc"]) == [0.5, 0.75]
    assert [p.name for p in path.parent.iterdir()] == ["history.csv"]


def test_the_bar_speaks_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar(every=0) as progress:
        for step in range(5, 9):  # a resumed run
            progress(step, 8, 0.25)
    out, err = capsys.readouterr()
    assert "8/8" in out
    assert "loss=0.2500" in out
    assert err == ""
