"""Batches made ahead of time: the same from a thread and from processes, which report what they find."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.datasets.landmarks import LandmarkStore
from redeepfake_nb.training.batches import PairBatches
from redeepfake_nb.training.prefetching import prefetched
from redeepfake_nb.training.recipes import Recipe


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_batches_come_in_order_whoever_makes_them(faces: LabelledFaces, smoke: Recipe, workers: int) -> None:
    pairs = PairBatches(faces.part("train"), smoke)
    found = list(prefetched(pairs, 2, 9, 67, workers))
    assert [step for step, _ in found] == list(range(2, 9))
    for step, (x, y) in found:
        expected = pairs.make(step, 67)
        assert x.dtype == np.float32
        np.testing.assert_array_equal(x, expected[0])
        np.testing.assert_array_equal(y, expected[1])


@pytest.mark.slow
def test_what_processes_find_out_is_kept(faces: LabelledFaces, smoke: Recipe, tmp_path: Path) -> None:
    part = faces.part("train")
    lost = str(part.table["file"].iloc[0])
    table = part.table.assign(file=part.table["file"].where(part.table["file"] != lost, "absent.png"))
    part = part.with_table(table)
    blended = replace(smoke, self_blend=1.0)
    pairs = PairBatches(part, blended, LandmarkStore(part, tmp_path / "landmarks.npz"))
    own = PairBatches(part, blended)
    for step, (x, _) in prefetched(pairs, 0, 6, 67, 1):
        np.testing.assert_array_equal(x, own.make(step, 67)[0])
    assert pairs.unreadable == own.unreadable
    found = own.landmarks.take_new()
    assert found
    assert pairs.landmarks.take_new().keys() == found.keys()
    pairs.landmarks.save()
    assert (tmp_path / "landmarks.npz").is_file()


SCRIPT = """
import sys
from pathlib import Path
from redeepfake_nb.datasets.labelled_faces import read_faces
from redeepfake_nb.training.batches import PairBatches
from redeepfake_nb.training.prefetching import prefetched
from redeepfake_nb.training.recipes import Recipe
def main():
    pairs = PairBatches(read_faces(sys.argv[1]).part("train"), Recipe.read(sys.argv[2]))
    ahead = prefetched(pairs, 0, 10000, 67, 2)
    next(ahead)
    import multiprocessing
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    sys.stdin.read()
if __name__ == "__main__" or sys.argv[3] == "without guard":
    main()
"""


@pytest.fixture
def script(faces: LabelledFaces, root: Path, tmp_path: Path) -> list[str]:
    """A command line that trains by two processes, but for its last argument."""
    table = tmp_path / "faces.csv"
    names = [str(faces.root / name) for name in faces.table["file"]]
    faces.table.assign(file=names).to_csv(table, index=False)
    (tmp_path / "script.py").write_text(SCRIPT)
    recipe = root / "models" / "recipes" / "smoke.toml"
    return [sys.executable, "-W", "ignore", str(tmp_path / "script.py"), str(table), str(recipe)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
def test_processes_end_with_a_run_that_is_killed(script: list[str]) -> None:
    with subprocess.Popen([*script, "guarded"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        workers = [int(pid) for pid in run.stdout.readline().split()]
        run.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(_runs(pid) for pid in workers):
        time.sleep(0.1)
    assert not any(_runs(pid) for pid in workers)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_so(script: list[str]) -> None:
    done = subprocess.run([*script, "without guard"], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "RedeepfakeError: 2 workers: a process that makes batches could not start, or ended" in done.stderr


def test_a_run_that_ends_early_does_not_wait_for_batches(faces: LabelledFaces, smoke: Recipe) -> None:
    pairs = PairBatches(faces.part("train"), smoke)
    made: list[int] = []
    make = pairs.make

    def counted(step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        made.append(step)
        return make(step, size)

    pairs.make = counted  # type: ignore[method-assign]
    ahead = prefetched(pairs, 0, 1000, 67)
    next(ahead)
    ahead.close()
    assert len(made) < 6


def test_a_negative_number_of_processes_is_an_error(faces: LabelledFaces, smoke: Recipe) -> None:
    with pytest.raises(ValueError, match="workers must be 0 or more, not -1"):
        prefetched(PairBatches(faces.part("train"), smoke), 0, 1, 67, -1)
