"""Fuzz the readers with damaged files, reproducibly by seed; files that violate a guarantee are saved.

    python -m helpers.fuzzing --pictures 10000 --videos 2000 --metadata 2000 --models 500
    --configurations 900 --out build/fuzz

``make fuzz`` runs this. Pictures, videos and metadata are read in processes with 2 GB of address space;
models are loaded 25 to a process that may take 2 GB of memory, since TensorFlow takes more address space
than that to begin.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from helpers import hostile_pictures, hostile_videos, metadata_files
from helpers.config_mutations import rewritten, valid_models
from helpers.mutations import mutated
from helpers.sandbox import Sandbox, SandboxResult
from redeepfake_nb.datasets.samples import sample_image
from redeepfake_nb.errors import InputError, ModelError
from redeepfake_nb.faces.face import find_faces
from redeepfake_nb.media.frames import read_image
from redeepfake_nb.media.video import open_video
from redeepfake_nb.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]

_PICTURES = (
    "plain.png", "p.png", "animated.png", "plain.jpg", "progressive.jpg", "restarts.jpg", "exif6_little.jpg",
    "cmyk.jpeg", "plain.gif", "animated.gif", "lossy.webp", "lossless.webp", "animated.webp", "plain.tiff",
    "lzw.tiff", "jpeg.tiff", "big.tiff", "plain.bmp", "plain.ppm", "avif.avif", "phone.heic",
    "motion_photo.jpg", "multi_picture.jpg",
)  # fmt: skip
_VIDEOS = (
    "plain.mp4", "index_first.mp4", "fragments.mp4", "plain.mov", "plain.mkv", "plain.avi", "plain.ts",
    "plain.flv", "plain.webm", "plain.wmv", "plain.mpg", "plain.h264", "plain.m2v", "plain.ivf", "plain.y4m",
    "two_streams.mkv", "odd_size.mkv", "uneven.mp4", "animated.gif", "animated.png", "animated.webp",
    "animated.avif", "motion_photo.jpg",
)  # fmt: skip
_MODELS = ("small.keras", "small.h5", "parts.keras", "parts.h5", "old.h5")
_MEDIA_AT_ONCE = 20
_MODELS_AT_ONCE = 25
_FACES_EVERY = 25


class Failure(NamedTuple):
    """A seed whose file violated a guarantee."""

    kind: str
    seed: int
    why: str


@functools.cache
def _made(kind: str, name: str) -> bytes:
    pictures, videos = hostile_pictures.CASES, hostile_videos.CASES
    if name == "motion_photo.jpg":
        return pictures["plain.jpg"]() + videos["plain.mp4"]()
    if name == "multi_picture.jpg":
        return hostile_pictures.animated("MPO")
    if name == "animated.avif":
        return hostile_pictures.animated("AVIF")
    return (pictures | videos if kind == "video" else pictures)[name]()


@functools.cache
def _rich_files() -> dict[str, bytes]:
    return metadata_files.rich_files()


def damaged(kind: str, seed: int) -> bytes:
    """Create the damaged file of a seed."""
    if kind == "metadata":
        files = list(_rich_files().values())
        return mutated(files[seed % len(files)], seed, files[seed * 5 % len(files)])
    names = {"picture": _PICTURES, "video": _VIDEOS}[kind]
    name, other = names[seed % len(names)], names[seed * 7 % len(names)]
    return mutated(_made(kind, name), seed, _made(kind, other))


# ------------------------------------------------------------------ in the child


def prepare() -> None:
    """Create all valid files and load the detector before the first child is forked."""
    for kind, names in (("picture", _PICTURES), ("video", _VIDEOS)):
        for name in names:
            _made(kind, name)
    find_faces(sample_image())
    _rich_files()


def several(kind: str, seeds: list[int]) -> list[str]:
    """Read the files of several seeds."""
    return [{"picture": picture, "video": video, "metadata": metadata}[kind](seed) for seed in seeds]


def picture(seed: int) -> str:
    """Read one image and return the outcome; any error but a typed one is raised."""
    try:
        frame = read_image(damaged("picture", seed))
    except InputError as error:
        return type(error).__name__
    assert frame.image.dtype == np.uint8
    assert frame.image.size <= 3 * 64_000_000
    if seed % _FACES_EVERY == 0 and frame.width * frame.height < 2_000_000:
        find_faces(frame)
    return "noted" if frame.source.warnings else "whole"


def metadata(seed: int) -> str:
    """Read what one file says of itself and return the outcome."""
    try:
        found = provenance(damaged("metadata", seed))
    except InputError as error:
        return type(error).__name__
    for name, words in found.rows():
        assert f"{name}{words}".isprintable()
        assert len(words) < 1000
    if found.credentials is not None:
        return f"credentials {found.credentials.state}"
    return "noted" if found.unread else "claims" if found.claims else "nothing"


def video(seed: int) -> str:
    """Read frames of one video and return the outcome."""
    try:
        with open_video(damaged("video", seed)) as opened:
            frames = list(opened.sample(8 if seed % 2 else "all"))
            done = opened.completeness
    except InputError as error:
        return type(error).__name__
    assert len(frames) == done.read
    assert [f.index for f in frames] == sorted({f.index for f in frames})
    assert done.complete or done.summary
    return "whole" if done.complete else "partial"


def models(seeds: list[int], now: str) -> dict[str, int]:
    """Load several models; ``now`` is a file that contains the current seed."""
    good = _small_models(Path(now).parent)

    def damage(path: Path, out: Path, seed: int) -> None:
        out.write_bytes(mutated(path.read_bytes(), seed, good[0].read_bytes()))

    return _loaded(seeds, Path(now), good, damage, "logit")


def configurations(seeds: list[int], now: str) -> dict[str, int]:
    """As :func:`models`, with rewritten configurations."""
    return _loaded(seeds, Path(now), valid_models(Path(now).parent), rewritten, "probability")


def _loaded(
    seeds: list[int], now: Path, good: list[Path], damage: Callable[[Path, Path, int], Any], output: str
) -> dict[str, int]:
    from redeepfake_nb import Preprocessing, load_model

    outcomes: Counter[str] = Counter()
    for seed in seeds:
        now.write_text(str(seed))
        path = now.with_name(f"damaged{good[seed % len(good)].suffix}")
        damage(good[seed % len(good)], path, seed)
        try:
            classifier = load_model(
                path, preprocessing=Preprocessing(input_size=16), positive_class="fake", output=output
            )
            outcomes["loaded"] += 1
            assert classifier.keras_model.input_shape[-1] == 3
        except ModelError as error:
            kind, words = type(error).__name__, str(error)
            outcomes[kind if words.isprintable() else f"{kind} that is not one printable line"] += 1
    return dict(outcomes)


def _small_models(folder: Path) -> list[Path]:
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1),
        ]
    )
    paths = [folder / "small.keras", folder / "small.h5"]
    for path in paths:
        model.save(path)
    return paths


# ------------------------------------------------------------------ in the parent


def run_media(
    sandbox: Sandbox, kind: str, seeds: range, out: Path, say: Callable[[str], None] = print
) -> tuple[Counter, list[Failure]]:
    """Read the file of each seed, 20 per process; if that fails, one per process, and save the failures."""
    outcomes: Counter[str] = Counter()
    failures = []
    for start in range(0, len(seeds), _MEDIA_AT_ONCE):
        batch = list(seeds[start : start + _MEDIA_AT_ONCE])
        result = sandbox.call("helpers.fuzzing:several", kind, batch)
        if not result.violation:
            outcomes.update(result.value)
        else:
            for seed in batch:
                result = sandbox.call(f"helpers.fuzzing:{kind}", seed)
                outcomes[result.value or "broken"] += 1
                if result.violation:
                    failures.append(_save_failure(out, kind, seed, result, damaged(kind, seed)))
                    say(f"{kind} {seed}: {result.violation.strip().splitlines()[-1]}")
        if batch[-1] % 1000 == 999:
            say(f"{kind}s: seeds {seeds[0]} to {batch[-1]}, {dict(outcomes)}")
    return outcomes, failures


def run_models(
    sandbox: Sandbox, seeds: range, out: Path, say: Callable[[str], None] = print, kind: str = "model"
) -> tuple[Counter, list[Failure]]:
    """As :func:`run_media`, for ``"model"`` or ``"configuration"``.

    If a batch fails, its current seed is saved and the rest of the batch is run again.
    """
    outcomes: Counter[str] = Counter()
    failures = []
    out.mkdir(parents=True, exist_ok=True)
    now = out / "model-now.txt"
    waiting = [list(seeds[i : i + _MODELS_AT_ONCE]) for i in range(0, len(seeds), _MODELS_AT_ONCE)]
    while waiting:
        batch = waiting.pop(0)
        now.unlink(missing_ok=True)
        result = sandbox.call(
            f"helpers.fuzzing:{kind}s", batch, str(now), seconds=180 + 5 * len(batch), memory=None
        )
        if not result.violation and result.peak < 2048:
            outcomes.update(result.value)
            continue
        # Without a current seed the batch did not even begin; then the first one is reported.
        seed = int(now.read_text()) if now.is_file() else batch[0]
        newest = max(out.glob("damaged.*"), key=lambda path: path.stat().st_mtime, default=None)
        data = newest.read_bytes() if newest is not None and now.is_file() else b""
        failures.append(_save_failure(out, kind, seed, result, data))
        outcomes["broken"] += 1
        say(f"{kind} {seed}: {(result.violation or f'{result.peak:.0f} MB').strip().splitlines()[-1]}")
        # The seeds before it succeeded; they are run again to be counted.
        place = batch.index(seed)
        waiting[:0] = [part for part in (batch[:place], batch[place + 1 :]) if part]
    for left in (now, *out.glob("damaged.*"), *(out / name for name in _MODELS)):
        left.unlink(missing_ok=True)
    return outcomes, failures


def _save_failure(out: Path, kind: str, seed: int, result: SandboxResult, data: bytes) -> Failure:
    out.mkdir(parents=True, exist_ok=True)
    why = result.violation or f"took {result.peak:.0f} MB"
    (out / f"{kind}-{seed}.bin").write_bytes(data)
    (out / f"{kind}-{seed}.txt").write_text(why, encoding="utf-8")
    return Failure(kind, seed, why)


def run(counts: dict[str, int], first: int, out: Path) -> list[Failure]:
    """Run all kinds of fuzzing and print the numbers of outcomes."""
    failures: list[Failure] = []
    with Sandbox("helpers.fuzzing") as sandbox:
        for kind, count, call in _plan(sandbox, counts, out):
            began = time.monotonic()
            seeds = range(first, first + count)
            outcomes, failed = call(seeds)
            failures += failed
            found = ", ".join(f"{name} {number:,}" for name, number in outcomes.most_common())
            print(
                f"{count:,} {kind}s, seeds {first} to {seeds.stop - 1}, in {time.monotonic() - began:.0f} s: "
                f"{found or 'none'}; {len(failed)} violations",
                flush=True,
            )
    return failures


def _plan(sandbox: Sandbox, counts: dict[str, int], out: Path) -> Iterator[tuple[str, int, Any]]:
    for kind in ("picture", "video", "metadata"):
        yield kind, counts[kind], functools.partial(run_media, sandbox, kind, out=out)
    for kind in ("model", "configuration"):
        yield kind, counts[kind], functools.partial(run_models, sandbox, out=out, kind=kind)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--videos", type=int, default=2_000)
    parser.add_argument("--metadata", type=int, default=2_000)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--configurations", type=int, default=900)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "fuzz")
    options = parser.parse_args()
    counts = {
        "picture": options.pictures,
        "video": options.videos,
        "metadata": options.metadata,
        "model": options.models,
        "configuration": options.configurations,
    }
    failures = run(counts, options.first_seed, options.out)
    for failure in failures:
        print(f"saved in {options.out}: {failure.kind} {failure.seed}: {failure.why.strip().splitlines()[0]}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
