"""Read the text fields of IPTC-IIM records, as Photoshop stores them in JPEG and TIFF files.

The layout is that of IIM 4.2 (IPTC) and of the "Photoshop Image Resources" in Adobe's file format
specification.
"""

from __future__ import annotations

_FIELDS = {
    5: "Title",
    40: "SpecialInstructions",
    65: "OriginatingProgram",
    80: "By-line",
    105: "Headline",
    110: "Credit",
    115: "Source",
    116: "Copyright",
    120: "Caption",
}
_MAX_FIELDS = 500
_IPTC_RESOURCE = 0x0404


def find_iptc(resources: bytes) -> bytes:
    """Find the IPTC block among Photoshop's image resources; empty if there is none."""
    place = 0
    for _ in range(_MAX_FIELDS):
        if resources[place : place + 4] != b"8BIM" or place + 7 > len(resources):
            return b""
        kind = int.from_bytes(resources[place + 4 : place + 6], "big")
        place += 6 + (resources[place + 6] + 2) // 2 * 2
        length = int.from_bytes(resources[place : place + 4], "big")
        place += 4
        if kind == _IPTC_RESOURCE:
            return resources[place : place + length]
        place += (length + 1) // 2 * 2
    return b""


def read_iptc(block: bytes) -> list[tuple[str, str]]:
    """Read the fields of record 2 as (name, text); reading ends where the block is damaged."""
    found: list[tuple[str, str]] = []
    place, utf8 = 0, False
    for _ in range(_MAX_FIELDS):
        if block[place : place + 1] != b"\x1c" or place + 5 > len(block):
            break
        record, number = block[place + 1], block[place + 2]
        length = int.from_bytes(block[place + 3 : place + 5], "big")
        place += 5
        if length & 0x8000:  # an extended data set, which no text field needs
            break
        value = block[place : place + length]
        place += length
        if (record, number) == (1, 90):
            utf8 = value == b"\x1b%G"
        elif record == 2 and number in _FIELDS:
            text = value.decode("utf-8" if utf8 else "latin-1", "replace").strip("\0 ")
            if text:
                found.append((_FIELDS[number], text))
    return found
