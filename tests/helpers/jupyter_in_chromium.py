"""Start JupyterLab and Chromium, and use notebooks as a person does."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright

# A laptop's screen, in pixels.
VIEWPORT = {"width": 1366, "height": 768}
# Time limits in milliseconds: to load the page and start a kernel, to run a notebook, for a widget to answer.
LOADING, RUNNING, ANSWER = 90_000, 300_000, 60_000
# Keep cells outside the window in the page, so that tests find them.
_SETTINGS = {
    "@jupyterlab/notebook-extension": ("tracker", {"windowingMode": "none"}),
    "@jupyterlab/apputils-extension": ("notification", {"fetchNews": "false"}),
}


def chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for path in map(shutil.which, names) if path), None)


@contextlib.contextmanager
def jupyter_lab(folder: Path, scratch: Path) -> Iterator[str]:
    """Run a server over ``folder`` and yield its address and token as ``"address|token"``.

    Configuration is read from and written to ``scratch``, not the user's own folders.
    """
    settings = scratch / "settings"
    for package, (name, values) in _SETTINGS.items():
        (settings / package).mkdir(parents=True)
        (settings / package / f"{name}.jupyterlab-settings").write_text(json.dumps(values))
    token = secrets.token_hex(8)
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(scratch / "config"),
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "JUPYTER_DATA_DIR": str(scratch / "data"),
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(scratch / "workspaces"),
    }
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": "0",
        "ServerApp.open_browser": "False",
        "ServerApp.allow_root": "True",
        "ServerApp.root_dir": str(folder),
        "IdentityProvider.token": token,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    log = (scratch / "server.log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *arguments],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield f"{_address(server, scratch / 'runtime')}|{token}"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
        log.close()


def _address(server: subprocess.Popen, runtime: Path) -> str:
    until = time.monotonic() + LOADING / 1000
    while time.monotonic() < until:
        for file in runtime.glob("jpserver-*.json"):
            with contextlib.suppress(json.JSONDecodeError):
                return json.loads(file.read_text())["url"].rstrip("/")
        if server.poll() is not None:
            break
        time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start; see {runtime.parent / 'server.log'}")


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Run Chromium without a window."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            yield made
        finally:
            made.close()


class Notebook:
    """An open notebook in a page.

    Parameters
    ----------
    page
        A page of the browser.
    server
        What :func:`jupyter_lab` yields.
    name
        File name of a notebook in the server's folder.
    """

    def __init__(self, page: Page, server: str, name: str) -> None:
        self.page, self.name = page, name
        base, token = server.split("|")
        page.goto(f"{base}/lab/tree/{name}?token={token}&reset", timeout=LOADING)
        self.panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        self.panel.wait_for(timeout=LOADING)
        # Running cells before the kernel is ready opens a dialog that asks for a kernel.
        page.locator("#jp-main-statusbar", has_text="| Idle").wait_for(timeout=LOADING)

    def _menu(self, menu: str, item: str) -> None:
        self.page.get_by_role("menuitem", name=menu, exact=True).first.click()
        self.page.locator(".lm-Menu-itemLabel", has_text=item).first.click()

    def run_all(self) -> None:
        """Run every cell and wait until the last one has an execution count."""
        self._menu("Run", "Run All Cells")
        last = self.panel.locator(".jp-CodeCell .jp-InputArea-prompt").last
        until = time.monotonic() + RUNNING / 1000
        while not (last.text_content() or "").strip("[]: ").isdigit():
            if time.monotonic() > until:
                raise TimeoutError(f"{self.name} did not run to its end")
            self.page.wait_for_timeout(300)
        errors = self.panel.locator('[data-mime-type="application/vnd.jupyter.stderr"]').all_inner_texts()
        if errors:
            raise AssertionError(f"written to standard error: {errors}")

    def save(self) -> None:
        """Save the notebook to its file."""
        self._menu("File", "Save Notebook")
        self.page.wait_for_timeout(1500)

    def inspector(self) -> Locator:
        """Scroll to the panel of widgets and return it."""
        root = self.panel.locator(".rdf").last
        root.wait_for(timeout=ANSWER)
        root.scroll_into_view_if_needed()
        return root


# For page.evaluate with [element, [[name, content in base64], ...]].
_DROP = """async ([target, files]) => {
  const data = new DataTransfer();
  for (const [name, content] of files) {
    const read = await fetch(`data:application/octet-stream;base64,${content}`);
    data.items.add(new File([await read.arrayBuffer()], name));
  }
  for (const kind of ["dragover", "drop"]) {
    target.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
  }
}"""
_PASTE = (
    _DROP.split("  for (const kind")[0]
    + """
  const options = { clipboardData: data, bubbles: true, cancelable: true };
  document.activeElement.dispatchEvent(new ClipboardEvent("paste", options));
}"""
)
# Controls without an accessible name or a tooltip.
_UNNAMED = """root => [...root.querySelectorAll("input, select, textarea, button, [role=slider]")]
  .filter((part) => part.offsetParent !== null)
  .filter((part) => !(part.innerText || part.getAttribute("aria-label")) || !part.closest("[title]")?.title)
  .map((part) => part.outerHTML)"""


def drop(page: Page, target: Locator, files: list[tuple[str, bytes]]) -> None:
    """Drop files onto an element."""
    page.evaluate(_DROP, [target.element_handle(), [[n, base64.b64encode(d).decode()] for n, d in files]])


def paste(page: Page, inspector: Locator, files: list[tuple[str, bytes]]) -> None:
    """Paste files while the panel has the focus."""
    inspector.focus()
    page.evaluate(_PASTE, [None, [[n, base64.b64encode(d).decode()] for n, d in files]])


def unnamed_controls(page: Page, inspector: Locator) -> list[str]:
    """Return the HTML of visible controls without an accessible name or a tooltip."""
    return page.evaluate(_UNNAMED, inspector.element_handle())


def upload(page: Page, inspector: Locator, *files: Path) -> None:
    """Choose files in the upload control."""
    with page.expect_file_chooser() as chooser:
        inspector.locator(".rdf-drop button").first.click()
    chooser.value.set_files([str(file) for file in files])


def downloaded(page: Page, inspector: Locator, folder: Path, words: str = "") -> list[Path]:
    """Press every button for a download, or those with these words, one after the other; return the files."""
    made = []
    for button in inspector.locator(".rdf-download button", has_text=words).all():
        with page.expect_download(timeout=RUNNING) as waiting:
            button.click()
        made.append(folder / waiting.value.suggested_filename)
        waiting.value.save_as(made[-1])
        inspector.locator(".rdf-download button:disabled").first.wait_for(state="detached", timeout=ANSWER)
    return made
