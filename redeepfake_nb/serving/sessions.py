"""Kernels of visits: one for each, with a folder of its own that is deleted with it."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.paths import jupyter_path
from jupyter_core.utils import ensure_async
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.ioloop import IOLoop
from traitlets import default

PREFIX = "redeepfake-app-"
# What libraries and unexpected errors write goes into the server's log, and not into messages to the visitor.
_KERNEL_OPTIONS = ["--log-level=ERROR", "--IPKernelApp.capture_fd_output=False"]


class InstalledKernels(KernelSpecManager):
    """Finds kernels without IPython's folder, which looking there would create in the user's home."""

    @default("kernel_dirs")
    def _installed(self) -> list[str]:
        return jupyter_path("kernels")


class SessionKernels(AsyncMappingKernelManager):
    """Starts each kernel in a new folder, which is also where it makes its temporary files.

    A kernel that died is not started again: nothing of what its page shows would be in the new one.
    """

    async def start_kernel(self, *, path: str | None = None, **options: Any) -> str:  # type: ignore[override]
        """Start a kernel and return its id; ``path`` is ignored."""
        server: Any = self.parent
        folder = tempfile.mkdtemp(prefix="visit-", dir=server.sessions)
        environment = {**(options.pop("env", None) or os.environ), "TMPDIR": folder}
        # A profile of its own: start-up files of the user who serves the page are not for visits.
        environment["IPYTHONDIR"] = folder
        try:
            kernel_id = await super().start_kernel(
                cwd=folder, env=environment, extra_arguments=_KERNEL_OPTIONS, **options
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._folders()[kernel_id] = folder
        end = partial(IOLoop.current().add_callback, self._end, kernel_id)
        self.add_restart_callback(kernel_id, end, "restart")
        return kernel_id

    def remove_kernel(self, kernel_id: str) -> Any:
        """Forget a kernel that has ended, and delete its folder."""
        removed = super().remove_kernel(kernel_id)
        shutil.rmtree(self._folders().pop(kernel_id, ""), ignore_errors=True)
        return removed

    def _folders(self) -> dict[str, str]:
        return self.__dict__.setdefault("_session_folders", {})

    async def _end(self, kernel_id: str) -> None:
        """End a kernel that is being started again."""
        while kernel_id in self and not self.get_kernel(kernel_id).ready.done():
            await asyncio.sleep(0.1)
        if kernel_id in self:
            await ensure_async(self.shutdown_kernel(kernel_id, now=True))


def new_folder() -> Path:
    """Create the folder of a server, and remove those of servers that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = left.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not _alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")).resolve()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    return True
