"""How much of a video was looked at, in words."""

from __future__ import annotations

import pytest

from redeepfake_nb.analysis.coverage import Coverage


@pytest.mark.parametrize(
    ("coverage", "summary"),
    [
        (Coverage(1, 1, None), "the only frame looked at"),
        (Coverage(150, 150, 0.04), "all 150 frames looked at"),
        (Coverage(1, 90, None), "1 of 90 frames looked at, and nothing is known of the time between"),
        (Coverage(36, 150, 0.5), "36 of 150 frames looked at, one every 0.50 s"),
        (
            Coverage(36, 7500, 8.33),
            "36 of 7,500 frames looked at, one every 8.3 s, and nothing is known of the time between",
        ),
    ],
)
def test_summary(coverage: Coverage, summary: str) -> None:
    assert coverage.summary == summary
