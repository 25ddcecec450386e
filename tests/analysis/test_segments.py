"""Segments of a video in which a person's frames reach the threshold."""

from __future__ import annotations

import re

import numpy as np
from helpers import video_records

from redeepfake_nb.analysis.segments import fake_segments, format_segments, nearest_time


def test_segments_over_the_threshold() -> None:
    s = video_records.sighting
    over, under = 3.0, -3.0
    report = video_records.report(
        *(s(t, logit) for t, logit in [(0, over), (1, over), (2, under), (3, over), (8, over), (9, over)]),
        s(4, under, person=1),
        times=np.arange(10),
    )
    first, second = report.persons
    assert fake_segments(report, first) == [(0, 1), (3, 3), (8, 9)]
    assert fake_segments(report, second) == []
    assert fake_segments(report.at_threshold(0.01), second) == [(4, 4)]
    assert format_segments([]) == "never"
    assert format_segments(fake_segments(report, first)) == "0.0 to 1.0 s, 3.0 s, 8.0 to 9.0 s"
    assert re.search(r"3\.0 s, and 2 more$", format_segments([(3.0, 3.0)] * 4, most=2))
    assert nearest_time(report, 2.6) == 3
    assert nearest_time(video_records.report(times=np.array([])), 1) is None
