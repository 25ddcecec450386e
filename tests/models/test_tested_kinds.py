"""What a model was tested on, and how a verdict says what it cannot see."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from redeepfake_nb import Card
from redeepfake_nb.models.card import model_to_dict
from redeepfake_nb.models.loading import default_model_path
from redeepfake_nb.models.tested_kinds import (
    DETECTED,
    KINDS,
    KindResult,
    blind_spots,
    listed,
    only_familiar,
    undetected,
    untested,
)


def result(kind: str, auc: float, generator: str = "A") -> KindResult:
    return KindResult(kind, generator, auc, max(auc - 0.05, 0), min(auc + 0.05, 1), 100, 200)


ALL_DETECTED = tuple(result(kind, 0.9) for kind in KINDS)


def test_a_kind_is_missed_as_a_whole_or_by_generator() -> None:
    results = [
        result("generated", 0.3, "StyleGAN2"),
        result("generated", 0.6, "FLUX"),
        result("swapped", 0.9, "DFDC"),
        result("swapped", 0.6, "InSwapper"),
        result("edited", 0.9),
    ]
    assert undetected(results) == ["wholly generated faces", "swapped faces by InSwapper"]
    assert untested(results) == ["re-enacted faces"]
    assert blind_spots(results) == (
        "this model does not detect wholly generated faces or swapped faces by InSwapper, "
        "and was not tested on re-enacted faces"
    )


@pytest.mark.parametrize(("auc", "missed"), [(DETECTED - 0.001, True), (DETECTED, False)])
def test_what_counts_as_detected(auc: float, missed: bool) -> None:
    assert bool(undetected([result("edited", auc)])) is missed


def test_an_interval_that_includes_chance_is_no_detection() -> None:
    wide = KindResult("edited", "A", 0.75, 0.45, 0.95, 5, 5)
    assert undetected([wide, wide, result("edited", 0.9, "B")]) == ["faces edited by hand by A"]


def test_generators_that_were_trained_on_say_little_about_others() -> None:
    known = [replace(result(kind, 0.9), trained_on=True) for kind in ("generated", "swapped")]
    assert only_familiar(known) == ["wholly generated faces", "swapped faces"]
    assert blind_spots(known) == (
        "this model was tested on fakes only with generators that it was trained on, "
        "and was not tested on re-enacted faces or faces edited by hand"
    )
    unseen = [*known, result("swapped", 0.88, "B"), result("edited", 0.4)]
    assert only_familiar(unseen) == ["wholly generated faces"]
    assert blind_spots(unseen) == (
        "this model does not detect faces edited by hand, was tested on wholly generated faces only with "
        "generators that it was trained on, and was not tested on re-enacted faces"
    )
    # That it does not detect them is said already.
    assert only_familiar([replace(result("edited", 0.4), trained_on=True)]) == []


def test_without_results_nothing_is_known() -> None:
    assert blind_spots([]) == "nothing is known about which kinds of fakes this model detects"


def test_nothing_is_said_of_a_model_that_detects_all_kinds() -> None:
    assert blind_spots(ALL_DETECTED) == ""


@pytest.mark.parametrize(("words", "text"), [("a", "a"), ("ab", "a and b"), ("abc", "a, b and c")])
def test_words_in_a_row(words: str, text: str) -> None:
    assert listed(words) == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "made up"}, "kind must be one of edited, generated, reenacted, swapped"),
        ({"auc": 1.2}, "auc must lie between 0 and 1"),
        ({"low": float("nan")}, "low must lie"),
        ({"low": 0.95}, "must lie between low 0.95 and high 0.95"),
        ({"trained_on": "no"}, "trained_on must be true or false"),
        ({"fakes": True}, "numbers of faces above 0"),
        ({"generator": ""}, "generator must not be empty"),
        ({"fakes": 0}, "numbers of faces above 0"),
        ({"colour": "red"}, "not understood"),
    ],
)
def test_a_bad_result_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KindResult.from_dict(result("edited", 0.9).to_dict() | change)


def test_results_travel_in_the_card() -> None:
    card = Card(tested_on=ALL_DETECTED)
    assert Card.from_dict(json.loads(json.dumps(card.to_dict()))) == card
    assert model_to_dict(card)["tested_on"][0]["kind"] == "generated"
    with pytest.raises(ValueError, match="tested_on must be a list"):
        Card.from_dict({"tested_on": "all"})
    with pytest.raises(ValueError, match="must hold KindResult records"):
        Card(tested_on=(ALL_DETECTED[0].to_dict(),))


def test_the_shipped_model_says_what_it_was_tested_on() -> None:
    card = Card.from_dict(json.loads(default_model_path().with_suffix(".json").read_text()))
    assert {entry.kind for entry in card.tested_on} >= {"generated", "swapped", "edited"}
    assert all(entry.low <= entry.auc <= entry.high for entry in card.tested_on)
    assert blind_spots(card.tested_on)
