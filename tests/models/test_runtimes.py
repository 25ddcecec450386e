"""LiteRT and TensorFlow give the same scores; what LiteRT cannot reproduce, TensorFlow scores."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from filelock import FileLock

from redeepfake_nb import (
    Card,
    Classifier,
    HashMismatch,
    Preprocessing,
    UnknownChoice,
    UnsuitableModel,
    load_model,
    save_model,
)
from redeepfake_nb.models import compiled, loading
from redeepfake_nb.models.hub import CACHE_VARIABLE
from redeepfake_nb.models.linear_head import linear_head
from redeepfake_nb.models.runtimes import RUNTIME_VARIABLE, Deferred, LiteRTNetwork, chosen_runtime


@pytest.fixture(autouse=True)
def cache(scored_by_tensorflow: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and the runtime that people have."""
    monkeypatch.setenv(RUNTIME_VARIABLE, "auto")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "compiled"


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


@pytest.fixture
def path(network: keras.Model, tmp_path: Path) -> Path:
    card = Card(preprocessing=Preprocessing(input_size=16), output="probability", mirror=True, shift=0.25)
    return save_model(Classifier(network, card), tmp_path / "toy.keras")


@pytest.fixture
def pictures(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, 255, (5, 16, 16, 3)).astype(np.float32)


def test_both_runtimes_give_the_same_scores(path: Path, pictures: np.ndarray, cache: Path) -> None:
    quick, slow = load_model(path), load_model(path, runtime="tensorflow")
    assert quick.uses_litert
    assert not slow.uses_litert
    assert quick.scored_by.startswith("LiteRT")
    assert slow.scored_by.startswith("TensorFlow")
    assert np.ptp(slow.logits(pictures)) > 1e-3
    np.testing.assert_allclose(quick.logits(pictures), slow.logits(pictures), atol=1e-4)
    # A score does not depend on what it is scored with.
    np.testing.assert_array_equal(quick.logits(pictures)[3:], quick.logits(pictures[3:]))
    plain = [c.with_card(replace(c.card, mirror=False)) for c in (quick, slow)]
    np.testing.assert_allclose(*(c.logits(pictures) for c in plain), atol=1e-4)
    assert quick.card == slow.card
    assert len(list(cache.glob("*.tflite"))) == 1


def test_a_network_without_a_linear_head_is_compiled(tmp_path: Path, pictures: np.ndarray) -> None:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    behind = [layers.Flatten(), layers.Dense(4, activation="relu"), layers.Dense(1)]
    network = keras.Sequential(
        [keras.Input((16, 16, 3)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3, strides=4), *behind]
    )
    card = Card(preprocessing=Preprocessing(input_size=16))
    path = save_model(Classifier(network, card), tmp_path / "other.keras")
    quick, slow = load_model(path), load_model(path, runtime="tensorflow")
    assert (quick.uses_litert, quick.evidence_map) == (True, None)
    np.testing.assert_allclose(quick.logits(pictures), slow.logits(pictures), atol=1e-4)


def test_two_threads_share_out_faces_and_change_no_score(
    path: Path, pictures: np.ndarray, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_model(path)
    (file,) = cache.glob("*.tflite")
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr("redeepfake_nb.models.runtimes.scoring_threads", lambda n=threads: n)
        network = LiteRTNetwork(file)
        found.append([network(pictures), network(pictures[:1]), network.mirrored(pictures[:1])])
        assert network(pictures[:0]).shape == (0, 1 + 14 * 14), "the logit, and the cells of the map"
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    whole, first, mirrored = found[1]
    np.testing.assert_array_equal(whole[:1], first)
    both = network(pictures[:1]) + network(pictures[:1, :, ::-1])
    np.testing.assert_allclose(mirrored, both / 2, atol=1e-6)


def test_the_second_load_reads_no_model_until_it_is_needed(
    path: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_model(path)
    reads = []
    read = loading.read_model
    monkeypatch.setattr(loading, "read_model", lambda *given: reads.append(1) or read(*given))
    again = load_model(path)
    np.testing.assert_array_equal(again.logits(pictures), first.logits(pictures))
    assert again.card == first.card
    assert not reads
    assert again.keras_model.count_params() == first.keras_model.count_params()
    assert again.keras_model is again.with_card(again.card).keras_model
    assert reads == [1]


def test_the_output_that_was_inferred_is_kept(
    network: keras.Model, tmp_path: Path, pictures: np.ndarray
) -> None:
    path = tmp_path / "no_sidecar.keras"
    network.save(path)
    given = {"preprocessing": Preprocessing(input_size=16), "positive_class": "real"}
    first, second = load_model(path, **given), load_model(path, **given)
    assert second.uses_litert
    assert second.card == first.card
    assert second.card.output == "probability"
    np.testing.assert_allclose(second.logits(pictures), first.logits(pictures), atol=1e-6)
    other = load_model(path, **{**given, "positive_class": "fake"})
    np.testing.assert_allclose(other.logits(pictures), -first.logits(pictures), atol=1e-4)


def test_a_network_that_deviates_is_not_used(
    path: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert, calls = compiled._convert, []

    def deviating(outputs: Callable, *given: object) -> bytes:
        calls.append(1)
        return convert(lambda images: outputs(images) + 0.001, *given)

    monkeypatch.setattr(compiled, "_convert", deviating)
    for _ in range(2):
        found = load_model(path)
        assert not found.uses_litert
        assert "deviates from Keras by 0.001 in the logit" in found.scored_by
        assert found.scored_by.startswith("TensorFlow")
    assert calls == [1]  # what was found is kept
    expected = load_model(path, runtime="tensorflow").logits(pictures)
    np.testing.assert_array_equal(found.logits(pictures), expected)
    with pytest.raises(UnsuitableModel, match="LiteRT cannot score it: its compiled network deviates"):
        load_model(path, runtime="litert")


def test_a_network_that_was_exchanged_in_the_cache_is_not_used(path: Path, cache: Path) -> None:
    load_model(path)
    (kept,) = cache.glob("*.tflite")
    record = compiled.read_record(kept)
    other = load_model(path, runtime="tensorflow").keras_model
    other.set_weights([2 * weights for weights in other.get_weights()])
    outputs = compiled._outputs(other, linear_head(other))
    compiled._write(kept, compiled._convert(outputs, other, (16, 16, 3)), record)
    assert "deviates from Keras" in load_model(path).scored_by


@pytest.mark.parametrize("damage", ["first", "last", "cut", "empty"])
def test_a_damaged_file_in_the_cache_is_replaced(path: Path, cache: Path, damage: str) -> None:
    load_model(path)
    (kept,) = cache.glob("*.tflite")
    data = bytearray(kept.read_bytes())
    data[{"first": 40, "last": -1}.get(damage, 0)] ^= 1
    kept.write_bytes({"cut": data[:-100], "empty": b""}.get(damage, data))
    assert load_model(path).uses_litert
    assert compiled.read_record(kept)["refused"] == ""


def test_a_process_that_died_while_compiling_is_followed_by_one_more(
    path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The converter, which is native code, may have ended it; so may a person who restarted the kernel."""
    load_model(path)
    (kept,) = cache.glob("*.tflite")
    record = compiled.read_record(kept)
    kept.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "compile_to", lambda *_: None)  # what lies there while the converter runs
        load_model(path)
        marker = kept.read_bytes()
        assert compiled.read_record(kept)["attempts"] == 1
        assert compiled.read_record(kept)["identity"] == record["identity"]
    assert load_model(path).uses_litert
    kept.write_bytes(marker)
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "compile_to", lambda *_: None)
        load_model(path)
        assert compiled.read_record(kept)["attempts"] == 2
    words = load_model(path).scored_by
    assert "ended 2 times before it was done" in words
    assert f"delete {kept}" in words
    kept.unlink()
    assert load_model(path).uses_litert


def test_a_process_waits_while_another_compiles(
    path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_model(path)
    (kept,) = cache.glob("*.tflite")
    finished = kept.read_bytes()
    kept.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "compile_to", lambda *_: None)
        load_model(path)
    # As while another process compiles: an unfinished record and a lock, then the finished file.
    lock = FileLock(kept.with_suffix(".lock"), thread_local=False)
    lock.acquire()
    monkeypatch.setattr(compiled, "_LOCK_TIMEOUT", 0.1)
    assert "another process is still compiling its network" in load_model(path).scored_by
    monkeypatch.setattr(compiled, "_LOCK_TIMEOUT", 60)
    made: list[Classifier] = []
    waiting = threading.Thread(target=lambda: made.append(load_model(path)))
    waiting.start()
    waiting.join(1)
    assert waiting.is_alive()
    kept.write_bytes(finished)
    lock.release()
    waiting.join(60)
    assert made[0].uses_litert


def test_heatmaps_are_never_of_another_file_than_the_scores(path: Path, network: keras.Model) -> None:
    """The network for heatmaps is read when it is first needed, and the file may be another by then."""
    load_model(path)
    found = load_model(path)
    assert found.uses_litert
    other = keras.models.clone_model(network)
    save_model(Classifier(other, replace(found.card, output="probability")), path)
    with pytest.raises(HashMismatch, match="changed since the model was loaded"):
        _ = found.keras_model
    assert load_model(path).keras_model is not None


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != os.stat(__file__).st_uid, reason="needs permissions"
)
def test_a_folder_that_others_can_write_in_is_not_used(path: Path, cache: Path) -> None:
    load_model(path)
    cache.chmod(0o777)
    found = load_model(path)
    assert not found.uses_litert
    assert "must be yours alone" in found.scored_by


def test_a_file_beside_a_model_is_not_opened(path: Path, cache: Path) -> None:
    path.with_suffix(".tflite").write_bytes(b"hostile")
    assert load_model(path).uses_litert
    assert len(list(cache.glob("*.tflite"))) == 1


def test_the_runtime_can_be_forced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_model(path, runtime="litert").uses_litert
    monkeypatch.setenv(RUNTIME_VARIABLE, "tensorflow")
    assert not load_model(path).uses_litert
    assert load_model(path, runtime="auto").uses_litert
    monkeypatch.setattr(loading, "has_gpu", lambda: True)
    assert not load_model(path, runtime="auto").uses_litert
    assert load_model(path, runtime="litert").uses_litert
    with pytest.raises(UnknownChoice, match="there are auto, litert, tensorflow"):
        load_model(path, runtime="onnx")
    monkeypatch.setenv(RUNTIME_VARIABLE, "onnx")
    with pytest.raises(UnknownChoice, match=f"'onnx' in {RUNTIME_VARIABLE}"):
        chosen_runtime()


def test_without_the_package_tensorflow_scores(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "litert_installed", lambda: False)
    assert "ai-edge-litert is not installed" in load_model(path).scored_by


def test_a_full_disk_is_not_taken_for_a_fault_of_the_network(
    path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow scores; nothing is kept, so that the next start tries again."""

    def full(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(compiled, "_convert", full)
        assert "cannot be kept ([Errno 28] No space left on device" in load_model(path).scored_by
    assert not list(cache.glob("*.tflite"))
    assert load_model(path).uses_litert


def test_compiling_logs_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a notebook, TensorFlow's logger shows what is logged as information."""
    with caplog.at_level(logging.INFO, logger="tensorflow"):
        assert load_model(path).uses_litert
        assert logging.getLogger("tensorflow").level == logging.INFO
    assert not [record.message for record in caplog.records if record.name == "tensorflow"]


def test_too_little_memory_to_compile(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow scores; nothing is kept, so that the next start tries again."""
    monkeypatch.setattr(compiled, "free_memory", lambda: 1000)
    assert "GB of memory, of which 0.0 GB are free" in load_model(path).scored_by
    assert not list(cache.glob("*.tflite"))
    monkeypatch.setattr(compiled, "free_memory", lambda: None)
    assert load_model(path).uses_litert


def test_old_files_are_deleted_beyond_the_limits(
    path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_MAX_KEPT", 1)
    cache.mkdir(parents=True, mode=0o700)
    old = cache / "old.tflite"
    old.write_bytes(b"x")
    os.utime(old, (0, 0))
    load_model(path)
    assert not old.exists()
    assert len(list(cache.glob("*.tflite"))) == 1


def test_what_is_deferred_is_built_once_by_whoever_comes_first() -> None:
    built, go = [], threading.Event()

    def build() -> int:
        go.wait(5)
        built.append(1)
        return 7

    deferred = Deferred(build)
    deferred.start()
    deferred.start()
    go.set()
    assert deferred.get() == deferred.get() == 7
    assert built == [1]


def test_an_error_in_the_background_is_raised_where_the_result_is_needed() -> None:
    def fail() -> int:
        raise ValueError("damaged")

    deferred = Deferred(fail)
    deferred.start()
    with pytest.raises(ValueError, match="damaged"):
        deferred.get()


_COMPILE = "from redeepfake_nb import load_model; assert load_model().uses_litert"
_NO_TENSORFLOW = """
import sys
from redeepfake_nb import analyze_image, analyze_video, cli, explain, load_model, scan
from redeepfake_nb.datasets import samples
folder = sys.argv[1]
assert load_model().uses_litert
report = analyze_image(samples.sample_image(), explain="gradcam")
assert report.explanations and report.settings["layer"] == "evidence", report
assert not explain(load_model(), report.predictions[0], target="real").empty
assert report.predictions and "LiteRT" in report.settings["scored_by"], report
assert analyze_video(samples.sample_video(), frames=2, explain_top=0).sightings
assert cli.main(["analyze", "--json", folder + "/photo.png"]) == 0
assert cli.main(["analyze", "--explain", "gradcam", "--save", folder + "/out", folder + "/photo.png"]) == 0
scan(folder + "/photo.png", folder + "/journal.sqlite", workers=0)
found = {"tensorflow", "keras"} & set(sys.modules)
assert not found, found
"""


@pytest.mark.slow
def test_scores_need_no_tensorflow(tmp_path: Path) -> None:
    from PIL import Image

    from redeepfake_nb.datasets.samples import sample_image

    Image.fromarray(sample_image().image).save(tmp_path / "photo.png")
    # The first process compiles it.
    subprocess.run([sys.executable, "-c", _COMPILE], check=True)
    done = subprocess.run(
        [sys.executable, "-c", _NO_TENSORFLOW, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"scored_by": "LiteRT' in done.stdout
