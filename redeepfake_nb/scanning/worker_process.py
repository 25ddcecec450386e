"""The process that scores: one model, one file after the other, until its master is gone.

Started by :mod:`redeepfake_nb.scanning.worker_pool` with pipes for standard input and output. It is told what to do by
pickled messages and answers in JSON: what comes out of a process that decodes strangers' files is not to be
unpickled by the one that has not.
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
from typing import Any, BinaryIO

_HEAD = struct.Struct("<Q")
# Seconds without a task after which it is taken for forgotten: not everybody who starts it can end it.
_IDLE = 120.0


def main() -> None:
    """Serve standard input until it is closed."""
    # A terminal's Ctrl-C reaches all of its processes; stopping is the master's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_quietly()
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever libraries print must not get between the answers.
    os.dup2(2, 1)
    tasks: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, tasks), daemon=True).start()
    from ..errors import RedeepfakeError

    try:
        scorer = _scorer(tasks.get())
    except RedeepfakeError as error:
        send(answers, {"fatal": error.to_dict()})
        return
    send(answers, {"ready": os.getpid()})
    while True:
        try:
            paths = tasks.get(timeout=_IDLE)
        except queue.Empty:
            return
        for place, outcome in scorer.score(paths, lambda place: send(answers, {"began": place})):
            send(answers, {"place": place, "outcome": outcome.to_dict()})
        send(answers, {"finished": len(paths)})


def send(pipe: BinaryIO, message: Any) -> None:
    """Write one JSON message."""
    # ASCII, since names may hold the halves of characters, which no encoding has.
    data = json.dumps(message).encode("ascii")
    pipe.write(_HEAD.pack(len(data)) + data)
    pipe.flush()


def receive(pipe: BinaryIO) -> bytes | None:
    """One message, or None at the end."""
    head = pipe.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    (size,) = _HEAD.unpack(head)
    data = pipe.read(size)
    return data if len(data) == size else None


def _listen(pipe: BinaryIO, tasks: queue.SimpleQueue) -> None:
    while (message := receive(pipe)) is not None:
        tasks.put(pickle.loads(message))
    # The master closed the pipe or is gone, perhaps killed: nobody wants the rest.
    os._exit(0)


def _die_quietly() -> None:
    """A crash leaves no image of the memory, which holds people's faces, on the disk.

    On Linux, when memory runs out, this process is to go rather than a notebook or the master.
    """
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("800")
    except (ImportError, OSError, ValueError):
        pass


def _scorer(setup: dict[str, Any]) -> Any:
    import cv2

    from ..models.loading import load_model
    from .file_scoring import FileScorer

    cv2.setNumThreads(setup["threads"])
    classifier = load_model(setup["model"], sha256=setup["sha256"])
    return FileScorer(classifier, pickle.loads(setup["settings"]))


if __name__ == "__main__":
    main()
