"""EXIF blocks, small and hostile."""

from __future__ import annotations

import struct

import pytest
from helpers.metadata_files import located, picture, saved, tiff

from redeepfake_nb.provenance.exif import DamagedExif, decode_text, read_exif


@pytest.mark.parametrize("order", ["<", ">"])
def test_texts_are_read_in_both_byte_orders(order: str) -> None:
    block = tiff({0x010F: b"Canon", 0x0131: b"Adobe Photoshop 25.0\0"}, order=order)
    fields = read_exif(b"Exif\0\0" + block).fields
    assert fields == {"Make": "Canon", "Software": "Adobe Photoshop 25.0"}


def test_the_preview_is_cut_out() -> None:
    preview = saved(picture())
    assert read_exif(tiff({0x010F: b"Canon"}, thumbnail=preview)).thumbnail == preview


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"ASCII\0\0\0Steps: 20", "Steps: 20"),
        (b"UNICODE\0" + "Steps: 20".encode("utf-16-be"), "Steps: 20"),
        (b"UNICODE\0" + "Steps: 20".encode("utf-16-le"), "Steps: 20"),
        (bytes(8) + b"Steps: 20\0\0", "Steps: 20"),
    ],
)
def test_user_comments_have_a_character_code(value: bytes, text: str) -> None:
    assert decode_text("UserComment", value) == text


def test_the_position_is_read_on_request_only() -> None:
    block = located((52, 1, 30, 1, 0, 1), south=b"S\0\0\0")
    asked, silent = read_exif(block, location=True), read_exif(block)
    assert silent.has_location
    assert silent.location is None
    assert asked.location == pytest.approx((-52.5, -9.51))


@pytest.mark.parametrize("latitude", [(52, 0, 30, 1, 0, 1), (4_000_000_000, 1, 0, 1, 0, 1)])
def test_an_impossible_position_is_none(latitude: tuple[int, ...]) -> None:
    found = read_exif(located(latitude), location=True)
    assert found.has_location
    assert found.location is None


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*\0",
        b"MM\0*\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"II+\0\x08\0\0\0\x08\0\0\0",
        b"<html>",
    ],
)
def test_what_is_no_structure_is_refused(block: bytes) -> None:
    with pytest.raises(DamagedExif):
        read_exif(block)


def test_values_outside_of_the_block_are_left_out() -> None:
    block = struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 0x010F, 2, 2**31, 26, 0)
    assert read_exif(block).fields == {}


def test_a_directory_that_names_itself_as_the_next_ends() -> None:
    block = bytearray(tiff({0x010F: b"Canon"}))
    struct.pack_into("<I", block, 8 + 2 + 12, 8)
    assert read_exif(bytes(block)).fields == {"Make": "Canon"}
