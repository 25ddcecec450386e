"""A small part of ``make fuzz``, with other seeds."""

from __future__ import annotations

import json

import pytest
from helpers import fuzzing
from helpers.config_mutations import changed
from helpers.mutations import mutated
from helpers.sandbox import Sandbox

FIRST = 1_000_000


def test_a_seed_gives_the_same_bytes():
    data = bytes(range(256)) * 4
    assert mutated(data, 7) == mutated(data, 7) != mutated(data, 8)
    assert len({mutated(data, seed) for seed in range(100)}) > 95
    assert mutated(b"", 3) == b""


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox("helpers.fuzzing") as server:
        yield server


@pytest.mark.parametrize(("kind", "count"), [("picture", 150), ("video", 60)])
def test_damaged_media(sandbox, tmp_path, kind, count):
    outcomes, failures = fuzzing.run_media(sandbox, kind, range(FIRST, FIRST + count), tmp_path)
    assert not failures
    # Some mutations must be harmful and some harmless.
    assert outcomes["TruncatedMedia"] > 0
    assert outcomes["whole"] + outcomes["noted"] > 0


def test_damaged_metadata(sandbox, tmp_path):
    outcomes, failures = fuzzing.run_media(sandbox, "metadata", range(FIRST, FIRST + 70), tmp_path)
    assert not failures
    # Damage in the bytes that were signed is noticed, and some files are still read.
    assert outcomes["credentials tampered"] > 0
    assert outcomes["claims"] > 0


def test_a_model_that_sends_hdf5_into_an_endless_loop(sandbox, tmp_path):
    """Found by ``make fuzz``: reading an attribute never ended."""
    outcomes, failures = fuzzing.run_models(sandbox, range(55, 56), tmp_path)
    assert not failures
    assert outcomes["NotAModel"] == 1


def test_damaged_models(sandbox, tmp_path):
    outcomes, failures = fuzzing.run_models(sandbox, range(FIRST, FIRST + 12), tmp_path)
    assert not failures
    assert sum(outcomes.values()) == 12
    assert not list(tmp_path.iterdir())


def test_rewritten_configurations(sandbox, tmp_path):
    outcomes, failures = fuzzing.run_models(sandbox, range(FIRST, FIRST + 45), tmp_path, kind="configuration")
    assert not failures
    assert sum(outcomes.values()) == 45
    # Some configurations must remain valid.
    assert outcomes["loaded"] > 0
    assert outcomes["NotAModel"] > 0
    assert not list(tmp_path.iterdir())


def test_a_seed_changes_a_configuration_in_the_same_way():
    config = {"class_name": "Dense", "config": {"units": 1, "name": "out", "axis": [1, 2]}}
    before = json.dumps(config)
    found = [json.dumps(changed(config, seed)) for seed in range(50)]
    assert found == [json.dumps(changed(config, seed)) for seed in range(50)]
    assert json.dumps(config) == before
    assert len(set(found)) > 35


def test_violations_are_saved_with_their_seed(sandbox, tmp_path):
    result = sandbox.call("helpers.misbehaving:crash")
    failure = fuzzing._save_failure(tmp_path / "fuzz", "picture", 5, result, b"data")
    assert (failure.kind, failure.seed) == ("picture", 5)
    assert (tmp_path / "fuzz" / "picture-5.bin").read_bytes() == b"data"
    assert "SIGSEGV" in (tmp_path / "fuzz" / "picture-5.txt").read_text()
