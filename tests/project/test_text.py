"""Nothing is empty, and what comments, docstrings and pages name is there."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.markdown_pages import PAGES, ROOT
from helpers.named_paths import (
    dotted_names,
    exists,
    named_paths,
    resolves,
    speaking_files,
    words_of_code,
    words_of_file,
)

# Files that are empty on purpose: the marker of PEP 561.
EMPTY = {"redeepfake_nb/py.typed"}
# History speaks of what was.
HISTORY = ROOT / "CHANGELOG.md"

FILES = [path for path in speaking_files() if path != HISTORY]


# ------------------------------------------------------------------ the checker itself


def test_paths_in_prose() -> None:
    text = """
    See tests/media/test_frames.py, docs/trust.md. (redeepfake_nb/hosts.py) `docs/api/`;
    tests/helpers/named_paths.py:12 and test_hosts.py
    """
    assert named_paths(text) == {
        "tests/media/test_frames.py",
        "docs/trust.md",
        "redeepfake_nb/hosts.py",
        "docs/api/",
        "tests/helpers/named_paths.py",
        "test_hosts.py",
    }


@pytest.mark.parametrize(
    "text",
    [
        "docs/*.md",
        "models/recipes/NAME.toml",
        "tests/...",
        "tests/{media,faces}/x.py",
        "redeepfake_nb/<sub-package>/",
        "https://example.org/docs/page.md",
        "my/tests/x.py",
        "../tests/x.py",
        "old-docs/x.md",
        "redeepfake_nb/_models/default.json",
        "contests/x.py",
    ],
)
def test_what_is_no_path_of_the_repository(text: str) -> None:
    assert named_paths(text) == set()


def test_paths_that_exist() -> None:
    assert exists("tests/project/test_text.py")
    assert exists("docs/api/")
    assert exists("test_text.py")
    assert not exists("docs/not-there.md")
    assert not exists("test_not_there.py")


def test_dotted_names() -> None:
    text = "as :func:`redeepfake_nb.media.read_image` does, redeepfake_nb.hosts.; redeepfake_nb/hosts.py"
    assert dotted_names(text) == {"redeepfake_nb.media.read_image", "redeepfake_nb.hosts"}
    assert resolves("redeepfake_nb.media.read_image")
    assert resolves("redeepfake_nb.media.frames.Frame.image"), "a field of a record"
    assert resolves("redeepfake_nb.scanning")
    assert not resolves("redeepfake_nb.media.not_there")
    assert not resolves("redeepfake_nb.not_there.at_all")


def test_comments_and_docstrings_are_read_and_other_strings_are_not() -> None:
    source = '"""Module."""\nx = "tests/no.py"  # tests/a.py\n\n\ndef f():\n    """tests/b.py"""\n'
    assert named_paths(words_of_code(source)) == {"tests/a.py", "tests/b.py"}


# ------------------------------------------------------------------ the project


def test_no_tracked_file_is_empty() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    run = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = [ROOT / name for name in run.stdout.split("\0") if name]
    empty = {
        str(path.relative_to(ROOT)) for path in tracked if path.is_file() and not path.read_bytes().strip()
    }
    assert empty == EMPTY


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_a_page_has_a_heading_and_says_something(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.search(r"^# \S", text, re.MULTILINE)
    assert len(re.findall(r"\w+", text)) >= 50


def _missing(names_in: Callable[[str], set[str]], is_there: Callable[[str], bool]) -> dict[str, list[str]]:
    """File -> names in it that are not there."""
    found = {}
    for path in FILES:
        absent = sorted(name for name in names_in(words_of_file(path)) if not is_there(name))
        if absent:
            found[str(path.relative_to(ROOT))] = absent
    return found


def test_paths_that_files_name_exist() -> None:
    assert _missing(named_paths, exists) == {}


def test_dotted_names_that_files_name_resolve() -> None:
    assert _missing(dotted_names, functools.cache(resolves)) == {}


def test_the_trust_page_has_the_limits_of_the_code() -> None:
    from redeepfake_nb.explanation import badge, fidelity

    page = (ROOT / "docs" / "trust.md").read_text()
    for grade, row in enumerate(("supported", "weak")):
        limits = [limit[grade] for limit in (badge.BEATEN, badge.GAIN, badge.GAP)]
        assert f"| {row} | {' | '.join(str(limit) for limit in limits)} |" in page
    assert f"must\n   reach {badge.SAME}" in page
    assert f"in {fidelity.STAGES} steps and {fidelity.CASCADES} times as a whole" in page
