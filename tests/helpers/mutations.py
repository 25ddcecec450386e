"""Damage a file reproducibly by seed: bits, truncation, splices, false numbers in headers and lengths."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Numbers at which readers fail: limits of 8, 16 and 32 bits, their neighbours, and 0.
_BOUNDARIES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
# Number of bytes at the start of a file that are treated as its header.
_HEADER = 600


def mutated(data: bytes, seed: int, other: bytes = b"") -> bytes:
    """``data`` after one to four kinds of damage. The same seed gives the same bytes.

    ``other`` is a file of the same kind, of which parts may be spliced in.
    """
    rng = np.random.default_rng(seed)
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not out:
            break
        _KINDS[int(rng.integers(len(_KINDS)))](out, rng, other or data)
    return bytes(out)


def _bits(out: bytearray, rng: np.random.Generator, _: bytes) -> None:
    for _ in range(int(rng.integers(1, 40))):
        out[int(rng.integers(len(out)))] ^= 1 << int(rng.integers(8))


def _header_bytes(out: bytearray, rng: np.random.Generator, _: bytes) -> None:
    for _ in range(int(rng.integers(1, 6))):
        out[int(rng.integers(min(_HEADER, len(out))))] = int(rng.integers(256))


def _number(out: bytearray, rng: np.random.Generator, _: bytes) -> None:
    """A number of one, two or four bytes, mostly in the header, becomes a boundary value."""
    size = int(rng.choice([1, 2, 4]))
    within = min(_HEADER, len(out)) if rng.random() < 0.8 else len(out)
    place = int(rng.integers(max(within - size, 1)))
    boundary = int(rng.choice(_BOUNDARIES)) & (1 << 8 * size) - 1
    out[place : place + size] = boundary.to_bytes(size, "big" if rng.random() < 0.5 else "little")


def _length(out: bytearray, rng: np.random.Generator, _: bytes) -> None:
    """A length before four letters (a PNG chunk, an MP4 box) or behind them (a RIFF chunk) is falsified."""
    places = [
        i for i in range(4, min(len(out) - 8, 4000)) if all(65 <= c <= 122 or c == 32 for c in out[i : i + 4])
    ]
    if not places:
        return
    place = int(rng.choice(places))
    at = place - 4 if rng.random() < 0.7 else place + 4
    false = int(rng.choice([*_BOUNDARIES, len(out), int(rng.integers(2**16))]))
    out[at : at + 4] = false.to_bytes(4, "big" if rng.random() < 0.7 else "little")


def _cut(out: bytearray, rng: np.random.Generator, _: bytes) -> None:
    del out[int(rng.integers(len(out))) :]


def _hole(out: bytearray, rng: np.random.Generator, _: bytes) -> None:
    start = int(rng.integers(len(out)))
    size = int(rng.integers(1, 400))
    if rng.random() < 0.5:
        out[start : start + size] = bytes(len(out[start : start + size]))
    else:
        del out[start : start + size]


def _splice(out: bytearray, rng: np.random.Generator, other: bytes) -> None:
    start, size = int(rng.integers(len(other))), int(rng.integers(1, 600))
    place = int(rng.integers(len(out)))
    piece = other[start : start + size]
    if rng.random() < 0.5:
        out[place : place + len(piece)] = piece
    else:
        out[place:place] = piece


def _repeat(out: bytearray, rng: np.random.Generator, _: bytes) -> None:
    start, size = int(rng.integers(len(out))), int(rng.integers(1, 200))
    out[start:start] = out[start : start + size] * int(rng.integers(1, 20))


_KINDS: tuple[Callable[[bytearray, np.random.Generator, bytes], None], ...] = (
    _bits,
    _header_bytes,
    _number,
    _number,
    _length,
    _length,
    _cut,
    _hole,
    _splice,
    _repeat,
)
