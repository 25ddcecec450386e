"""Provenance from the command line, without a model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from redeepfake_nb.cli import main
from redeepfake_nb.datasets.signed_samples import make_signed_samples


def test_provenance_needs_no_model(no_model: None, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    samples = make_signed_samples(tmp_path)
    files = [str(samples.generated), str(tmp_path / "missing.jpg"), str(samples.tampered)]
    assert main(["provenance", *files, "--trust-list", str(samples.trust_list)]) == 1
    printed = capsys.readouterr()
    assert f"{files[0]}: valid Content Credentials say that generative AI made it" in printed.out
    assert "signer is on the trust list" in printed.out
    assert f"{files[2]}: the file was changed after" in printed.out
    assert "missing.jpg: there is no such file" in printed.err

    assert main(["provenance", "--json", files[0], str(samples.claimed)]) == 0
    generated, claimed = map(json.loads, capsys.readouterr().out.splitlines())
    assert (generated["declared_ai"], claimed["declared_ai"]) == ("verified", "claimed")
    assert generated["credentials"]["signer"] == "not checked"
    assert generated["source"]["name"] == "generated.jpg"


def test_provenance_loads_no_tensorflow(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path)
    code = (
        "import sys; from redeepfake_nb.cli import main; main(['provenance', sys.argv[1]]); "
        "print(sorted({'tensorflow', 'keras', 'cv2', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "which means nothing" in done.stdout
