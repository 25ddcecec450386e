"""What a panel says where a message names a function: people who click know buttons and panels."""

from __future__ import annotations

import re

from ..analysis.aggregation import STRATEGY_WORDS as AGGREGATION_WORDS

__all__ = ["AGGREGATION_WORDS", "in_panel"]

# Pattern -> words of the panels. The first ones are longer than what the later ones would leave.
_WORDS = (
    (
        r"Use analyze_video\(\) or open_video\(\) for videos\.",
        "Open it in the panel for videos, on the tab Video or in notebook 02.",
    ),
    (
        r"Use analyze_image\(\) or read_image\(\)\.",
        "Open it in the panel for pictures, on the tab Image or in notebook 01.",
    ),
    (
        r"Give it a video: analyze_video\(path, classifier\), or scan or evaluate videos\.",
        "Open a video in the panel for videos.",
    ),
    (r", or raise (max_\w+|time_limit|PIL\.[\w.]+ too)( \(--max-pixels\))?( if you trust it)?", ""),
    (r"look at more with frames=( or every=)?", "look at more frames (setting Frames)"),
    (r"choose another with stream=", "choose another with the setting Stream"),
    (r"Leave stream out\.", "Set Stream to 0."),
    (r" \(max_pixels\)", ""),
    (r" with min_size=", ""),
    (r"a method for explain=", "a method under Heatmap"),
    # Rounded alike, though one is less than the other.
    (r"\bsharpness (\d+) under \1\b", r"sharpness just under \1"),
    (r"Call scan\(\) again with a new one", "Press Scan again"),
    (r"Read each item of uploads\(value\) separately\.", "Choose the files again."),
    (r"\b(analyze_video|open_video)\(\)", "the panel for videos"),
    (r"\b(analyze_image|read_image)\(\)", "the panel for pictures"),
)


def in_panel(words: str) -> str:
    """Return a message in the language of the panels."""
    for pattern, own in _WORDS:
        words = re.sub(pattern, own, words)
    return words
