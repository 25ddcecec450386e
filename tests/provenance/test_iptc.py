"""IPTC-IIM records."""

from __future__ import annotations

import struct

from redeepfake_nb.provenance.iptc import find_iptc, read_iptc


def _record(number: int, text: bytes, record: int = 2) -> bytes:
    return struct.pack(">BBBH", 0x1C, record, number, len(text)) + text


def test_fields_are_read_in_their_encoding() -> None:
    block = _record(90, b"\x1b%G", 1) + _record(110, "Möglich".encode()) + _record(65, b"Midjourney")
    assert read_iptc(block) == [("Credit", "Möglich"), ("OriginatingProgram", "Midjourney")]
    assert read_iptc(_record(110, "Möglich".encode("latin-1"))) == [("Credit", "Möglich")]


def test_reading_ends_where_the_block_is_damaged() -> None:
    assert read_iptc(_record(110, b"Agency") + b"\x1c\x02") == [("Credit", "Agency")]
    assert read_iptc(b"\x1c\x02\x6e\xff\xff" + b"x" * 10) == []
    assert read_iptc(b"") == []


def test_the_block_is_found_among_image_resources() -> None:
    inner = _record(110, b"Agency")
    other = b"8BIM" + struct.pack(">H", 0x03ED) + b"\x03abc" + struct.pack(">I", 3) + b"xyz\0"
    wanted = b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0" + struct.pack(">I", len(inner)) + inner
    assert find_iptc(other + wanted) == inner
    assert find_iptc(other) == find_iptc(b"8BIM") == find_iptc(b"") == b""
