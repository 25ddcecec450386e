"""Read and verify Content Credentials (C2PA) with c2pa-python, in a process of its own.

The library is native code that parses what strangers wrote, so it runs in a child process with limits on
memory and time: a crash or an endless loop costs the credentials and nothing else. The process is only
started for files that hold credentials, or say where they are.

No network is used unless ``fetch_remote`` is set: remote manifests, revocation lists (OCSP) and identity
assertions are not fetched, and the list of allowed hosts is empty. The formats and codes are those of the
C2PA Technical Specification 2.2.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import RedeepfakeError, displayable, one_line_message
from .records import Action, ContentCredentials, CredentialState, Ingredient, Signer
from .vocabulary import action_words, names_generator, source_type

FORMATS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "HEIF": "image/heic",
    "AVIF": "image/avif",
    "MP4": "video/mp4",
    "AVI": "video/avi",
}
# Address space of the process. Seconds for a file; the rest is for the hash of a large video.
_MEMORY = 4 * 2**30
_SECONDS = 20.0
_BYTES_PER_SECOND = 50 * 2**20
# Files after which a new process begins, in case the library loses memory; longest answer in bytes.
_MAX_ANSWERS = 500
_MAX_ANSWER = 300 * 2**20
_LENGTH = struct.Struct("<Q")
# Shown of a history: a long one is cut, and said to be.
_MAX_SHOWN = 20
_MAX_DEPTH = 20
_SHORT, _LONG = 200, 400
# Codes for "these bytes are not those that were signed" (C2PA 2.2, "Validation status codes").
_MISMATCHES = (
    "assertion.dataHash.mismatch",
    "assertion.bmffHash.mismatch",
    "assertion.boxesHash.mismatch",
    "assertion.collectionHash.mismatch",
    "assertion.multiAssetHash.mismatch",
    "assertion.hashedURI.mismatch",
)
_TRUST_CODES = ("signingCredential.untrusted", "signingCredential.trusted")


class CredentialsFailed(RedeepfakeError):
    """The process that reads or writes credentials failed."""


class _Ended(CredentialsFailed):
    """The process ended before it answered."""


def read_credentials(
    data: bytes | None,
    path: str | None,
    kind: str,
    size: int,
    *,
    trust_list: str = "",
    fetch_remote: bool = False,
) -> ContentCredentials | None:
    """Read and verify the Content Credentials of a file.

    Parameters
    ----------
    data, path
        The file's bytes, or its path.
    kind
        Its format; a key of ``FORMATS``.
    size
        Its size in bytes, by which the time limit is set.
    trust_list
        Certificates in PEM format; empty: signers are not checked.
    fetch_remote
        Whether to fetch a manifest that is stored elsewhere.

    Returns
    -------
    ContentCredentials or None
        None where there are none. Never raises for a file: what goes wrong is the state ``"unreadable"``.
    """
    request = {"task": "read", "settings": _settings(trust_list, fetch_remote)}
    try:
        answer, _ = ask(request, data, path, kind, size)
    except (CredentialsFailed, OSError, ValueError) as error:
        cause = error.cause if isinstance(error, RedeepfakeError) else one_line_message(error)
        return ContentCredentials("unreadable", problems=(cause,))
    if "none" in answer:
        return None
    try:
        return _understood(json.loads(answer["report"]), bool(trust_list))
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        return ContentCredentials(
            "unreadable", problems=(f"their report is damaged ({one_line_message(error)})",)
        )


def _settings(trust_list: str, fetch_remote: bool) -> dict[str, Any]:
    core: dict[str, Any] = {"decode_identity_assertions": False}
    if not fetch_remote:
        core["allowed_network_hosts"] = []
    settings: dict[str, Any] = {
        "verify": {
            "remote_manifest_fetch": fetch_remote,
            "ocsp_fetch": False,
            "verify_trust": bool(trust_list),
        },
        "core": core,
    }
    if trust_list:
        settings["trust"] = {"trust_anchors": trust_list}
    return settings


# ------------------------------------------------------------------ the process


class _Process:
    """The process that answers requests; started when it is needed, and anew after a failure."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = 0
        self._owner = 0

    def ask(self, line: Mapping[str, Any], data: bytes, seconds: float) -> bytes:
        """Send one request and return the answer; a process that had ended meanwhile is started once more.

        Raises
        ------
        CredentialsFailed
            c2pa-python is missing, or the process crashed or took longer than ``seconds``.
        """
        with self._lock:
            self._forget_of_parent()
            fresh = self._process is None or self._answered >= _MAX_ANSWERS
            if fresh:
                self._start()
            try:
                return self._exchange(line, data, seconds)
            except _Ended:
                if fresh:
                    raise
                self._start()
                return self._exchange(line, data, seconds)

    def _forget_of_parent(self) -> None:
        """After a fork the process and its pipes belong to the parent."""
        if self._owner != os.getpid():
            self._process, self._owner = None, os.getpid()

    def _start(self) -> None:
        self.stop()
        spec = importlib.util.find_spec("c2pa")
        if spec is None or not spec.submodule_search_locations:
            raise CredentialsFailed(
                "c2pa-python is not installed", next_step="Run `pip install c2pa-python`."
            )
        package = Path(next(iter(spec.submodule_search_locations)))
        library = package / "libs"
        script = Path(__file__).with_name("credentials_process.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script), str(package.parent), str(_MEMORY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=library if library.is_dir() else package,
        )
        self._answered = 0

    def stop(self) -> None:
        """End the process."""
        self._forget_of_parent()
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def _exchange(self, line: Mapping[str, Any], data: bytes, seconds: float) -> bytes:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, give_up)
        timer.daemon = True
        timer.start()
        body = json.dumps(line).encode("ascii") + b"\n"
        answer = b""
        try:
            process.stdin.write(_LENGTH.pack(len(body) + len(data)) + body)
            process.stdin.write(data)
            process.stdin.flush()
            head = process.stdout.read(_LENGTH.size)
            if len(head) == _LENGTH.size:
                (length,) = _LENGTH.unpack(head)
                answer = process.stdout.read(min(length, _MAX_ANSWER))
        except OSError:
            pass  # a broken pipe: it has ended
        finally:
            timer.cancel()
        if answer:
            self._answered += 1
            return answer
        self.stop()
        if late.is_set():
            raise CredentialsFailed(f"reading them took longer than {seconds:.0f} s")
        raise _Ended(f"the library that reads them crashed (status {process.returncode})")


_PROCESS = _Process()
atexit.register(_PROCESS.stop)


def ask(
    request: Mapping[str, Any], data: bytes | None, path: str | None, kind: str, size: int
) -> tuple[dict[str, Any], bytes]:
    """Answer one request in the other process; see :mod:`redeepfake_nb.provenance.credentials_process`.

    Raises
    ------
    CredentialsFailed
        c2pa-python is missing, or the process crashed, took too long, or reported an error.
    """
    line = {**request, "path": None if path is None else os.path.abspath(path), "format": FORMATS[kind]}
    received = _PROCESS.ask(line, data or b"", _SECONDS + size / _BYTES_PER_SECOND)
    head, _, rest = received.partition(b"\n")
    answer = json.loads(head)
    if "error" in answer:
        raise CredentialsFailed(displayable(answer["error"], _LONG))
    return answer, rest


# ------------------------------------------------------------------ the report


def _understood(report: Mapping[str, Any], with_list: bool) -> ContentCredentials:
    manifests = report["manifests"]
    active = manifests[report["active_manifest"]]
    failures = list(_failures(report))
    codes = [code for code, _ in failures]
    state: CredentialState = "valid"
    if any(code.startswith(_MISMATCHES) for code in codes):
        state = "tampered"
    elif report.get("validation_state") not in ("Valid", "Trusted") or _serious(codes):
        state = "invalid"
    # A changed file proves tampering only where the signature itself holds.
    if state == "tampered" and any(code.startswith("claimSignature.mismatch") for code in codes):
        state = "invalid"
    signer: Signer = "not checked"
    if with_list:
        signer = "trusted" if _is_trusted(report, codes) else "not trusted"
    signature = active.get("signature_info") or {}
    actions = tuple(_actions(active))
    ingredients = tuple(_ingredients(active, manifests))
    problems = tuple(dict.fromkeys(words for code, words in failures if code not in _TRUST_CODES))
    return ContentCredentials(
        state=state,
        signer=signer,
        issuer=_words(signature.get("issuer"), _SHORT),
        name=_words(signature.get("common_name"), _SHORT),
        generator=_generator(active),
        title=_words(active.get("title"), _SHORT),
        time=_words(signature.get("time"), _SHORT),
        actions=_cut(actions),
        ingredients=_cut(ingredients),
        ai=_ai_share(active, manifests),
        problems=problems[:_MAX_SHOWN],
    )


def _cut(found: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(found) <= _MAX_SHOWN:
        return found
    words = f"and {len(found) - _MAX_SHOWN} more"
    last = Action(words) if isinstance(found[0], Action) else Ingredient(words)
    return (*found[:_MAX_SHOWN], last)


def _words(value: object, limit: int) -> str:
    return displayable(" ".join(str(value).split()), limit) if value not in (None, "") else ""


def _failures(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield code and words of what failed in the active manifest; ingredients may fail without harm to it."""
    results = report.get("validation_results") or {}
    active = (results.get("activeManifest") or {}).get("failure")
    for entry in active if active is not None else report.get("validation_status") or ():
        code = str(entry.get("code", ""))
        yield code, _words(f"{code}: {entry.get('explanation', '')}".rstrip(": "), _LONG)


def _serious(codes: Sequence[str]) -> bool:
    return any(code not in _TRUST_CODES for code in codes)


def _is_trusted(report: Mapping[str, Any], codes: Sequence[str]) -> bool:
    results = (report.get("validation_results") or {}).get("activeManifest") or {}
    passed = {str(entry.get("code", "")) for entry in results.get("success") or ()}
    return "signingCredential.trusted" in passed and "signingCredential.untrusted" not in codes


def _generator(manifest: Mapping[str, Any]) -> str:
    infos = manifest.get("claim_generator_info") or []
    named = [
        f"{info.get('name', '')} {info.get('version', '')}".strip() for info in infos if info.get("name")
    ]
    return _words(", ".join(named) or manifest.get("claim_generator"), _SHORT)


def _raw_actions(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for assertion in manifest.get("assertions") or ():
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            found += (assertion.get("data") or {}).get("actions") or []
    return found


def _actions(manifest: Mapping[str, Any]) -> Iterator[Action]:
    for action in _raw_actions(manifest):
        agent = action.get("softwareAgent") or ""
        if isinstance(agent, Mapping):
            agent = f"{agent.get('name', '')} {agent.get('version', '')}".strip()
        name = str(action.get("action", "c2pa.unknown"))
        typed = source_type(str(action.get("digitalSourceType", "")))
        if typed is None and name == "c2pa.created" and names_generator(str(agent), software=True):
            typed = "made by a generator, by the name of the program", "all"
        yield Action(
            _words(action_words(name), _SHORT),
            _words(agent, _SHORT),
            typed[0] if typed else _words(action.get("digitalSourceType"), _SHORT),
            typed[1] if typed else "",
            _words(action.get("when"), _SHORT),
        )


def _ingredients(manifest: Mapping[str, Any], manifests: Mapping[str, Any]) -> Iterator[Ingredient]:
    for ingredient in manifest.get("ingredients") or ():
        own = manifests.get(ingredient.get("active_manifest"))
        yield Ingredient(
            _words(ingredient.get("title"), _SHORT),
            _words(ingredient.get("format"), _SHORT),
            _words(ingredient.get("relationship"), _SHORT),
            _ai_share(own, manifests) if own else "",
        )


def _ai_share(
    manifest: Mapping[str, Any],
    manifests: Mapping[str, Any],
    known: dict[str, str] | None = None,
    depth: int = 0,
) -> str:
    """How much generative AI made: of a file made from another one, at least as much as of that."""
    known = {} if known is None else known
    shares = {action.ai for action in _actions(manifest)}
    for ingredient in (manifest.get("ingredients") or ()) if depth < _MAX_DEPTH else ():
        label = str(ingredient.get("active_manifest"))
        if label in manifests and label not in known:
            known[label] = ""  # a manifest that refers to itself adds nothing
            known[label] = _ai_share(manifests[label], manifests, known, depth + 1)
        if share := known.get(label, ""):
            shares.add(share if ingredient.get("relationship") == "parentOf" else "part")
    return "all" if "all" in shares else "part" if "part" in shares else ""
