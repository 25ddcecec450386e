"""Run functions in child processes under limits on time and memory, and report how they ended.

A server process imports the modules once and forks for each call, so that a call costs milliseconds. The
server has a single thread, which makes forking safe; pytest's process may have many.

Run as a program, this file is the server: it reads one JSON object per line and writes one per line.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
GIB = 2**30


@dataclass(frozen=True)
class SandboxResult:
    """Result of a call.

    Parameters
    ----------
    value
        Return value of the function, as plain JSON.
    error
        Traceback of an exception that the function raised.
    signal
        Number of the signal that ended the process; 0 for none.
    timeout
        Whether the process was killed at its time limit.
    written
        Files that it left in its working folder, which was empty.
    peak
        Peak resident memory of the process in MB.
    seconds
        Wall-clock time.
    noise
        End of its standard output and error.
    """

    value: Any = None
    error: str = ""
    signal: int = 0
    timeout: bool = False
    written: list[str] = field(default_factory=list)
    peak: float = 0.0
    seconds: float = 0.0
    noise: str = ""

    @property
    def violation(self) -> str:
        """What must never happen, in words; empty if nothing of it did."""
        if self.timeout:
            return f"still running after {self.seconds:.0f} s"
        if self.signal:
            return f"ended by {signal.Signals(self.signal).name}\n{self.noise}"
        if self.error:
            return f"untyped exception\n{self.error}"
        if self.written:
            return f"wrote {', '.join(self.written)}"
        return ""


class Sandbox:
    """Client and context manager of a server process."""

    def __init__(self, *modules: str) -> None:
        # One thread per library: less address space, and no other threads in the process that forks.
        env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        paths = [str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")]
        env["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        self._server = subprocess.Popen(
            [sys.executable, __file__, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            text=True,
        )

    def call(
        self, function: str, *arguments: Any, seconds: float = 60, memory: int | None = 2 * GIB
    ) -> SandboxResult:
        """Call ``"module:function"`` with plain JSON values; ``memory`` limits the address space in bytes."""
        request = {"function": function, "arguments": arguments, "seconds": seconds, "memory": memory}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        if not answer:
            raise RuntimeError(f"the sandbox server ended with {self._server.wait()}")
        return SandboxResult(**json.loads(answer))

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stdin.close()
        try:
            self._server.wait(30)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server.stdout.close()


# ------------------------------------------------------------------ server


def _serve(modules: list[str]) -> None:
    for module in modules:
        # Work that every child would have to repeat.
        prepare = getattr(importlib.import_module(module), "prepare", None)
        if prepare is not None:
            prepare()
    # Output that libraries print must not get into the pipe to the parent.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_one(**request)), file=answers, flush=True)


def _one(function: str, arguments: list, seconds: float, memory: int | None) -> dict[str, Any]:
    module, name = function.split(":")
    # Imported here and not in the child, so that the next call finds it imported.
    target = getattr(importlib.import_module(module), name)
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as noise:
        reader, writer = os.pipe()
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.dup2(noise.fileno(), 1)
            os.dup2(noise.fileno(), 2)
            _run(target, arguments, scratch, memory, writer)
        os.close(writer)
        text, timeout = _answer(reader, began + seconds)
        if timeout:
            os.kill(child, signal.SIGKILL)
        os.close(reader)
        _, status, usage = os.wait4(child, 0)
        noise.seek(0)
        outcome = json.loads(text) if text and not timeout else {}
        return {
            "value": outcome.get("value"),
            "error": outcome.get(
                "error", "" if outcome or timeout or os.WIFSIGNALED(status) else "no answer"
            ),
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) and not timeout else 0,
            "timeout": timeout,
            "written": sorted(
                os.path.relpath(os.path.join(folder, file), scratch)
                for folder, _, files in os.walk(scratch)
                for file in files
            ),
            "peak": usage.ru_maxrss / 1024,
            "seconds": time.monotonic() - began,
            "noise": noise.read()[-4000:].decode("utf-8", "replace"),
        }


def _answer(reader: int, deadline: float) -> tuple[str, bool]:
    parts = []
    while True:
        ready, _, _ = select.select([reader], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return "", True
        part = os.read(reader, 2**16)
        if not part:
            return b"".join(parts).decode(), False
        parts.append(part)


def _run(target: Any, arguments: list, scratch: str, memory: int | None, writer: int) -> None:
    """Run the function in the child process; never returns."""
    try:
        os.chdir(scratch)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        try:
            answer = {"value": target(*arguments)}
        except BaseException:
            answer = {"error": traceback.format_exc()[-4000:]}
        with os.fdopen(writer, "w") as pipe:
            pipe.write(json.dumps(answer))
    finally:
        os._exit(0)


if __name__ == "__main__":
    _serve(sys.argv[1:])
