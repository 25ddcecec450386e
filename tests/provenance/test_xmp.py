"""XMP packets: what is read, and hostile XML, which is refused."""

from __future__ import annotations

import time

import pytest
from helpers.metadata_files import xmp

from redeepfake_nb.provenance.xmp import MAX_PACKET, DamagedXmp, read_xmp


def test_elements_attributes_and_lists_are_read() -> None:
    packet = xmp(
        "<xmp:CreatorTool>Adobe Firefly</xmp:CreatorTool>"
        "<dc:creator><rdf:Seq><rdf:li>A. Person</rdf:li><rdf:li>B. Person</rdf:li></rdf:Seq></dc:creator>"
        '<xmpMM:History><rdf:Seq><rdf:li stEvt:action="saved" stEvt:softwareAgent="GIMP"/></rdf:Seq>'
        "</xmpMM:History>"
        '<dcterms:provenance rdf:resource="https://example.org/m.c2pa"/>'
    )
    assert read_xmp(packet) == [
        ("xmp:CreatorTool", "Adobe Firefly"),
        ("dc:creator", "A. Person"),
        ("dc:creator", "B. Person"),
        ("stEvt:action", "saved"),
        ("stEvt:softwareAgent", "GIMP"),
        ("dcterms:provenance", "https://example.org/m.c2pa"),
    ]


def test_the_packet_wrapper_and_padding_are_allowed() -> None:
    packet = b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>' + xmp(
        "<xmp:CreatorTool>X</xmp:CreatorTool>"
    )
    assert read_xmp(packet + b"\n" * 2000 + b'<?xpacket end="w"?>\0') == [("xmp:CreatorTool", "X")]


BILLION = "<!DOCTYPE x [<!ENTITY a0 'ha'>" + "".join(
    f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 12)
) + "]>"  # fmt: skip


@pytest.mark.parametrize(
    "prolog",
    [
        BILLION,
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
        "<!DOCTYPE x [<!ENTITY % a 'b'> %a;]>",
    ],
)
def test_document_types_and_entities_are_refused_at_once(prolog: str) -> None:
    began = time.monotonic()
    with pytest.raises(DamagedXmp, match="document type"):
        read_xmp(xmp("<xmp:CreatorTool>&a11;</xmp:CreatorTool>", prolog))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (b"<x:xmpmeta", "well-formed"),
        (b"", "well-formed"),
        (b"<a>" * 100 + b"</a>" * 100, "nested"),
        (xmp("<dc:title>x</dc:title>" * 30_000), "too many"),
        (b" " * (MAX_PACKET + 1), "limit"),
        (b'<?xml version="1.0" encoding="nonsense"?><a/>', "encoding"),
    ],
)
def test_damaged_and_oversized_packets_are_refused(packet: bytes, words: str) -> None:
    with pytest.raises(DamagedXmp, match=words):
        read_xmp(packet)
