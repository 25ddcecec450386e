"""Drive widgets through their traits, and read the HTML that they show."""

from __future__ import annotations

from html.parser import HTMLParser

import ipywidgets as ipw

HOSTILE = "<img src=x onerror=alert(1)>.jpg"
# What the inspectors' own HTML consists of; the SVG is the bar of a score.
KNOWN_TAGS = {"style", "div", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "b", "svg", "rect"}
KNOWN_TAGS |= {"details", "summary"}
KNOWN_ATTRIBUTES = {"class", "role", "aria-live", "aria-hidden", "title"}
KNOWN_ATTRIBUTES |= {"viewbox", "preserveaspectratio", "x", "y", "width", "height"}


def put(upload: ipw.FileUpload, files: list[tuple[str, bytes]]) -> None:
    """Upload files as the browser's side of ipywidgets 7 or 8 does."""
    if upload.has_trait("data"):
        metadata = [{"name": n, "type": "", "size": len(d), "lastModified": 0} for n, d in files]
        data = [memoryview(d) for _, d in files]
        upload.set_state({"metadata": metadata, "data": data, "_counter": upload._counter + len(files)})
    else:
        value = [
            {"name": n, "type": "", "size": len(d), "last_modified": 0, "content": memoryview(d)}
            for n, d in files
        ]
        upload.set_state({"value": value})


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
