"""What ``provenance`` makes of whole files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.metadata_files import located, picture, saved, tiff, with_exif, with_segment, with_xmp, xmp
from PIL import PngImagePlugin

from redeepfake_nb.errors import EmptyFile, InputError, UnsupportedMedia
from redeepfake_nb.media.frames import read_image
from redeepfake_nb.provenance import Provenance, provenance
from redeepfake_nb.provenance.reading import TRUST_LIST_VARIABLE, provenance_or_reason
from redeepfake_nb.provenance.records import ContentCredentials

TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
LABEL = '{"Label":"1","ContentProducer":"Maker","ProduceID":"7"}'


def _claims(data: bytes) -> list[tuple[str, str, bool]]:
    return [(claim.kind, claim.value, claim.ai) for claim in provenance(data).claims]


def test_a_file_that_says_nothing() -> None:
    found = provenance(saved(picture()))
    assert found.declared_ai is None
    assert found.statements == ()
    assert found.headline == ""
    assert found.unread == ()
    assert found.rows()[0] == ("Content Credentials", "none, which means nothing")


@pytest.mark.parametrize(
    ("properties", "claim"),
    [
        (
            f"<Iptc4xmpExt:DigitalSourceType>{TYPES}trainedAlgorithmicMedia</Iptc4xmpExt:DigitalSourceType>",
            ("source type", "made by generative AI", True),
        ),
        (
            f"<Iptc4xmpExt:DigitalSourceType>{TYPES}digitalCapture</Iptc4xmpExt:DigitalSourceType>",
            ("source type", "taken by a digital camera", False),
        ),
        (
            "<photoshop:Credit>Made with Google AI</photoshop:Credit>",
            ("generator", "Made with Google AI", True),
        ),
        ("<photoshop:Credit>Agency</photoshop:Credit>", ("credit", "Agency", False)),
        ("<xmp:CreatorTool>Adobe Firefly 3</xmp:CreatorTool>", ("generator", "Adobe Firefly 3", True)),
        ("<xmp:CreatorTool>GIMP 2.10</xmp:CreatorTool>", ("software", "GIMP 2.10", False)),
        ("<Iptc4xmpExt:AISystemUsed>X</Iptc4xmpExt:AISystemUsed>", ("AI label", "X", True)),
        (f"<TC260:AIGC>{LABEL}</TC260:AIGC>", ("AI label", "made by AI by Maker (GB 45438 label 1)", True)),
        (
            '<xmpMM:History><rdf:Seq><rdf:li stEvt:action="saved"/></rdf:Seq></xmpMM:History>',
            ("edit", "saved", False),
        ),
        (
            "<dcterms:provenance>Estate of J. Doe, bought 1998</dcterms:provenance>",
            ("provenance", "Estate of J. Doe, bought 1998", False),
        ),
    ],
)  # fmt: skip
def test_claims_of_xmp(properties: str, claim: tuple[str, str, bool]) -> None:
    assert _claims(with_xmp(saved(picture()), xmp(properties))) == [claim]


@pytest.mark.parametrize(
    ("value", "state", "words"),
    [
        ("https://example.org/a.c2pa", "remote", "are at https://example.org/a.c2pa; not fetched"),
        ("self#jumbf=/c2pa/urn:uuid:1", "missing", "inside it, which were removed or lost"),
    ],
)
def test_credentials_that_are_not_in_the_file(value: str, state: str, words: str) -> None:
    properties = f"<dcterms:provenance>{value}</dcterms:provenance>"
    found = provenance(with_xmp(saved(picture()), xmp(properties)))
    assert found.credentials.state == state
    assert found.statements[0].endswith(words)
    assert found.claims == ()


def test_metadata_that_cannot_be_read_is_no_silence() -> None:
    cut = xmp("<xmp:CreatorTool>Adobe Firefly 3</xmp:CreatorTool>")[:-20]
    found = provenance(with_xmp(saved(picture()), cut))
    assert found.statements == ()
    assert found.summary.startswith("nothing was found in what could be read of it; not read: XMP")


def test_claims_of_exif() -> None:
    entries = {0x010F: b"NIKON", 0x0110: b"D850", 0x0131: b"Midjourney", 0x013B: b"Roop Kumar"}
    assert _claims(with_exif(saved(picture()), tiff(entries))) == [
        ("generator", "Midjourney", True),
        ("camera", "NIKON D850", False),
        ("author", "Roop Kumar", False),
    ]


def test_claims_of_texts_and_comments() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a face\nSteps: 5, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64")
    texts.add_text("Software", "Tool 1")
    found = provenance(saved(picture(), "PNG", pnginfo=texts))
    assert found.declared_ai == "claimed"
    assert [claim.where for claim in found.claims] == ["PNG text “parameters”", "PNG text “Software”"]
    assert found.statements[0].startswith(
        "The file claims, unsigned: Stable Diffusion (web UI), prompt “a face”"
    )
    assert _claims(with_segment(saved(picture()), 0xFE, b"CREATOR: gd-jpeg v1.0")) == [
        ("software", "CREATOR: gd-jpeg v1.0", False)
    ]


def test_hostile_texts_are_shown_printable_and_short() -> None:
    nasty = "<script>alert(1)</script>\x1b[2J\r\n=1+1" + "x" * 100_000
    data = with_xmp(saved(picture()), xmp(f"<xmp:CreatorTool>{'y' * 60_000}</xmp:CreatorTool>"))
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Software", nasty)
    for found in (provenance(data), provenance(saved(picture(), "PNG", pnginfo=texts))):
        for name, words in found.rows():
            assert f"{name}{words}".isprintable()
            assert len(words) < 500
        json.dumps(found.to_dict())


def test_a_failure_costs_one_part_and_is_recorded() -> None:
    data = with_xmp(with_exif(saved(picture()), b"nonsense"), b"<!DOCTYPE x><x/>")
    found = provenance(with_segment(data, 0xFE, b"Tool"))
    assert found.unread == (
        "EXIF: it is not an EXIF structure",
        "XMP: it has a document type or entities, which XMP never has",
    )
    assert [claim.value for claim in found.claims] == ["Tool"]


def test_a_preview_of_another_picture_is_shown() -> None:
    image = picture(1, (480, 320))
    small = saved(image.resize((160, 107)))
    own = provenance(with_exif(saved(image), tiff({0x010F: b"X"}, thumbnail=small)))
    assert own.thumbnail is not None
    assert not own.thumbnail.differs
    assert own.statements == ()
    other = provenance(with_exif(saved(picture(2, (480, 320))), tiff({0x010F: b"X"}, thumbnail=small)))
    assert other.thumbnail is not None
    assert other.thumbnail.differs
    assert other.thumbnail.image.shape == (107, 160, 3)
    assert "shows something else" in other.statements[0]
    assert other.declared_ai is None


def test_a_damaged_preview_is_recorded() -> None:
    found = provenance(with_exif(saved(picture()), tiff({0x010F: b"X"}, thumbnail=b"\xff\xd8\xff no")))
    assert found.thumbnail is None
    assert found.unread[0].startswith("embedded preview: ")


def test_the_position_never_leaves_without_being_asked_for() -> None:
    data = with_exif(saved(picture()), located((52, 1, 30, 1, 0, 1)))
    silent, asked = provenance(data), provenance(data, location=True)
    assert silent.has_location
    assert silent.location is None
    assert asked.location == pytest.approx((52.5, -9.51))
    for found in (silent, asked):
        assert "52.5" not in json.dumps(found.to_dict())
    assert asked.to_dict(location=True)["location"] == pytest.approx([52.5, -9.51])


def test_paths_bytes_and_uploads_give_the_same(tmp_path: Path) -> None:
    data = with_xmp(saved(picture()), xmp("<xmp:CreatorTool>T</xmp:CreatorTool>"))
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    upload = {"name": "a.jpg", "content": data}
    first, *others = (provenance(source) for source in (path, str(path), data, upload))
    assert first.source.name == "a.jpg"
    assert first.source.sha256 is not None
    assert all(other.to_dict() == first.to_dict() for other in others)


def test_pixels_hold_no_metadata() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    assert provenance(pixels).unread == ("metadata: only pixels were given, not a file",)
    assert provenance_or_reason(pixels) is None
    assert provenance_or_reason(read_image(pixels)) is None


def test_what_cannot_be_read_is_an_error_here_and_a_note_in_reports(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.jpg", tmp_path / "text.jpg"
    empty.write_bytes(b"")
    text.write_text("hello there")
    with pytest.raises(EmptyFile):
        provenance(empty)
    with pytest.raises(UnsupportedMedia, match="neither a picture nor a video"):
        provenance(text)
    with pytest.raises(InputError):
        provenance(tmp_path / "missing.jpg")
    with pytest.raises(UnsupportedMedia):
        provenance(None)
    noted = provenance_or_reason(tmp_path / "missing.jpg")
    assert isinstance(noted, Provenance)
    assert noted.unread == ("metadata: there is no such file",)
    assert noted.declared_ai is None


def test_a_trust_list_that_cannot_be_used_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, wrong = saved(picture()), tmp_path / "list.pem"
    wrong.write_text("no certificate")
    with pytest.raises(InputError, match="no certificate in PEM format"):
        provenance(data, trust_list=wrong)
    monkeypatch.setenv(TRUST_LIST_VARIABLE, str(tmp_path / "missing.pem"))
    with pytest.raises(InputError, match="no such file"):
        provenance(data)
    noted = provenance_or_reason(data)
    assert noted is not None
    assert noted.unread == ("trust list: there is no such file",)
    assert noted.summary == "it declares nothing on how it was made, which means nothing"
    signed = replace(noted, credentials=ContentCredentials("valid", name="X", ai="all"))
    assert "No signer was checked: trust list: there is no such file" in signed.statements


def test_tags_of_videos(small_clip_with_tags: bytes) -> None:
    found = provenance(small_clip_with_tags)
    claims = {(claim.kind, claim.value) for claim in found.claims}
    assert ("generator", "Sora 2") in claims
    assert found.declared_ai == "claimed"
    assert ("video stream", "mpeg4") in found.details
    assert ("time", "2024-05-01T12:00:00+0200") in claims


@pytest.fixture
def small_clip_with_tags(tmp_path: Path) -> bytes:
    import av

    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as out:
        out.metadata["software"] = "Sora 2"
        out.metadata["comment"] = "hello"
        out.metadata["com.apple.quicktime.creationdate"] = "2024-05-01T12:00:00+0200"
        stream = out.add_stream("mpeg4", 10)
        stream.width = stream.height = 32
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path.read_bytes()
