"""A clip that the tests of videos share."""

from __future__ import annotations

import pytest
from helpers.numbered_clips import X264, clip


@pytest.fixture(scope="session")
def h264() -> bytes:
    """100 numbered frames, 4 s, a keyframe every 20, B-frames."""
    return clip(range(100), options=X264)
