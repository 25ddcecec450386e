"""Hooks that MkDocs calls while it builds the site: pages that live elsewhere in the project, and links.

The model card, the notebooks and the pages at the top of the project are shown from their own files, so that
nothing is written twice. Links are written as they work between the files; here they are pointed at the
pages.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
# File in the project -> page of the site. A file that is absent makes no page.
OUTSIDE = {
    "README.md": "index.md",
    "models/default.md": "model-card.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
# A link or picture: the text with its brackets, the target, the anchor.
_LINK = re.compile(r"(!?\[[^\]\n]*\])\(([^)\s#]*)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)
_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr|exc):(?=<code>)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that live outside of the folder ``docs``. The navigation in mkdocs.yml names them."""
    for source, page in OUTSIDE.items():
        if (ROOT / source).is_file():
            text = _without_front_matter((ROOT / source).read_text(encoding="utf-8"))
            files.append(File.generated(config, page, content=text))
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        page = f"notebooks/{notebook.stem}.md"
        files.append(File.generated(config, page, content=notebook_page(notebook)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between the project's files into links between pages."""
    source = next((s for s, p in OUTSIDE.items() if p == page.file.src_uri), f"docs/{page.file.src_uri}")
    if page.file.src_uri.startswith("notebooks/"):
        source = page.file.src_uri
    parts = _FENCE.split(markdown)
    return "".join(
        part
        if part.startswith("```")
        else relinked(part, source, page.file.src_uri, config.extra["repository"])
        for part in parts
    )


def on_page_content(html: str, **_: object) -> str:
    """Docstrings name things as Sphinx does (:func:`predict`); readers need only the name."""
    return _ROLE.sub("", html)


def notebook_page(path: Path) -> str:
    """A notebook's words and code as a page, without outputs."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    where = (
        f"*These are the words and the code of `notebooks/{path.name}`, which makes the pictures when it is "
        f"run: `make lab NOTEBOOK=notebooks/{path.name}`.*"
    )
    parts = []
    for cell in cells:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join([parts[0], where, *parts[1:]]) + "\n"


def relinked(markdown: str, source: str, page: str, repository: str) -> str:
    """Markdown of the file ``source`` (from the project's top) as the page ``page``; what is absent stays."""

    def turned(match: re.Match) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if file in OUTSIDE and (ROOT / file).is_file():
            goal = OUTSIDE[file]
        elif file.startswith("notebooks/") and file.endswith(".ipynb") and (ROOT / file).is_file():
            goal = file.replace(".ipynb", ".md")
        elif file.startswith("docs/"):
            goal = file.removeprefix("docs/")
        elif (ROOT / file).exists():
            return f"{text}({repository}/blob/main/{file}{anchor})"
        else:
            return match[0]
        return f"{text}({posixpath.relpath(goal, posixpath.dirname(page) or '.')}{anchor})"

    return _LINK.sub(turned, markdown)


def _without_front_matter(text: str) -> str:
    return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
