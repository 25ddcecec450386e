"""``serve``: check the options, write the notebook of the page, and serve it until the process is ended."""

from __future__ import annotations

import errno
import importlib.util
import json
import shutil
import socket
from collections.abc import Callable

from ..errors import MissingExtra, RedeepfakeError
from ..models.loading import read_card
from .options import DEFAULT_PORT, ServingOptions

_TITLE = "redeepfake_nb"
# How many ports after the default one are tried.
_PORTS = 50


def serve(options: ServingOptions | None = None, announce: Callable[[str], object] = print) -> None:
    """Serve the panels as a page until the process is interrupted (Ctrl-C) or terminated.

    Each visitor has a kernel and a folder of their own. The folder is deleted when the kernel ends: when the
    page is closed, when nothing was done for a while, or with the server.

    Parameters
    ----------
    options
        Address and limits; default: to this machine alone.
    announce
        Called with the page's address once it is served.

    Raises
    ------
    MissingExtra
        Voilà is not installed.
    ModelError
        There is no such model, or its sidecar is missing or broken.
    RedeepfakeError
        The port is taken, or the address is not one of this machine.
    """
    options = ServingOptions() if options is None else options
    if importlib.util.find_spec("voila") is None:
        raise MissingExtra(
            "the app is served by Voilà, which is not installed",
            next_step='Run `pip install "redeepfake-nb[app]"`.',
        )
    if options.model is not None:
        read_card(options.model)
    port = _free_port(options)
    from .sessions import new_folder
    from .voila_app import PanelServer

    folder = new_folder()
    try:
        notebook = folder / "page" / "app.ipynb"
        notebook.parent.mkdir()
        notebook.write_text(json.dumps(page_notebook(options)), encoding="utf-8")
        server = PanelServer(options, port, folder, notebook, announce)
        server.initialize([])
        server.start()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def page_notebook(options: ServingOptions) -> dict:
    """Return the notebook that is served, in nbformat 4.5: one cell that makes the panels."""
    model = None if options.model is None else str(options.model.expanduser().resolve())
    source = (
        "from redeepfake_nb.widgets import App\n"
        f"App({model!r}, max_upload_mb={options.upload_limit}, local_files={options.local_files})"
    )
    cell = {"cell_type": "code", "id": "app", "metadata": {}, "source": source, "outputs": []}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        "cells": [cell | {"execution_count": None}],
        "metadata": {"title": _TITLE, "kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _free_port(options: ServingOptions) -> int:
    """Return the port to listen on, after trying it."""
    ports = range(DEFAULT_PORT, DEFAULT_PORT + _PORTS) if options.port is None else [options.port]
    problem: OSError | None = None
    for port in ports:
        try:
            found = socket.getaddrinfo(options.ip, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = found[0]
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(address)
                tried.listen(1)
            return port
        except OSError as error:
            problem = error
            if error.errno != errno.EADDRINUSE:
                break
    if problem is not None and problem.errno == errno.EADDRINUSE:
        raise RedeepfakeError(
            f"port {ports[0]} is taken", next_step="Choose another with --port, or end what uses it."
        )
    if problem is not None and problem.errno == errno.EACCES:
        raise RedeepfakeError(
            f"listening on port {ports[0]} is not allowed", next_step="Choose one from 1024 on, with --port."
        )
    raise RedeepfakeError(
        f"this machine cannot listen at {options.ip}: {getattr(problem, 'strerror', None) or problem}",
        next_step="Choose 127.0.0.1 for this machine alone, or 0.0.0.0 for others, too, with --ip.",
    )
