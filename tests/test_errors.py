"""Errors name the subject, the cause and the next step on one printable line."""

from __future__ import annotations

import pickle

import pytest

from redeepfake_nb import errors
from redeepfake_nb.errors import EmptyFile, InputError, RedeepfakeError, displayable, one_line_message


def test_message_names_file_cause_and_next_step() -> None:
    error = EmptyFile("the file is empty (0 bytes)", subject="a.jpg", next_step="Copy it again.")
    assert str(error) == "a.jpg: the file is empty (0 bytes). Copy it again."
    assert error.to_dict() == {
        "error": "EmptyFile",
        "subject": "a.jpg",
        "cause": "the file is empty (0 bytes)",
        "next_step": "Copy it again.",
    }


def test_message_without_subject_and_step() -> None:
    assert str(InputError("it is broken.")) == "it is broken."


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(EmptyFile("empty", subject="a.jpg", next_step="Go on.")))
    assert type(error) is EmptyFile
    assert (error.cause, error.subject, error.next_step) == ("empty", "a.jpg", "Go on.")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain.jpg", "plain.jpg"),
        ("zwei\nZeilen\t.jpg", "zwei\\nZeilen\\t.jpg"),
        ("\x1b[31mred.jpg", "\\x1b[31mred.jpg"),
        ("bad\udcff.jpg", "bad\\udcff.jpg"),
        ("right\u202eto left.jpg", "right\\u202eto left.jpg"),
        ("gesicht-ä-顔.jpg", "gesicht-ä-顔.jpg"),
        ("<img src=x>.jpg", "<img src=x>.jpg"),
    ],
)
def test_names_are_shown_on_one_printable_line(name: str, shown: str) -> None:
    assert displayable(name) == shown
    assert displayable(name).isprintable()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("no such thing"), "no such thing"),
        (KeyError("offset"), "KeyError: 'offset'"),
        (RuntimeError(), "RuntimeError"),
        (
            ValueError(
                "Exception encountered when calling Add.call().\n\n\x1b[1mShapes differ.\x1b[0m\n\n"
                "Arguments received by Add.call():\n  • kwargs=<class 'inspect._empty'>"
            ),
            "Shapes differ.",
        ),
        (
            TypeError("X could not be deserialized properly.\n\nconfig={}.\n\nException encountered: no 'v'"),
            "no 'v'",
        ),
        (
            OSError('Graph execution error:\n\nDetected at node a/b:\n  File "x.py", line 3\n\nOut of room'),
            "Out of room",
        ),
        (ValueError("a\x1b[2Jb\nsecond line"), "a\\x1b[2Jb"),
    ],
)
def test_one_line_message(error: Exception, said: str) -> None:
    assert one_line_message(error) == said


def test_a_cause_is_one_printable_line_too() -> None:
    error = InputError("its layer a\x1b[2J\nb is odd", next_step="Look.")
    assert error.cause == "its layer a\\x1b[2J\\nb is odd"
    assert len(InputError("x" * 10**6).cause) == 1000


def test_long_names_keep_start_and_end() -> None:
    shown = displayable("a" * 500 + "end.jpg", limit=40)
    assert len(shown) == 40
    assert shown.startswith("aaa")
    assert shown.endswith("end.jpg")


def test_every_error_is_a_redeepfake_error() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, Exception)]
    assert all(issubclass(k, RedeepfakeError) for k in kinds)
    assert all(k.__doc__ for k in kinds)
