"""The templates escape every string, refuse undefined variables, and take label colours from the palette."""

from __future__ import annotations

import re

import jinja2
import pytest

from redeepfake_nb.report.html_templates import environment, render_macro, stylesheet
from redeepfake_nb.view.palette import COLORS, HTML_COLORS


def test_strings_are_escaped_and_printable() -> None:
    text = environment().from_string('<p title="{{ name }}">').render(name='"><b>\n\u202e{{ 7*7 }}')
    assert text == '<p title="&#34;&gt;&lt;b&gt;\\n\\u202e{{ 7*7 }}">'


def test_only_what_strangers_wrote_is_shortened() -> None:
    text = render_macro("parts.html.j2", "note", ["x" * 500])
    assert len(re.sub(r"<.*?>", "", text)) == 500
    assert len(environment().from_string("{{ name | short(400) }}").render(name="x" * 500)) == 400


def test_undefined_variables_raise() -> None:
    with pytest.raises(jinja2.UndefinedError):
        environment().from_string("{{ missing }}").render()


@pytest.mark.parametrize("name", ["report.css", "widget.css"])
def test_label_colors_come_from_the_palette(name: str) -> None:
    css = stylesheet("parts.css", name)
    for label, color in HTML_COLORS["light"].items():
        assert f"--rdf-{label}: {color};" in css
    source, _, _ = environment().loader.get_source(environment(), name)
    assert not [color for color in COLORS.values() if color.lower() in source.lower()]
