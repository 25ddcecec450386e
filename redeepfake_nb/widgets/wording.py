"""What a panel says where a message names a function: people who click know buttons and panels."""

from __future__ import annotations

import re

# How the scores of a person's frames become one, by its name in analysis/aggregation.py.
AGGREGATION_WORDS = {
    "mean_logit": "Average of all frames",
    "mean_probability": "Average of all P(fake)",
    "median": "Middle one of all frames",
    "top_k_mean": "Average of the highest quarter",
    "confident": "Average of the surest frames",
}
# Pattern -> words of the panels. The first ones are longer than what the later ones would leave.
_WORDS = (
    (
        r"Use analyze_video\(\) or open_video\(\) for videos\.",
        "Open it in the panel for videos, in notebook 02.",
    ),
    (r"Use analyze_image\(\) or read_image\(\)\.", "Open it in the panel for pictures, in notebook 01."),
    (r", or raise max_pixels \(--max-pixels\) if you trust it", ""),
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
