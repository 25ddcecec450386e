"""Words with numbers."""

from __future__ import annotations


def pluralize(number: int, noun: str) -> str:
    """Return ``"1 picture"``, ``"2 pictures"``, ``"1,200 pictures"``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def capitalized(words: str) -> str:
    """Return words with a capital first letter; the others stay as they are."""
    return words[:1].upper() + words[1:]
