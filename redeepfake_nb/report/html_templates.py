"""Render the jinja2 templates that the HTML report and the notebook widgets share.

Names, errors and model cards come from strangers. The environment itself, and not whoever writes a template,
shows every string as one printable line (:func:`redeepfake_nb.errors.displayable`) and escapes it. A variable
that a template lacks raises ``jinja2.UndefinedError``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..analysis.verdict import VERDICT_WORDS
from ..errors import displayable
from ..utils.wording import capitalized
from ..view.palette import BADGE_SIGNS, HTML_COLORS, SIGNS

# Longest string that a template shows; the filter `short` sets a lower limit.
_MAX_CHARACTERS = 6000


@cache
def environment() -> Environment:
    """Return the environment of all HTML templates, with the labels' signs and colours as globals."""
    made = Environment(
        loader=PackageLoader("redeepfake_nb.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["signs"] = SIGNS
    made.globals["badge_signs"] = BADGE_SIGNS
    made.globals["verdict_words"] = VERDICT_WORDS
    made.globals["label_colors"] = {theme: _properties(colors) for theme, colors in HTML_COLORS.items()}
    # For what strangers wrote; a sentence of ours is never cut.
    made.filters["short"] = displayable
    made.filters["capitalized"] = capitalized
    # Made by us, and longer than any limit; nothing else may pass unescaped.
    made.filters["own_image"] = Markup
    return made


def render(template: str, **values: Any) -> str:
    """Render a whole template."""
    return environment().get_template(template).render(**values)


def render_macro(template: str, macro: str, *args: object, **options: object) -> str:
    """Render one macro of a template."""
    return str(getattr(environment().get_template(template).module, macro)(*args, **options)).strip()


def stylesheet(*names: str) -> str:
    """Return CSS templates one after the other, with the label colours filled in."""
    return "\n".join(render(name) for name in names)


def _printable(value: Any) -> Any:
    return (
        displayable(value, _MAX_CHARACTERS)
        if isinstance(value, str) and not isinstance(value, Markup)
        else value
    )


def _properties(colors: dict[str, str]) -> str:
    """Label colours as CSS custom properties."""
    return " ".join(f"--rdf-{label}: {color};" for label, color in colors.items())
