"""Entry point of a worker process: loads one model and scores files until its parent process is gone.

Started by :mod:`redeepfake_nb.scanning.worker_pool` with pipes for standard input and output. Tasks arrive
pickled, results are sent as JSON: the parent must not unpickle what a process sends that decodes untrusted
files.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import struct
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .file_scoring import FileScorer

# Header of a message: its length in bytes.
HEADER = struct.Struct("<Q")
# Seconds without a task after which the process ends: whoever started it may be unable to end it.
_IDLE_TIMEOUT = 120.0


def main() -> None:
    """Serve tasks from standard input until it is closed."""
    # Ctrl-C in a terminal reaches all of its processes; stopping is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_crash_effects()
    results = os.fdopen(os.dup(1), "wb")
    # Whatever libraries print must not mix with the results.
    os.dup2(2, 1)
    tasks: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_receive_tasks, args=(sys.stdin.buffer, tasks), daemon=True).start()
    from ..errors import RedeepfakeError

    try:
        scorer, compiled_now = _create_scorer(tasks.get())
    except RedeepfakeError as error:
        send(results, {"fatal": error.to_dict()})
        return
    send(results, {"ready": os.getpid(), "compiled_now": compiled_now})
    while True:
        try:
            paths = tasks.get(timeout=_IDLE_TIMEOUT)
        except queue.Empty:
            return
        for index, outcome in scorer.score(paths, lambda index: send(results, {"started": index})):
            send(results, {"index": index, "outcome": outcome.to_dict()})
        send(results, {"finished": len(paths)})


def send(pipe: IO[bytes], message: Any) -> None:
    """Write one JSON message."""
    # ASCII, since file names may hold lone surrogates, which UTF-8 cannot encode.
    data = json.dumps(message).encode("ascii")
    pipe.write(HEADER.pack(len(data)) + data)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes | None:
    """Read one message; None at the end of the stream."""
    header = pipe.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (size,) = HEADER.unpack(header)
    data = pipe.read(size)
    return data if len(data) == size else None


def _receive_tasks(pipe: IO[bytes], tasks: queue.SimpleQueue) -> None:
    while (message := receive(pipe)) is not None:
        tasks.put(pickle.loads(message))
    # The parent closed the pipe or is gone, perhaps killed: nobody needs further results.
    os._exit(0)


def _limit_crash_effects() -> None:
    """Disable core dumps, and let the kernel kill this process first when memory runs out.

    A core dump would write people's faces to the disk.
    """
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("800")
    except (ImportError, OSError, ValueError):
        pass


def _create_scorer(setup: dict[str, Any]) -> tuple[FileScorer, bool]:
    """Load the model and the settings; return also whether the network was compiled for it just now."""
    from ..models.loading import load_model
    from ..utils.threads import limit_opencv
    from .file_scoring import FileScorer

    limit_opencv()
    classifier = load_model(setup["model"], sha256=setup["sha256"], runtime=setup["runtime"])
    # Before the settings, whose detector may need TensorFlow itself.
    compiled_now = classifier.uses_litert and "tensorflow" in sys.modules
    return FileScorer(classifier, pickle.loads(setup["settings"])), compiled_now


if __name__ == "__main__":
    main()
