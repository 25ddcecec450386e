"""A converted model never replaces the one that it was made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from redeepfake_nb.cli import main


@pytest.mark.usefixtures("no_model")
def test_the_old_model_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    own, link = tmp_path / "own.keras", tmp_path / "link.keras"
    own.write_bytes(b"trained for days")
    link.symlink_to(own)
    for out in (own, link):
        assert main(["convert", str(own), str(out)]) == 1
        assert f"{out.name}: it is the model itself. Choose another file" in capsys.readouterr().err
    assert own.read_bytes() == b"trained for days"


@pytest.mark.usefixtures("no_model")
def test_the_old_models_sidecar_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """own.h5 and own.keras would have the same sidecar, with the SHA-256 of one of them."""
    own, sidecar = tmp_path / "own.h5", tmp_path / "own.json"
    own.write_bytes(b"trained for days")
    sidecar.write_text("{}")
    assert main(["convert", str(own), str(tmp_path / "own.keras")]) == 1
    assert "own.json: it is the sidecar of the model itself. Choose another file" in capsys.readouterr().err
    assert sidecar.read_text() == "{}"
