"""The table of a video's packets: times, keyframes, and which frames a sample takes."""

from __future__ import annotations

import numpy as np
import pytest

from redeepfake_nb.media.packet_index import DISPLAYED, KEYFRAME, NO_PTS, PacketIndex


def table(pts, *, keys=(0,), hidden=(), unit=1.0, last=0) -> PacketIndex:
    flags = np.full(len(pts), DISPLAYED, np.uint8)
    flags[list(hidden)] = 0
    flags[list(keys)] |= KEYFRAME
    stamps = np.array(pts, np.int64)
    return PacketIndex.from_packets(stamps, stamps, flags, unit=unit, rate=25.0, last=last)


def test_packet_index_by_hand():
    # Decode order I P B B, display order I B B P; from PTS 10 on, half a second apart.
    found = table([10, 13, 11, 12], unit=0.5)
    assert found.times.tolist() == [0, 0.5, 1, 1.5]
    assert (found.duration, found.has_timestamps, len(found), found.packets) == (2.0, True, 4, 4)
    assert [found.rank(s, -1) for s in (10, 11, 13, 14, None)] == [0, 1, 3, None, None]
    assert found.evenly_spaced(2, 0, 2).tolist() == [1, 3]
    assert found.evenly_spaced(4, 0, 2).tolist() == [0, 1, 2, 3]
    assert found.evenly_spaced(100, 0, 2).tolist() == [0, 1, 2, 3]
    assert found.evenly_spaced(1, 0, 2).tolist() == [2]
    assert found.at_interval(1.0, 0, 2).tolist() == [0, 2]
    assert found.at_interval(0.75, 0, 2).tolist() == [0, 1, 3]
    assert found.at_interval(9.0, 0.6, 2).tolist() == [1]  # what is shown at 0.6 s began at 0.5 s
    assert found.at_interval(0.001, 0, 2).tolist() == [0, 1, 2, 3]
    assert list(found.between(0.5, 1.5)) == [1, 2]


@pytest.mark.parametrize("pts", [[3, 0], [9, 1, 2]])
def test_a_hidden_keyframe_later_than_all_that_is_shown(pts: list[int]):
    found = table(pts, hidden=(0,))
    assert len(found) == len(pts) - 1
    assert not found.has_timestamps


def test_packet_index_of_irregular_timestamps():
    found = table([0, 1, 2, 10], last=4)
    assert found.duration == 14
    assert found.evenly_spaced(7, 0, 14).tolist() == [1, 2, 3]  # at 1, 3, 5, 7, 9, 11 and 13 s
    assert table([0, 1, 2, 10], last=10**9).duration == 11  # the header's last length is absurd


def test_packet_index_of_keyframes_and_hidden_frames():
    found = table([0, 1, 2, 3, 4, 5], keys=(0, 3), hidden=(1,))
    assert found.times.tolist() == [0, 2, 3, 4, 5]
    assert [found.keyframe_before(rank) for rank in range(5)] == [0, 0, 1, 1, 1]
    assert found.keyframe(1) == (3, 3, 3)
    # A recording that begins between keyframes: what comes before the first cannot be decoded.
    cut = table([0, 1, 2, 3, 4], keys=(2,))
    assert (cut.times.tolist(), cut.skipped_leading) == ([0, 1, 2], 2)


@pytest.mark.parametrize(
    "pts",
    [
        [0, 1, NO_PTS, 3],
        [5, 5, 5, 5],
        [*range(100), *range(100)],  # time begins anew
        [0, 2**62, -(2**62), 3],
    ],
)
def test_without_usable_timestamps_frames_are_counted(pts):
    found = table(pts, keys=(0,))
    assert not found.has_timestamps
    assert found.times.tolist() == [i / 25 for i in range(len(pts))]
    assert found.duration == len(pts) / 25
