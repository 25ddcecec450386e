"""Keys that a browser tells of do what they are for, and nothing else does."""

from __future__ import annotations

import pytest

from redeepfake_nb.widgets.keyboard import KeyPad


def test_keys_do_what_they_are_for() -> None:
    pressed: list[str] = []
    pad = KeyPad("R or F", {"r": lambda: pressed.append("r"), "f": lambda: pressed.append("f")})
    assert pad.heard == ["r", "f"]
    for key in ("f", "r", "f"):
        pad._handle_custom_msg({"key": key}, [])
    assert pressed == ["f", "r", "f"]


@pytest.mark.parametrize("content", [{}, {"key": "x"}, {"key": ["r"]}, {"other": "r"}, "r", None])
def test_other_messages_do_nothing(content: object) -> None:
    pad = KeyPad("R", {"r": lambda: pytest.fail("called")})
    pad._handle_custom_msg(content, [])
