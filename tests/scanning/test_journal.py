"""The journal writes in whole transactions, allows one scan at a time, and checks what file it opens."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from redeepfake_nb import Journal, JournalError
from redeepfake_nb.scanning.database import VERSION
from redeepfake_nb.scanning.journal import ScanRecord
from redeepfake_nb.scanning.records import ORDERS, Filter

DIGEST = "d" * 64


def outcome(
    score: float | None = 0.75, status: str = "done", sha: str | None = "a" * 64, **more: object
) -> dict:
    values = {
        "status": status,
        "sha256": sha,
        "kind": "image",
        "format": "PNG",
        "size_bytes": 10,
        "width": 4,
        "height": 3,
        "duration": None,
        "faces": None if score is None else 1,
        "score": score,
        "threshold": 0.5,
        "verdict": None if score is None else "fake" if score >= 0.5 else "real",
        "reasons": ["one", "two"],
        "detail": {"faces": [{"probability": score}]},
        "error": None,
        "cause": None,
        "next_step": None,
        "seconds": 0.5,
        "declared": None,
    }
    return values | more


def start(journal: Journal, paths: list[str], digest: str = DIGEST) -> ScanRecord:
    return journal.start_scan(paths, digest, {"frames": 32}, {"sha256": "m" * 64}, {"numpy": "2"})


@pytest.fixture
def journal(tmp_path: Path):
    with Journal(tmp_path / "deep" / "j.sqlite", create=True) as opened:
        yield opened


def test_files_wait_until_their_outcome_is_recorded(journal: Journal) -> None:
    scan = start(journal, ["/b", "/a"])
    assert [e.path for e in journal.entries(scan)] == ["/b", "/a"]
    assert {row.status for row in journal.page(scan)} == {"waiting"}

    first, second = journal.entries(scan)
    journal.record_outcome(scan, outcome(), [(first.id, "stamp")])
    journal.record_outcome(
        scan, outcome(None, "failed", None, error="EmptyFile", detail={}), [(second.id, None)]
    )
    rows = journal.page(scan)
    assert [(r.path, r.status, r.score, r.verdict, r.error) for r in rows] == [
        ("/b", "done", 0.75, "fake", None),
        ("/a", "failed", None, None, "EmptyFile"),
    ]
    assert rows[0].reasons == "one; two"
    assert rows[0].scored_at.endswith("+00:00")
    assert json.loads(journal.detail(scan, "a" * 64)) == {"faces": [{"probability": 0.75}]}
    assert journal.detail(scan, "b" * 64) is None
    assert journal.count_outcomes(scan) == [
        ("done", "fake", None, False, 1),
        ("failed", None, "EmptyFile", False, 1),
    ]
    assert journal.entries(scan)[0].stamp == "stamp"


def test_same_files_and_settings_are_the_same_scan(journal: Journal) -> None:
    one = start(journal, ["/a", "/b"])
    journal.record_outcome(one, outcome(), [(journal.entries(one)[0].id, None)])
    assert start(journal, ["/a", "/b"]).id == one.id
    assert journal.count(one) == 2

    wider, other = start(journal, ["/a", "/b", "/c"]), start(journal, ["/a", "/b"], "e" * 64)
    assert len({one.id, wider.id, other.id}) == 3
    assert [r.status for r in journal.page(wider)] == ["done", "waiting", "waiting"]
    assert [r.status for r in journal.page(other)] == ["waiting", "waiting"]
    assert [s.id for s in journal.scans()] == [one.id, wider.id, other.id]
    assert journal.scan().id == other.id
    assert journal.scan(one.id).model_sha256 == "m" * 64
    with pytest.raises(JournalError, match="no such scan"):
        journal.scan(99)


def test_a_scan_that_was_killed_is_not_running_once_another_begins(journal: Journal) -> None:
    first, killed = start(journal, ["/a"]), start(journal, ["/b"])
    assert [s.state for s in journal.scans()] == ["stopped", "begun"]
    start(journal, ["/a"])
    assert {s.id: s.state for s in journal.scans()} == {first.id: "begun", killed.id: "stopped"}


def test_duplicates_share_an_outcome(journal: Journal) -> None:
    scan = start(journal, ["/a", "/b", "/c"])
    a, b, c = journal.entries(scan)
    journal.record_outcome(scan, outcome(), [(a.id, None), (b.id, None)])
    assert journal.copy_outcome(scan, c.id, "a" * 64, "later")
    assert not journal.copy_outcome(scan, c.id, "f" * 64, None)
    rows = journal.page(scan)
    assert [r.duplicate_of for r in rows] == [None, "/a", "/a"]
    assert [r.score for r in rows] == [0.75] * 3
    assert [r.seconds for r in rows] == [0.5, 0.0, 0.0]


def test_reset_failed(journal: Journal) -> None:
    scan = start(journal, ["/a", "/b"])
    a, b = journal.entries(scan)
    journal.record_outcome(scan, outcome(), [(a.id, None)])
    journal.record_outcome(scan, outcome(None, "failed", "b" * 64, detail={}), [(b.id, None)])
    assert journal.reset_failed(scan) == 1
    assert [r.status for r in journal.page(scan)] == ["done", "waiting"]


def test_filters_orders_and_pages(journal: Journal) -> None:
    scan = start(journal, [f"/Clips/{i}_100%.png" for i in range(6)])
    for i, entry in enumerate(journal.entries(scan)[:4]):
        journal.record_outcome(scan, outcome([0.9, 0.1, None, 0.45][i], sha=f"{i}" * 64), [(entry.id, None)])
    failed = journal.entries(scan)[4]
    journal.record_outcome(
        scan, outcome(None, "failed", None, error="EmptyFile", kind=None, detail={}), [(failed.id, None)]
    )

    def found(where: Filter | None = None, **how: object) -> list[int]:
        rows = journal.page(scan, where, **how)
        assert how or len(rows) == journal.count(scan, where)
        return [int(row.path[7]) for row in rows]

    assert found() == [0, 1, 2, 3, 4, 5]
    assert found(order="score") == [1, 3, 0, 2, 4, 5]
    assert found(order="score", descending=True)[:3] == [0, 3, 1]
    assert found(order="strongest")[:3] == [0, 3, 1]
    assert found(order="doubtful")[:3] == [3, 0, 1]
    assert found(order="path", descending=True, limit=2, offset=1) == [4, 3]
    assert found(Filter(statuses="failed")) == [4]
    assert found(Filter(statuses=["failed", "waiting"])) == [4, 5]
    assert found(Filter(verdicts=["fake"])) == [0]
    assert found(Filter(errors=["EmptyFile"])) == [4]
    assert found(Filter(kinds=["image"], min_score=0.2, max_score=0.5)) == [3]
    assert found(Filter(text="clips/3_1")) == [3]
    assert found(Filter(text="00%")) == [0, 1, 2, 3, 4, 5]
    assert found(Filter(text="3%1")) == []
    assert found(Filter(statuses=[])) == []
    journal.set_label("0" * 64, "fake", "/Clips/0")
    assert found(Filter(labels=["fake"])) == found(Filter(labels="fake")) == [0]
    assert found(Filter(labels=[None], verdicts=["real", "fake"])) == [1, 3]
    for order in ORDERS:
        assert sorted(found(order=order)) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="order must be one of"):
        found(order="score; DROP TABLE files")


def test_labels_belong_to_bytes_and_can_be_removed(journal: Journal) -> None:
    scan = start(journal, ["/a", "/b"])
    a, b = journal.entries(scan)
    journal.record_outcome(scan, outcome(), [(a.id, None), (b.id, None)])
    journal.set_label("a" * 64, "fake", "/a")
    journal.set_label("a" * 64, "skip", "/a")
    assert [r.label for r in journal.page(scan)] == ["skip", "skip"]
    ((digest, (label, path, when)),) = journal.labels().items()
    assert (digest, label, path) == ("a" * 64, "skip", "/a")
    assert when.endswith("+00:00")
    journal.set_label("a" * 64, None)
    assert journal.labels() == {}
    with pytest.raises(ValueError, match="a label must be one of real, fake, skip"):
        journal.set_label("a" * 64, "perhaps")


def test_paths_that_are_not_unicode_round_trip(journal: Journal) -> None:
    names = [os.fsdecode(b"/x/\xff.png"), "/x/\\udcff.png", "/x/\n'; --.png", "/x/\u202egpj.exe"]
    scan = start(journal, names)
    assert [e.path for e in journal.entries(scan)] == names
    rows = journal.page(scan)
    assert len({row.path for row in rows}) == 4
    assert rows[0].raw == b"/x/\xff.png"
    assert rows[0].path.encode()


def test_transaction_is_atomic(journal: Journal) -> None:
    scan = start(journal, ["/a", "/b"])
    a, b = journal.entries(scan)

    def interrupted() -> None:
        with journal.transaction():
            journal.record_outcome(scan, outcome(), [(a.id, None)])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert {r.status for r in journal.page(scan)} == {"waiting"}
    with journal.transaction():
        journal.record_outcome(scan, outcome(), [(a.id, None)])
        journal.record_outcome(scan, outcome(), [(b.id, None)])
    assert {r.status for r in journal.page(scan)} == {"done"}


def test_other_programs_can_query_the_view_results(journal: Journal) -> None:
    scan = start(journal, ["/a"])
    journal.record_outcome(scan, outcome(), [(journal.entries(scan)[0].id, None)])
    base = sqlite3.connect(journal.path)
    (row,) = base.execute(
        "SELECT path, sha256, model_sha256, settings, status, score FROM results"
    ).fetchall()
    assert row == ("/a", "a" * 64, "m" * 64, '{"frames":32}', "done", 0.75)
    assert base.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert base.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    base.close()
    assert os.listdir(journal.path.parent) == ["j.sqlite"]


def test_files_are_filtered_by_what_they_declare(journal: Journal) -> None:
    scan = start(journal, ["/a", "/b", "/c"])
    for entry, declared in zip(journal.entries(scan), ("verified", "tampered", None), strict=True):
        journal.record_outcome(scan, outcome(sha=entry.path[1] * 64, declared=declared), [(entry.id, None)])
    assert [row.declared for row in journal.page(scan)] == ["verified", "tampered", None]
    ai = journal.page(scan, Filter(declared=("verified", "claimed")))
    assert [row.path for row in ai] == ["/a"]
    assert journal.count(scan, Filter(declared="tampered")) == 1


def test_a_journal_of_version_1_is_brought_up_to_date(journal: Journal) -> None:
    scan = start(journal, ["/a"])
    journal.record_outcome(scan, outcome(), [(journal.entries(scan)[0].id, None)])
    journal.close()
    base = sqlite3.connect(journal.path)
    base.executescript(
        "DROP INDEX files_by_declaration; DROP VIEW results; ALTER TABLE files DROP COLUMN declared;"
        "CREATE VIEW results AS SELECT path FROM files; PRAGMA user_version = 1;"
    )
    base.close()
    with Journal(journal.path) as opened:
        (row,) = opened.page(scan)
        assert (row.score, row.declared) == (0.75, None)
        opened.record_outcome(scan, outcome(declared="claimed"), [(row.id, None)])
        assert [row.declared for row in opened.page(scan, Filter(declared="claimed"))] == ["claimed"]
    base = sqlite3.connect(journal.path)
    assert base.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert base.execute("SELECT score, declared FROM results").fetchall() == [(0.75, "claimed")]
    base.close()


# -- files that are not journals


def test_other_files_are_refused_and_unchanged(tmp_path: Path) -> None:
    text, foreign, folder = tmp_path / "notes.txt", tmp_path / "other.sqlite", tmp_path / "folder"
    text.write_text("my notes, which nobody may touch")
    base = sqlite3.connect(foreign)
    base.execute("CREATE TABLE mine (x)")
    base.close()
    folder.mkdir()
    before = [text.read_bytes(), foreign.read_bytes()]
    for path in (text, foreign):
        with pytest.raises(JournalError, match="not a journal of redeepfake_nb"):
            Journal(path, create=True)
    assert [text.read_bytes(), foreign.read_bytes()] == before
    with pytest.raises(JournalError, match="this is not a file"):
        Journal(folder, create=True)
    with pytest.raises(JournalError, match="no such journal"):
        Journal(tmp_path / "absent.sqlite")
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(text / "below.sqlite", create=True)


def test_newer_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    Journal(path, create=True).close()
    base = sqlite3.connect(path)
    base.execute(f"PRAGMA user_version = {VERSION + 1}")
    base.close()
    with pytest.raises(JournalError, match=rf"it has version {VERSION + 1}.*Update redeepfake_nb"):
        Journal(path)


def test_damaged_journal_raises(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with Journal(path, create=True) as journal:
        start(journal, [f"/{i}" for i in range(2000)])
    data = bytearray(path.read_bytes())
    data[100:8000] = bytes(7900)
    path.write_bytes(data)
    with pytest.raises(JournalError, match="it is damaged"):
        Journal(path)


def test_empty_file_becomes_a_journal(tmp_path: Path) -> None:
    """A process that was killed right after creating the file leaves an empty one."""
    path = tmp_path / "j.sqlite"
    path.touch()
    with Journal(path, create=True) as journal:
        assert journal.scans() == []


def test_closed_journal_raises(journal: Journal) -> None:
    journal.close()
    with pytest.raises(JournalError, match="it is closed"):
        journal.scans()


# -- two processes


def test_one_scan_at_a_time_while_labelling_is_possible(journal: Journal) -> None:
    with Journal(journal.path) as other:
        with journal.scan_lock():
            with pytest.raises(JournalError, match="another scan is writing"), other.scan_lock():
                pass
            other.set_label("a" * 64, "real")
        with other.scan_lock():
            pass
    assert os.listdir(journal.path.parent) == ["j.sqlite"]
    assert "a" * 64 in journal.labels()


def test_killed_process_releases_the_lock(journal: Journal) -> None:
    code = (
        "import sys; from redeepfake_nb import Journal\n"
        "with Journal(sys.argv[1]).scan_lock(): print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(journal.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout.readline() == b"locked\n"
    with pytest.raises(JournalError, match="another scan is writing"), journal.scan_lock():
        pass
    other.kill()
    other.communicate()
    with journal.scan_lock():
        pass


def test_rows_are_json_serializable(journal: Journal) -> None:
    scan = start(journal, ["/a"])
    assert json.loads(json.dumps(asdict(journal.page(scan)[0])))["path"] == "/a"
