"""``UploadArea``: files in chunks, their limits, and uploads that fail or are replaced."""

from __future__ import annotations

import pytest
from helpers.widget_trees import put

from redeepfake_nb.media.frames import Upload
from redeepfake_nb.widgets.upload_area import UploadArea


@pytest.fixture
def area() -> UploadArea:
    return UploadArea("Choose", "Choose files", "image/*", multiple=True, max_bytes=10_000, max_files=3)


def test_files_arrive_in_parts_and_as_they_were(area: UploadArea) -> None:
    files = [("a.png", bytes(range(256)) * 9), ("empty.png", b""), ("b <i>.png", b"x" * 1000)]
    answers = put(area, files, part=700)
    assert area.value == tuple(Upload(name, data) for name, data in files)
    assert [a["total"] for a in answers] == [700, 1400, 2100, 2304, 3004, 3304]
    assert "value" not in area.get_state()
    assert area.take() == [Upload(name, data) for name, data in files]
    assert (area.value, area.take()) == ((), [])


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([("large.png", b"x" * 10_001)], "up to 0 MB"),
        ([("a.png", b"x" * 6000), ("b.png", b"x" * 6000)], "at once"),
        ([(f"{i}.png", b"x") for i in range(4)], "At most 3 files"),
    ],
)
def test_what_is_over_a_limit_is_refused_and_the_next_upload_works(area: UploadArea, files, why) -> None:
    answers = put(area, files)
    assert answers[0]["type"] == "refused"
    assert why in answers[0]["why"]
    assert area.value == ()
    put(area, [("a.png", b"x")])
    assert area.value == (Upload("a.png", b"x"),)


def test_the_browser_cannot_raise_a_limit(area: UploadArea) -> None:
    area.set_state({"max_bytes": 10**12, "max_files": 10**6})
    assert put(area, [("large.png", b"x" * 10_001)])[0]["type"] == "refused"
    assert put(area, [(f"{i}.png", b"x") for i in range(4)])[0]["type"] == "refused"


def say(
    area: UploadArea, monkeypatch: pytest.MonkeyPatch, *messages: tuple[dict, bytes | None]
) -> list[dict]:
    answers: list[dict] = []
    monkeypatch.setattr(area, "send", answers.append)
    for message, data in messages:
        area._receive(area, message, [] if data is None else [memoryview(data)])
    return answers


BEGIN = {"type": "begin", "batch": "1", "files": [{"name": "a.png", "size": 4}]}
PART = {"type": "chunk", "batch": "1", "file": 0, "offset": 0}
END = {"type": "end", "batch": "1"}


@pytest.mark.parametrize(
    "messages",
    [
        [(BEGIN, None), (PART, b"12"), (END, None)],
        [(BEGIN, None), (PART, b"12345")],
        [(BEGIN, None), ({**PART, "offset": 2}, b"12")],
        [(BEGIN, None), ({**PART, "file": 1}, b"12")],
        [(BEGIN, None), ({**PART, "file": "0"}, b"12")],
        [({**BEGIN, "files": None}, None)],
        [({**BEGIN, "files": [{"name": "a"}]}, None)],
        [({**BEGIN, "files": [{"name": "a", "size": -1}]}, None)],
        [({**BEGIN, "files": []}, None)],
        [(PART, b"1234")],
    ],
)
def test_an_upload_that_makes_no_sense_is_refused(area: UploadArea, monkeypatch, messages) -> None:
    answers = say(area, monkeypatch, *messages)
    assert [a["type"] for a in answers].count("refused") == 1
    assert area.value == ()
    assert area._files == []


def test_a_new_upload_replaces_one_that_never_ended(area: UploadArea, monkeypatch) -> None:
    say(area, monkeypatch, (BEGIN, None), (PART, b"12"))
    say(area, monkeypatch, ({**BEGIN, "batch": "2"}, None), ({**PART, "batch": "2"}, b"5678"))
    (late,) = say(area, monkeypatch, ({**PART, "offset": 2}, b"34"))
    assert (late["type"], late["batch"]) == ("refused", "1")
    say(area, monkeypatch, ({**END, "batch": "2"}, None))
    assert area.value == (Upload("a.png", b"5678"),)


def test_a_dropped_upload_is_forgotten(area: UploadArea, monkeypatch) -> None:
    assert [a["type"] for a in say(area, monkeypatch, (BEGIN, None), (PART, b"1234"))] == ["got"]
    say(area, monkeypatch, ({"type": "drop", "batch": "1"}, None))
    assert area._files == []
    assert say(area, monkeypatch, ({"type": "chunk"}, None), ("nonsense", None)) == []
    answers: list[dict] = []
    monkeypatch.setattr(area, "send", answers.append)
    area.forget()
    assert area.value == ()
    assert answers == [{"type": "forget"}], "what the page says of it, too"
