"""``PanelServer``: Voilà with one notebook, one kernel per visit, limits, and a page of our own."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado.ioloop import IOLoop
from tornado.web import authenticated
from traitlets.config import Config
from voila.app import Voila
from voila.static_file_handler import AllowListFileHandler
from voila.tornado.handler import TornadoVoilaHandler

from .options import ServingOptions
from .sessions import InstalledKernels, SessionKernels

# A template of this name comes before Voilà's own.
_PAGE = Path(__file__).parent / "page"
# The browser itself refuses to load anything from elsewhere, or to send anything there.
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:",
        "style-src 'self' 'unsafe-inline' blob: data:",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "connect-src 'self' data: blob:",
        "font-src 'self' data:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    # The address of the first page may hold the token.
    "Referrer-Policy": "no-referrer",
}


class VisitHandler(TornadoVoilaHandler):
    """Answers a new visitor with a page of their own, or says that there are too many."""

    @authenticated
    async def get(self, path: str | None = None) -> None:
        """Serve the page; any other address is not found."""
        server: PanelServer = self.settings["voila"]
        if path:
            self.send_error(404)
        elif server.visits() >= server.options.visitors:
            limits = server.options
            self.set_status(503)
            self.set_header("Retry-After", "60")
            page = self.get_template("full.html.j2")
            self.finish(page.render(number=limits.visitors, minutes=f"{limits.idle_minutes:g}"))
        else:
            # Sets the cookie without which the page, when it is closed, could not end its visit.
            _ = self.xsrf_token
            await super().get()


class PanelServer(Voila):
    """Serve a notebook with the panels.

    Parameters
    ----------
    options
        Address and limits.
    port
        To listen on.
    folder
        Holds the notebook; nothing of it is served as a file.
    notebook
        Its path.
    announce
        Called with the address once the page is served.
    """

    def __init__(
        self,
        options: ServingOptions,
        port: int,
        folder: Path,
        notebook: Path,
        announce: Callable[[str], object],
    ) -> None:
        self.options, self._announce = options, announce
        self.sessions = str(folder / "visits")
        Path(self.sessions).mkdir()
        super().__init__(config=_config(options, folder), log_level="WARN")
        self.notebook_path, self.root_dir = str(notebook), str(notebook.parent)
        self.connection_dir_root = str(folder)
        self.ip, self.base_url, self.open_browser = options.ip, _with_slashes(options.base_url), False
        self.port, self.port_retries = port, 0
        self.auto_token = options.asks_for_token
        self.config_file_paths: list[str] = []  # settings for other notebooks do not apply
        self.tornado_settings = {"headers": _HEADERS}
        # It is ours, and the server says so for every visit.
        self.log.addFilter(lambda record: "is not trusted" not in record.msg)

    @property
    def address(self) -> str:
        """The page's address, with the token where one is asked for."""
        host = socket.gethostname() if self.ip in ("", "0.0.0.0", "::") else self.ip
        token = self.identity_provider.token
        return self._url(host) + (f"?token={token}" if token else "")

    def visits(self) -> int:
        """Return how many kernels serve a visitor, without those that wait for one."""
        kernels = self.kernel_manager
        return len(kernels) - kernels.get_pool_size(Path(self.notebook_path).name)

    def setup_template_dirs(self) -> None:
        """Look for templates in our own folder first."""
        super().setup_template_dirs()
        self.template_paths.insert(0, str(_PAGE))

    def init_handlers(self) -> list:
        """Replace the handler of the page, and leave out the one that serves files."""
        handlers = []
        for address, handler, *rest in super().init_handlers():
            if handler is not AllowListFileHandler:
                handlers.append((address, VisitHandler if handler is TornadoVoilaHandler else handler, *rest))
        return handlers

    def start(self) -> None:
        """Serve until the process is interrupted or terminated."""
        IOLoop.current().add_callback(self._started)
        super().start()

    def _started(self) -> None:
        self._announce(self.address)
        if self.options.browser:
            IOLoop.current().run_in_executor(None, webbrowser.open, self.address)


def _config(options: ServingOptions, folder: Path) -> Config:
    idle = options.idle_minutes * 60
    settings: dict[str, dict[str, Any]] = {
        "VoilaConfiguration": {
            "multi_kernel_manager_class": SessionKernels,
            "kernel_spec_manager_class": InstalledKernels,
            # One kernel has begun before its visitor comes.
            "preheat_kernel": True,
            "default_pool_size": 1,
            "strip_sources": True,
            "show_tracebacks": False,
            "file_allowlist": [],
            # An address could otherwise choose another template.
            "allow_template_override": "NO",
            "allow_theme_override": "NO",
        },
        "MappingKernelManager": {
            "cull_idle_timeout": max(int(idle), 1),
            "cull_interval": max(min(int(idle / 4), 60), 1),
            "cull_connected": True,
        },
        # Not in the home of the user who serves the page, which may be read-only, as in a container.
        "NotebookNotary": {"data_dir": str(folder)},
        # Pictures of the panels are more than a server lets through by default, and would be dropped.
        "ZMQChannelsWebsocketConnection": {"limit_rate": False},
    }
    return Config(settings)


def _with_slashes(path: str) -> str:
    return f"/{path.strip('/')}/" if path.strip("/") else "/"
