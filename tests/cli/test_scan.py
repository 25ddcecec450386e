"""Scans from the command line: what is printed, written and resumed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from redeepfake_nb.cli import main
from redeepfake_nb.scanning import scheduler


@pytest.fixture
def mixed(tmp_path: Path, portrait: Path) -> Path:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(portrait.read_bytes())
    Image.new("RGB", (64, 64)).save(folder / "nobody.png")
    return folder


def test_parquet_needs_pyarrow_before_the_scan(
    portrait: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    options = ["--journal", str(tmp_path / "j"), "--parquet", str(tmp_path / "t.parquet")]
    assert main(["scan", str(portrait), *options]) == 1
    assert "redeepfake-nb[parquet]" in capsys.readouterr().err
    assert not (tmp_path / "j").exists()


@pytest.fixture
def no_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be scanned."""
    monkeypatch.setattr(scheduler, "scan", lambda *_, **__: pytest.fail("files were scanned"))


@pytest.mark.usefixtures("no_scan")
@pytest.mark.parametrize("option", ["--csv", "--parquet", "--report"])
def test_outputs_replace_neither_journal_nor_inputs(
    option: str, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    journal, listed, link = (tmp_path / name for name in ("j.sqlite", "list.csv", "link"))
    listed.write_text("path\nmixed/a.png\n")
    link.symlink_to(listed)
    common = ["scan", str(mixed), str(listed), "--journal", str(journal)]
    # The journal need not exist yet.
    for out, cause in (
        (journal, "it is the journal itself"),
        (listed, "it is the input itself"),
        (link, "it is the input itself"),
        (mixed / "b.png", "it is an image or a video"),
    ):
        assert main([*common, option, str(out)]) == 1
        assert f"{cause}. Choose another file; the original is left as it is." in capsys.readouterr().err
    assert listed.read_text() == "path\nmixed/a.png\n"


@pytest.mark.usefixtures("no_scan")
def test_outputs_differ_from_each_other_and_the_journal_from_inputs(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = str(tmp_path / "out")
    common = ["scan", str(mixed), "--journal", str(tmp_path / "j")]
    assert main([*common, "--csv", out, "--report", out]) == 1
    assert "it is the CSV table itself" in capsys.readouterr().err
    assert main(["scan", str(mixed / "a.png"), "--journal", str(mixed / "a.png")]) == 1
    assert "it is the input itself" in capsys.readouterr().err


@pytest.mark.usefixtures("no_scan")
def test_a_path_that_leads_nowhere_is_refused_before_the_scan(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["scan", str(mixed), str(tmp_path / "nodir"), "--journal", str(tmp_path / "j")]) == 1
    assert "nodir: there is no such file or folder. Check the path." in capsys.readouterr().err
    assert not (tmp_path / "j").exists()


def test_failures_are_named_with_their_cause(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "list.csv").write_text("path\n" + "".join(f"{i}.png\n" for i in range(7)))
    options = ["--journal", str(tmp_path / "j"), "--model", model, "--workers", "0"]
    assert main(["scan", str(tmp_path / "list.csv"), *options]) == 1
    out, err = capsys.readouterr()
    assert f"  {'failed: InputError':<32}       7" in out
    # Nothing was scored, so there is no verdict to be warned about.
    assert "No sign found" not in out
    lines = [line for line in err.splitlines() if line.startswith(("failed: ", "… "))]
    assert len(lines) == 6
    assert "0.png: there is no such file. " in lines[0]
    assert lines[5] == "… and 2 more; --csv has all"


@pytest.mark.slow
def test_scan_prints_a_summary_and_writes_csv(
    model: str, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    journal, out = tmp_path / "j.sqlite", tmp_path / "out.csv"
    options = ["--journal", str(journal), "--model", model, "--workers", "0", "--csv", str(out)]
    options += ["--threshold", "0.99"]
    assert main(["scan", str(mixed), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{journal}: 3 files"
    assert lines[1].startswith("  done: no sign found ")
    assert lines[1].endswith("      2  (1 with the same bytes as another)")
    assert lines[2].split() == ["no", "face", "1"]
    assert lines[3].startswith("No sign found does not mean genuine: nothing is known about which kinds")
    assert lines[4] == f"table: {out}"
    assert len(out.read_text().splitlines()) == 4

    (mixed / "empty.jpg").write_bytes(b"")
    assert main(["scan", str(mixed), *options]) == 1
    out, err = capsys.readouterr()
    assert f"  {'failed: EmptyFile':<32}       1" in out
    assert "empty.jpg: it is empty (0 bytes). " in err


@pytest.mark.slow
def test_scan_writes_a_report(model: str, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    page = tmp_path / "out" / "r.html"
    options = ["--journal", str(tmp_path / "j"), "--model", model, "--workers", "0", "--report", str(page)]
    assert main(["scan", str(mixed), *options]) == 0
    assert f"report: {page}" in capsys.readouterr().out
    text = page.read_text()
    assert "3 files were scanned" in text
    assert "data:image/" in text
    assert main(["scan", str(mixed), *options[:-1], str(mixed / "a.png" / "r.html")]) == 1
    assert "there is a file of that name" in capsys.readouterr().err


def test_scan_errors(model: str, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    common = ["scan", str(mixed), "--model", model, "--workers", "0"]
    (tmp_path / "notes").write_text("mine")
    assert main([*common, "--journal", str(tmp_path / "notes")]) == 1
    assert "not a journal of redeepfake_nb" in capsys.readouterr().err
    assert main([*common, "--journal", str(tmp_path / "j"), "--detector", "magic"]) == 2
    (tmp_path / "binary.csv").write_bytes(b"path\n" + b"x" * 300 + b"\0")
    assert main(["scan", str(tmp_path / "binary.csv"), "--journal", str(tmp_path / "j")]) == 1
    assert "the list cannot be read" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*common, "--scheduler", "tcp://head:8786"])


def test_interrupted_scan_resumes(
    model: str, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("redeepfake_nb.scanning.file_scoring.find_faces", lambda *_, **__: interrupted())
    options = ["--journal", str(tmp_path / "j"), "--model", model, "--workers", "0"]
    assert main(["scan", str(mixed), *options]) == 130
    assert "the same command resumes" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["scan", str(mixed), *options]) == 0
