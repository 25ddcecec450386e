"""Repository paths and dotted names that comments, docstrings and pages speak of."""

from __future__ import annotations

import ast
import importlib
import io
import json
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Folders whose names begin a repository path in prose.
_FOLDERS = r"(?:tests|docs|redeepfake_nb|benchmarks|notebooks|models/recipes|\.github|\.ci)"
# Not within a longer path, an address or a name: "my/tests/x.py", "https://host/docs/x.md", "old-docs/x.md".
_PATH = re.compile(rf"(?<![\w./:~-]){_FOLDERS}/[\w./*{{}}<>$+-]*")
# A bare name of a test file, as in "see test_hosts.py".
_TEST = re.compile(r"(?<![\w./-])test_\w+\.py\b")
_DOTTED = re.compile(r"(?<![\w./-])redeepfake_nb(?:\.[A-Za-z_]\w*)+(?!\w*[/(]?\w*\.(?:py|pyi)\b)")
# What stands for any name: globs, templates, NAME in capitals, three dots.
_PLACEHOLDER = re.compile(r"[*{}<>$]|\.\.\.|(?:^|/)[A-Z_]{2,}(?:\.\w+)?(?:/|$)")
# Parts of the wheel that a checkout has elsewhere.
_IN_THE_WHEEL = "redeepfake_nb/_models"


def named_paths(text: str) -> set[str]:
    """Repository paths in a text, without those that are placeholders."""
    found = {match.rstrip(".,:;-") for match in _PATH.findall(text) if not _PLACEHOLDER.search(match)}
    found = {path for path in found if not path.startswith(_IN_THE_WHEEL)}
    return found | set(_TEST.findall(text))


def dotted_names(text: str) -> set[str]:
    """Names such as ``redeepfake_nb.media.read_image`` in a text."""
    return {name for name in _DOTTED.findall(text) if not name.endswith((".py", ".pyi", ".git"))}


def exists(path: str) -> bool:
    """Whether a path that a text names is in the repository; a bare test file may lie in any folder."""
    if "/" not in path:
        return any((ROOT / "tests").rglob(path))
    return (ROOT / path).exists()


def resolves(name: str) -> bool:
    """Whether a dotted name can be imported."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            # Fields of a dataclass without a default are no attributes of its class.
            if part in getattr(thing, "__annotations__", {}):
                return True
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


def words_of_code(source: str) -> str:
    """Comments and docstrings of Python code, a line each; other strings are left out."""
    found = [
        token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = (ast.get_docstring(node) for node in ast.walk(ast.parse(source)) if isinstance(node, kinds))
    return "\n".join([*found, *filter(None, docstrings)])


def words_of_file(path: Path) -> str:
    """What a file says to a reader: comments and docstrings of code, all of anything else."""
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".py", ".pyi"):
        return words_of_code(text)
    if path.suffix == ".ipynb":
        return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return text


def speaking_files() -> list[Path]:
    """The project's files that may name others, in order."""
    folders = ("redeepfake_nb", "tests", "benchmarks", "docs", "notebooks", "models", ".github", ".ci")
    kinds = {".py", ".pyi", ".md", ".ipynb", ".toml", ".yml", ".j2", ".css", ""}
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in kinds]
    found += [*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("*.cff")]
    found += [
        ROOT / name for name in ("Makefile", "constraints.txt", ".pre-commit-config.yaml", ".gitignore")
    ]
    return sorted({path for path in found if path.is_file() and "__pycache__" not in path.parts})
