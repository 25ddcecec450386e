"""``UploadArea``: files that are chosen, dropped or pasted in the browser, sent to the kernel in chunks.

A file in one message, as ipywidgets' ``FileUpload`` sends it, closes the kernel's connection when it is over
the server's limit (10 MiB in Jupyter and Voilà by default), without a word. Chunks know no such limit; the
one that holds is :data:`MAX_UPLOAD`, is shown in the browser, and is checked there before anything is sent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ..media.frames import Upload
from ..utils.wording import pluralize

# Bytes of all files that are sent together. They are in the kernel's memory until they are analysed.
MAX_UPLOAD = 500_000_000
_HERE = Path(__file__).parent


class UploadArea(anywidget.AnyWidget):
    """A button, a place to drop files, and pasting; ``value`` has what arrived.

    Parameters
    ----------
    label, hint
        Of the button.
    accept
        File types as in HTML's ``accept``. Dropped folders are searched for them; any file can be dropped
        itself.
    multiple
        Whether several files and folders are taken.
    max_bytes
        Of all files of one upload. The kernel holds to it whatever the browser says.
    max_files
        Of one upload.
    whole_panel
        Whether files can be dropped anywhere in the panel, and not only onto the area.

    Attributes
    ----------
    value : tuple of Upload
        The files of the latest upload that is complete. Not part of the widget's state, so that it is neither
        sent back nor saved with a notebook; :meth:`take` empties it.
    """

    _esm = _HERE / "upload_area.js"
    _css = _HERE / "upload_area.css"
    label = traitlets.Unicode().tag(sync=True)
    # Not `tooltip`: ipywidgets' own trait of that name wants a trait `description` beside it.
    hint = traitlets.Unicode().tag(sync=True)
    accept = traitlets.Unicode().tag(sync=True)
    multiple = traitlets.Bool().tag(sync=True)
    max_bytes = traitlets.Int().tag(sync=True)
    max_files = traitlets.Int().tag(sync=True)
    whole_panel = traitlets.Bool(True).tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)
    value = traitlets.Tuple()

    def __init__(
        self,
        label: str,
        hint: str,
        accept: str,
        *,
        multiple: bool,
        max_bytes: int = MAX_UPLOAD,
        max_files: int = 1,
        whole_panel: bool = True,
    ) -> None:
        super().__init__(
            whole_panel=whole_panel,
            label=label,
            hint=hint,
            accept=accept,
            multiple=multiple,
            max_bytes=max_bytes,
            max_files=max_files,
        )
        # The traits of the same names tell the browser, which can change them.
        self._max_bytes, self._max_files = max_bytes, max(max_files, 1)
        self._batch: str | None = None
        self._files: list[tuple[str, int, bytearray]] = []  # name, size, what has arrived
        self.on_msg(self._receive)

    @property
    def description(self) -> str:
        """The words on the button."""
        return self.label

    def take(self) -> list[Upload]:
        """Return the files that arrived, and forget them."""
        found, self.value = list(self.value), ()
        return found

    def forget(self) -> None:
        """Forget what arrived, also of an upload that is not complete, and what the page says of it."""
        self._batch, self._files, self.value = None, [], ()
        self.forget_message()

    def forget_message(self) -> None:
        """Take what was said of the last upload off the page, unless one is on its way."""
        self.send({"type": "forget"})

    def _receive(self, _: object, content: Any, buffers: Any) -> None:
        message = content if isinstance(content, dict) else {}
        batch, kind = message.get("batch"), message.get("type")
        if not isinstance(batch, str):
            return
        if kind == "begin":
            self._begin(batch, message.get("files"))
        elif batch != self._batch:
            self._refuse(batch, "The upload was replaced by another one.")
        elif kind == "chunk":
            self._add(batch, message, buffers)
        elif kind == "drop":
            self._batch, self._files = None, []
        elif kind == "end":
            self._end(batch)

    def _begin(self, batch: str, files: Any) -> None:
        """Begin an upload; one before that is not complete is dropped."""
        self._batch, self._files = None, []
        try:
            listed = [(str(file["name"]), int(file["size"])) for file in files]
        except (TypeError, KeyError, ValueError):
            self._refuse(batch, "The list of files was not understood.")
            return
        total = sum(size for _, size in listed)
        if not listed or min(size for _, size in listed) < 0 or len(listed) > self._max_files:
            self._refuse(batch, f"At most {pluralize(self._max_files, 'file')} can be sent at once.")
        elif total > self._max_bytes:
            self._refuse(batch, f"Uploads may have up to {self._max_bytes / 1e6:.0f} MB at once.")
        else:
            self._batch, self._files = batch, [(name, size, bytearray()) for name, size in listed]

    def _add(self, batch: str, message: dict[str, Any], buffers: Any) -> None:
        index, offset = message.get("file"), message.get("offset")
        part = memoryview(buffers[0]).cast("B") if buffers else memoryview(b"")
        if not isinstance(index, int) or not 0 <= index < len(self._files):
            self._refuse(batch, "A part of the upload belongs to no file.")
            return
        _, size, data = self._files[index]
        if offset != len(data) or len(data) + len(part) > size:
            self._refuse(batch, "Parts of the upload were lost. Try it again.")
            return
        data += part
        self.send({"type": "got", "batch": batch, "total": sum(len(d) for *_, d in self._files)})

    def _end(self, batch: str) -> None:
        files, self._batch, self._files = self._files, None, []
        if any(len(data) != size for _, size, data in files):
            self._refuse(batch, "Parts of the upload were lost. Try it again.")
            return
        found = []
        while files:
            name, _, data = files.pop(0)
            found.append(Upload(name, bytes(data)))
        self.value = tuple(found)

    def _refuse(self, batch: str, why: str) -> None:
        if batch == self._batch:
            self._batch, self._files = None, []
        self.send({"type": "refused", "batch": batch, "why": why})
