"""Files that sites read: how to cite, and the forms for issues."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest
import yaml

import redeepfake_nb

FORMS = ("bug", "wrong_score", "own_model")
# Required keys, and the types GitHub's forms know.
TYPES = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def test_citation(root: Path) -> None:
    """The keys that the Citation File Format 1.2.0 requires, and ours in agreement with the package."""
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version", "date-released", "license"} <= set(citation)
    assert citation["type"] == "software"
    assert citation["version"] == redeepfake_nb.__version__
    assert date.fromisoformat(citation["date-released"])
    for author in citation["authors"]:
        assert author.get("name") or author.get("family-names")
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference)
    project = (root / "pyproject.toml").read_text()
    assert f'license = "{citation["license"]}"' in project


@pytest.mark.parametrize("name", FORMS)
def test_issue_forms(root: Path, name: str) -> None:
    form = yaml.safe_load((root / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    assert {"name", "description", "body"} <= set(form)
    assert {part["type"] for part in form["body"]} <= TYPES
    ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(set(ids)) == len(ids)
    for part in form["body"]:
        assert part["attributes"].get("value" if part["type"] == "markdown" else "label")
    # Nobody sends a form without having read whose faces it may hold.
    (consent,) = [part for part in form["body"] if part.get("id") == "consent"]
    assert all(option["required"] for option in consent["attributes"]["options"])
    words = next(part["attributes"]["value"] for part in form["body"] if part["type"] == "markdown")
    assert re.search(r"consent|agreed", words)


def test_every_form_is_tested(root: Path) -> None:
    found = {path.stem for path in (root / ".github" / "ISSUE_TEMPLATE").glob("*.yml")}
    assert found == {*FORMS, "config"}
