"""``KeyPad``: messages from the browser call the functions bound to keys; other messages do nothing."""

from __future__ import annotations

import pytest

from redeepfake_nb.widgets.keyboard import KeyPad


def test_keys_call_their_functions() -> None:
    pressed: list[str] = []
    pad = KeyPad("R or F")
    pad.bind({"r": lambda: pressed.append("r"), "f": lambda: pressed.append("f")})
    assert pad.bound_keys == ["r", "f"]
    for key in ("f", "r", "f"):
        pad._handle_custom_msg({"key": key}, [])
    assert pressed == ["f", "r", "f"]


@pytest.mark.parametrize("content", [{}, {"key": "x"}, {"key": ["r"]}, {"other": "r"}, "r", None])
def test_other_messages_do_nothing(content: object) -> None:
    pad = KeyPad("R")
    pad.bind({"r": lambda: pytest.fail("called")})
    pad._handle_custom_msg(content, [])
