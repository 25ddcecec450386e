"""Image containers: frames and pages are counted and files sanitized without decoding."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from helpers.hostile_pictures import animated, encoded, scene, tiff
from PIL import Image

from redeepfake_nb.errors import MediaTooLarge, UnsupportedMedia
from redeepfake_nb.media import image_containers
from redeepfake_nb.media.image_containers import (
    DamagedContainer,
    check_ppm_header,
    inspect_tiff,
    is_animated,
    sanitize_gif,
    sanitize_jpeg,
)
from redeepfake_nb.media.image_decoding import decode_image
from redeepfake_nb.media.notes import unseen


def anything(*_: int) -> None:
    return None


def test_a_gif_is_reduced_to_its_first_frame():
    data = animated("GIF")
    found = sanitize_gif(data, anything)
    assert (found.frames, found.damaged) == (3, False)
    assert len(found.data) < len(data) / 2
    picture = Image.open(io.BytesIO(found.data))
    assert picture.n_frames == 1
    np.testing.assert_array_equal(
        np.asarray(picture.convert("RGB")), np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    )
    assert is_animated(data)
    assert not is_animated(encoded("GIF"))
    assert not is_animated(b"GIF89a")


def test_gif_by_hand():
    head = b"GIF89a" + struct.pack("<HHBBB", 2, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    control = b"\x21\xf9\x04\x01\0\0\0\0"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 2, 1, 0) + b"\x02\x02\x44\x01\0"
    comment = b"\x21\xfe\x03abc\0"
    sizes = []
    found = sanitize_gif(
        head + comment + control + frame + comment + frame + b";", lambda *size: sizes.append(size)
    )
    assert found.data == head + control + frame + b";"
    assert found.frames == 2
    assert sizes == [(2, 1), (2, 1)]
    # Bytes between blocks are skipped, as in decoders; a missing end matters only after the first frame.
    assert sanitize_gif(head + b"\0\0" + frame, anything).frames == 1
    assert sanitize_gif(head + frame + frame[:-3], anything).damaged
    for cut in (head[:9], head, head + frame[:-1], head + comment[:-2]):
        with pytest.raises(DamagedContainer):
            sanitize_gif(cut, anything)


def test_counting_is_limited(monkeypatch):
    monkeypatch.setattr(image_containers, "_MAX_BLOCKS", 2)
    monkeypatch.setattr(image_containers, "_MAX_PAGES", 2)
    assert sanitize_gif(animated("GIF"), anything).frames is None
    out = io.BytesIO()
    page = Image.fromarray(scene())
    page.save(out, "TIFF", save_all=True, append_images=[page, page])
    assert inspect_tiff(out.getvalue()).pages is None
    assert decode_image(out.getvalue())[2] == (unseen("1 of very many pages looked at"),)


@pytest.mark.parametrize("big", [False, True])
def test_pages_of_a_tiff(big):
    out = io.BytesIO()
    page = Image.fromarray(scene())
    page.save(out, "TIFF", save_all=True, append_images=[page, page], big_tiff=big)
    found = inspect_tiff(out.getvalue())
    assert (found.pages, found.damaged, found.preview) == (3, False, "")


def test_damaged_tiffs():
    good = tiff(4, 4, bytes(16))
    assert inspect_tiff(good).pages == 1
    looped = good[:-4] + good[4:8]
    assert inspect_tiff(looped) == inspect_tiff(good)
    assert inspect_tiff(good[:-4] + struct.pack("<I", 10**6)).damaged
    for bad in (good[:4], good[:30], good[:-10], tiff(4, 4, bytes(16), extra=((700, 7, 10**6, 8),))):
        with pytest.raises(DamagedContainer):
            inspect_tiff(bad)


def test_raw_files_are_named():
    for extra in ((50706, 1, 4, 1), (254, 4, 1, 1), (34665, 4, 1, 8)):
        preview = inspect_tiff(tiff(4, 4, bytes(16), extra=(extra,))).preview
        assert bool(preview) == (extra[0] != 34665)
    with pytest.raises(UnsupportedMedia, match="camera raw"):
        decode_image(tiff(4, 4, bytes(16), extra=((50706, 1, 4, 1),)))


@pytest.mark.parametrize(
    "header", [b"P6 2 2 255\n", b"P6\n# a comment\n2 2\n255\n", b"P4 2 2\n", b"P1 2 2\n"]
)
def test_headers_of_ppm(header):
    check_ppm_header(header + bytes(12))


@pytest.mark.parametrize(
    "header",
    [b"P6", b"P6 2", b"P6 a b c\n", b"P6 2 2\n", b"P6\n#" + b"x" * 70_000, b"P6 " + b"9" * 70_000],
)
def test_headers_of_ppm_that_do_not_end(header):
    with pytest.raises(DamagedContainer):
        check_ppm_header(header)


def test_pixel_values_as_text_have_their_own_limit():
    with pytest.raises(MediaTooLarge, match="as text"):
        decode_image(b"P3 3000 3000 255\n" + b"1 " * (9 * 2**20))


def test_scans_of_a_progressive_jpeg_are_counted():
    whole = sanitize_jpeg(encoded("JPEG", progressive=True))
    assert (whole.progressive, whole.fully_refined) == (True, True)
    assert whole.scans == 10
    data = encoded("JPEG", progressive=True)
    cut = sanitize_jpeg(data[: data.rindex(b"\xff\xda")] + b"\xff\xd9")
    assert (cut.scans, cut.fully_refined) == (9, False)
    plain = sanitize_jpeg(encoded("JPEG"))
    assert (plain.scans, plain.progressive, plain.fully_refined) == (1, False, True)
