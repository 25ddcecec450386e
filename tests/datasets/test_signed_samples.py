"""Signed samples are what they say, and honest about being a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from redeepfake_nb.datasets import make_signed_samples, signed_samples
from redeepfake_nb.errors import OutputError
from redeepfake_nb.provenance import credentials, provenance


def test_each_sample_declares_what_its_name_says(tmp_path: Path) -> None:
    samples = make_signed_samples(tmp_path / "new")
    found = {
        name: provenance(getattr(samples, name), trust_list=samples.trust_list)
        for name in ("photo", "generated", "tampered", "claimed")
    }
    assert {name: one.declared_ai for name, one in found.items()} == {
        "photo": None, "generated": "verified", "tampered": None, "claimed": "claimed",
    }  # fmt: skip
    assert [name for name, one in found.items() if one.tampered] == ["tampered"]
    for name in ("photo", "generated"):
        assert found[name].credentials is not None
        assert found[name].credentials.signer == "trusted"
        assert "test" in found[name].credentials.signed_by
    assert found["photo"].credentials.statement.endswith(": taken by a digital camera")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "claimed.png", "generated.jpg", "photo.jpg", "tampered.jpg", "trust_list.pem",
    ]  # fmt: skip
    assert "PRIVATE KEY" not in samples.trust_list.read_text()


def test_what_cannot_be_signed_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise credentials.CredentialsFailed("it crashed")

    monkeypatch.setattr(signed_samples, "ask", fail)
    with pytest.raises(OutputError, match="cannot be signed"):
        make_signed_samples(tmp_path / "new")
    assert not (tmp_path / "new").exists()
