"""Entry point of the process that reads or writes Content Credentials: native code, kept apart.

Started by :mod:`redeepfake_nb.provenance.credentials` as a script in Python's isolated mode, with the folder
of c2pa-python's native library as working folder: its loader looks for the library in the working folder
first, where a stranger's file of that name must not be. Each request on standard input is a length, a line
of JSON and the file's bytes, unless the line names a path; so is each answer. Nothing of this package is
imported here.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import sys
import threading
from typing import IO, Any, BinaryIO

# Longest report on credentials that is passed on, in characters.
_MAX_REPORT = 4 * 2**20
# Seconds without a request after which the process ends; seconds of processor time that it may ever take.
_IDLE_SECONDS = 60.0
_CPU_SECONDS = 1200
_LENGTH = struct.Struct("<Q")


def main() -> None:
    """Answer requests until standard input is closed."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever libraries print must not mix with the answers
    _limit(int(sys.argv[2]))
    sys.path.append(sys.argv[1])
    while (message := _receive()) is not None:
        line, _, data = message.partition(b"\n")
        answer, made = _answer(json.loads(line), data)
        body = json.dumps(answer).encode("ascii") + b"\n" + made
        answers.write(_LENGTH.pack(len(body)) + body)
        answers.flush()
    # Not sys.exit(): native threads may still run.
    os._exit(0)


def _receive() -> bytes | None:
    idle = threading.Timer(_IDLE_SECONDS, os._exit, (0,))
    idle.daemon = True
    idle.start()
    head = sys.stdin.buffer.read(_LENGTH.size)
    idle.cancel()
    return sys.stdin.buffer.read(*_LENGTH.unpack(head)) if len(head) == _LENGTH.size else None


def _answer(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        with _opened(request, data) as file:
            return _sign(request, file) if request["task"] == "sign" else (_read(request, file), b"")
    except MemoryError:
        return {"error": "there is not enough memory for them"}, b""
    except Exception as error:
        return {"error": f"{type(error).__name__.strip('_')}: {error}"[:2000]}, b""


def _limit(memory: int) -> None:
    """Limit memory and processor time, and write no core dump, which would hold the picture."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))


def _opened(request: dict[str, Any], data: bytes) -> BinaryIO | IO[bytes]:
    return io.BytesIO(data) if request["path"] is None else open(request["path"], "rb")


def _read(request: dict[str, Any], file: BinaryIO | IO[bytes]) -> dict[str, Any]:
    import c2pa

    context = c2pa.Context.from_dict(request["settings"])
    try:
        reader = c2pa.Reader(request["format"], file, context=context)
    except c2pa.C2paError.ManifestNotFound:
        return {"none": True}
    text = reader.json()
    if len(text) > _MAX_REPORT:
        return {"error": f"they hold more than {_MAX_REPORT // 2**20} MiB of text"}
    return {"report": text}


def _sign(request: dict[str, Any], file: BinaryIO | IO[bytes]) -> tuple[dict[str, Any], bytes]:
    import c2pa

    # No time-stamping authority, which would be asked over the network.
    signer = c2pa.Signer.from_info(
        c2pa.C2paSignerInfo(b"es256", request["certificates"].encode(), request["private_key"].encode(), None)
    )
    builder = c2pa.Builder(
        json.dumps(request["manifest"]), context=c2pa.Context.from_dict(request["settings"])
    )
    if request.get("remote_url"):
        builder.set_no_embed()
        builder.set_remote_url(request["remote_url"])
    for ingredient, data in request.get("ingredients", ()):
        builder.add_ingredient(json.dumps(ingredient), request["format"], io.BytesIO(bytes.fromhex(data)))
    made = io.BytesIO()
    manifest = builder.sign(signer, request["format"], file, made)
    return {"manifest": manifest.hex()}, made.getvalue()


if __name__ == "__main__":
    main()
