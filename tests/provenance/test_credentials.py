"""Content Credentials, signed with a test certificate: valid, tampered, trusted or not, remote, damaged."""

from __future__ import annotations

import http.server
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
import pytest
from helpers.metadata_files import picture, saved

from redeepfake_nb.datasets.signed_samples import SOURCE_TYPES, TestSigner, make_manifest, move_credentials
from redeepfake_nb.provenance import credentials as module
from redeepfake_nb.provenance.credentials import CredentialsFailed, ask, read_credentials
from redeepfake_nb.provenance.reading import provenance

AI = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPES + "trainedAlgorithmicMedia"}
PHOTO = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPES + "digitalCapture"}
EDIT = {"action": "c2pa.edited", "softwareAgent": {"name": "Editor", "version": "2"}}


@pytest.fixture(scope="module")
def signer() -> TestSigner:
    return TestSigner.make("A. Signer", "An organisation")


@pytest.fixture(scope="module")
def generated(signer: TestSigner) -> bytes:
    return signer.sign(saved(picture()), "JPEG", make_manifest("a.jpg", "A generator", AI, EDIT))


def _read(data: bytes, kind: str = "JPEG", **options: str) -> module.ContentCredentials:
    found = read_credentials(data, None, kind, len(data), **options)
    assert found is not None
    return found


def test_valid_credentials(generated: bytes) -> None:
    found = _read(generated)
    assert (found.state, found.signer, found.ai) == ("valid", "not checked", "all")
    assert (found.issuer, found.name) == ("An organisation", "A. Signer")
    assert found.generator.startswith("A generator 1.0")
    assert [action.words for action in found.actions] == [
        "created (made by generative AI)", "edited with Editor 2",
    ]  # fmt: skip
    assert found.problems == ()


@pytest.mark.parametrize(("action", "share"), [("c2pa.created", "all"), ("c2pa.edited", "")])
def test_a_generator_that_states_no_source_type(
    action: str, share: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some wrote in the first years."""
    data = {"actions": [{"action": action, "softwareAgent": "Bing Image Creator"}]}
    manifest = {"assertions": [{"label": "c2pa.actions", "data": data}]}
    report = {"active_manifest": "a", "manifests": {"a": manifest}, "validation_state": "Valid"}
    monkeypatch.setattr(module, "ask", lambda *_: ({"report": json.dumps(report)}, b""))
    assert _read(b"x").ai == share


def test_a_signer_is_trusted_by_the_named_list_alone(signer: TestSigner, generated: bytes) -> None:
    assert _read(generated, trust_list=signer.root).signer == "trusted"
    other = _read(generated, trust_list=TestSigner.make().root)
    assert (other.state, other.signer) == ("valid", "not trusted")
    assert not other.verified


def test_changed_pixels_are_tampering(signer: TestSigner, generated: bytes) -> None:
    changed = bytearray(generated)
    changed[-30] ^= 1
    assert _read(bytes(changed)).state == "tampered"
    moved = _read(move_credentials(generated, saved(picture(1))), trust_list=signer.root)
    assert (moved.state, moved.signer) == ("tampered", "trusted")
    assert moved.statement.startswith("TAMPERED: ")
    assert not moved.verified


def test_a_changed_manifest_is_not_valid(generated: bytes) -> None:
    assert (
        _read(generated.replace(b"trainedAlgorithmicMedia", b"digitalCapture000000000")).state == "tampered"
    )
    assert _read(generated.replace(b"An organisation", b"Another company")).state == "invalid"


def test_a_file_made_from_a_generated_one_stays_so(signer: TestSigner, generated: bytes) -> None:
    def made_from(relationship: str) -> str:
        opened = {"action": "c2pa.opened" if relationship == "parentOf" else "c2pa.placed"}
        ingredient = {"title": "a.jpg", "relationship": relationship, "instance_id": "xmp.iid:1"}
        opened["parameters"] = {"ingredientIds": ["xmp.iid:1"]}  # type: ignore[assignment]
        actions = (opened,) if relationship == "parentOf" else (PHOTO, opened)
        signed = signer.sign(
            saved(picture()), "JPEG", make_manifest("b.jpg", "Editor", *actions),
            ingredients=[(ingredient, generated.hex())],
        )  # fmt: skip
        found = _read(signed)
        assert found.state == "valid", found.problems
        assert "a.jpg, made by generative AI" in found.ingredients[0].words
        return found.ai

    assert made_from("parentOf") == "all"
    assert made_from("componentOf") == "part"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF"])
def test_other_formats(signer: TestSigner, kind: str) -> None:
    signed = signer.sign(saved(picture(), kind), kind, make_manifest("a", "A generator", AI))
    assert provenance(signed).declared_ai == "verified"
    changed = bytearray(signed)
    changed[len(saved(picture(), kind)) // 2 if kind == "TIFF" else -20] ^= 1
    assert provenance(bytes(changed)).declared_ai != "verified"


@pytest.mark.parametrize("container", ["mp4", "mov", "avi"])
def test_videos(signer: TestSigner, container: str) -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream("mpeg4", 10)
        stream.width = stream.height = 32
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    kind = "AVI" if container == "avi" else "MP4"
    signed = bytearray(signer.sign(buffer.getvalue(), kind, make_manifest("a", "A generator", AI)))
    assert provenance(bytes(signed)).declared_ai == "verified"
    signed[signed.index(b"movi" if container == "avi" else b"mdat") + 30] ^= 1
    assert provenance(bytes(signed)).tampered


def test_files_without_credentials_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_process(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "ask", no_process)
    assert provenance(saved(picture())).credentials is None


def test_a_path_gives_the_same_as_bytes(generated: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(generated)
    assert provenance(path).to_dict() == provenance(generated).to_dict()


def test_damaged_manifests_are_no_crash(generated: bytes) -> None:
    start = generated.index(b"jumb")
    for place in range(start, start + 400, 23):
        damaged = bytearray(generated)
        damaged[place] ^= 0xFF
        found = provenance(bytes(damaged))
        assert found.declared_ai != "verified", place


class _Recorder(http.server.BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Recorder) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        _Recorder.asked.clear()
        yield f"http://127.0.0.1:{running.server_port}/manifest.c2pa"
        running.shutdown()


def test_remote_manifests_are_fetched_on_request_only(signer: TestSigner, server: str) -> None:
    remote = signer.sign(saved(picture()), "JPEG", make_manifest("a.jpg", "A", AI), remote_url=server)
    found = provenance(remote)
    assert found.credentials is not None
    assert (found.credentials.state, found.credentials.url) == ("remote", server)
    assert found.declared_ai is None
    assert _Recorder.asked == []

    asked = provenance(remote, fetch_remote=True)
    assert _Recorder.asked == ["/manifest.c2pa"]
    assert asked.credentials is not None
    assert asked.credentials.state == "unreadable"


def test_the_library_is_not_loaded_from_the_working_folder(
    generated: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loader looks there first; a stranger's folder may hold a file of that name."""
    for name in ("libc2pa_c.so", "libc2pa_c.dylib", "c2pa_c.dll"):
        (tmp_path / name).write_bytes(b"not a library")
    (tmp_path / "c2pa.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    module._PROCESS.stop()
    assert _read(generated).state == "valid"


def test_a_process_that_crashes_costs_the_credentials_alone(
    generated: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    crashing = tmp_path / "credentials_process.py"
    crashing.write_text("import os\nos.abort()")
    module._PROCESS.stop()
    monkeypatch.setattr(module, "__file__", str(tmp_path / "credentials.py"))
    found = provenance(generated)
    assert found.credentials is not None
    assert found.credentials.state == "unreadable"
    assert "crashed" in found.credentials.problems[0]


def test_a_process_that_hangs_is_ended(
    generated: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "credentials_process.py").write_text("import time\ntime.sleep(60)")
    module._PROCESS.stop()
    monkeypatch.setattr(module, "__file__", str(tmp_path / "credentials.py"))
    monkeypatch.setattr(module, "_SECONDS", 0.5)
    with pytest.raises(CredentialsFailed, match="longer than"):
        ask({"task": "read", "settings": {}}, generated, None, "JPEG", len(generated))


def test_a_library_that_is_missing_is_said(generated: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    module._PROCESS.stop()
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    found = provenance(generated)
    assert found.credentials is not None
    assert found.credentials.problems == ("c2pa-python is not installed",)


@pytest.mark.parametrize("report", ["[]", "{}", '{"manifests": 1, "active_manifest": "a"}', "nonsense"])
def test_a_damaged_report_is_unreadable(report: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ask", lambda *_: ({"report": report}, b""))
    assert _read(b"x").state == "unreadable"


def test_manifests_that_name_each_other_end(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [f"m{i}" for i in range(60)]
    manifests = {
        label: {"ingredients": [{"active_manifest": other, "relationship": "parentOf"} for other in labels]}
        for label in labels
    }
    report = {"active_manifest": "m0", "manifests": manifests, "validation_state": "Valid"}
    monkeypatch.setattr(module, "ask", lambda *_: ({"report": json.dumps(report)}, b""))
    assert _read(b"x").ai == ""
    assert len(_read(b"x").ingredients) == 21
