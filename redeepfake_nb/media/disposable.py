"""Pictures that no other picture builds upon, told by their packets: others can be decoded without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

# Kinds of NAL units that carry parts of a picture (ITU-T H.264, table 7-1).
_SLICES = {1, 2, 3, 4, 5}


def disposable_test(codec: str, extradata: bytes | None) -> Callable[[memoryview], bool] | None:
    """How to tell whether the picture in a packet may be left out.

    In H.264 every part of a picture says in ``nal_ref_idc`` whether others are predicted from it; 0 means
    that none is (7.4.1). With most encoders' settings that holds for a third to a half of all pictures.

    Parameters
    ----------
    codec
        FFmpeg's name.
    extradata
        What the container keeps for the decoder. It says how units are told apart: by lengths in front
        (ISO/IEC 14496-15, 5.3.3) or by start codes (H.264, annex B).

    Returns
    -------
    callable or None
        Packet's bytes -> whether all of it is such pictures; ``None`` for codecs other than H.264.
    """
    if codec != "h264":
        return None
    lengths = extradata is not None and len(extradata) > 4 and extradata[0] == 1
    size = (extradata[4] & 3) + 1 if lengths else 0

    def disposable(packet: memoryview) -> bool:
        some = False
        for header in _by_length(packet, size) if lengths else _by_start_code(packet):
            if header & 0x1F in _SLICES:
                if header >> 5 & 3:
                    return False
                some = True
        return some

    return disposable


def _by_length(packet: memoryview, size: int) -> Iterator[int]:
    """First byte of each unit. A length that does not fit yields a unit that others build upon."""
    place = 0
    while place + size < len(packet):
        length = int.from_bytes(packet[place : place + size], "big")
        place += size
        if not 0 < length <= len(packet) - place:
            yield 0x65
            return
        yield packet[place]
        place += length


def _by_start_code(packet: memoryview) -> Iterator[int]:
    data = bytes(packet)
    place = data.find(b"\0\0\1")
    while 0 <= place < len(data) - 3:
        yield data[place + 3]
        place = data.find(b"\0\0\1", place + 3)
