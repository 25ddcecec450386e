"""Drive widgets through their traits, and read the HTML that they show."""

from __future__ import annotations

from html.parser import HTMLParser

import ipywidgets as ipw

from redeepfake_nb.widgets.upload_area import UploadArea

HOSTILE = "<img src=x onerror=alert(1)>.jpg"
# What the inspectors' own HTML consists of; the SVG is the bar of a score.
KNOWN_TAGS = {"style", "div", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "b", "svg", "rect"}
KNOWN_TAGS |= {"details", "summary", "a"}
KNOWN_ATTRIBUTES = {"class", "role", "aria-live", "aria-hidden", "title"}
KNOWN_ATTRIBUTES |= {"viewbox", "preserveaspectratio", "x", "y", "width", "height"}
# Of links to what was saved, which get their address from panel_script.js.
KNOWN_ATTRIBUTES |= {"data-path", "data-home", "data-folder"}


def put(upload: UploadArea, files: list[tuple[str, bytes]], part: int = 1000) -> list[dict]:
    """Upload files as the browser's side does, ``part`` bytes at a time; return what the kernel answers."""
    answers: list[dict] = []
    before, upload.send = upload.send, answers.append
    try:
        listed = [{"name": name, "size": len(data)} for name, data in files]
        upload._receive(upload, {"type": "begin", "batch": "1", "files": listed}, [])
        for i, (_, data) in enumerate(files):
            for offset in range(0, len(data), part):
                message = {"type": "chunk", "batch": "1", "file": i, "offset": offset}
                upload._receive(upload, message, [memoryview(data[offset : offset + part])])
        upload._receive(upload, {"type": "end", "batch": "1"}, [])
    finally:
        upload.send = before
    return answers


def all_widgets(root: ipw.Widget) -> list[ipw.Widget]:
    """Return a widget and all its descendants."""
    return [root] + [w for child in getattr(root, "children", ()) for w in all_widgets(child)]


def html_of(root: ipw.Widget) -> str:
    """Return the HTML of a widget and all its descendants."""
    return "".join(w.value for w in all_widgets(root) if isinstance(w, ipw.HTML))


class Tags(HTMLParser):
    """The names of all tags and attributes that a browser would find in some HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
