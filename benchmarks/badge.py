"""How often networks of each kind get each badge of ``faithfulness``: the error rates in docs/trust.md.

Run by ``python -m benchmarks.badge``, in about twenty minutes on two cores. Small networks of six
architectures are checked as they are made (random), after training on a task whose evidence is known, after
training on labels drawn by chance (unlearned), and with the trained weights randomised; so are the toy models
whose weights are set by hand (planted), and the model that ships, with its weights and with random ones.
Faces are cut from the sample portrait, turned, mirrored, lit and scaled anew for each; a folder of pictures
of faces can be given instead with ``--faces``.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import keras
import numpy as np
import pandas as pd

from redeepfake_nb import (
    Card,
    Classifier,
    Face,
    Frame,
    Preprocessing,
    explain,
    faithfulness,
    find_faces,
    load_model,
    predict,
    read_image,
)
from redeepfake_nb.datasets.samples import sample_image
from redeepfake_nb.evaluation.metrics import wilson_interval
from redeepfake_nb.explanation.badge import BADGES, BEATEN, GAIN, GAP, LEARNED, SAME, Badge
from redeepfake_nb.explanation.sanity_checks import randomize_weights
from redeepfake_nb.explanation.toy_models import patch_classifier, random_classifier, with_patch

from .page import replace_between

ROOT = Path(__file__).resolve().parent.parent
PAGE, FIGURE = ROOT / "docs" / "trust.md", ROOT / "docs" / "images" / "badges.png"
SIZES = (32, 64)
# Networks per architecture and size that are made anew, and that are trained.
RANDOM, TRAINED = 3, 1
STEPS, BATCH = 150, 32
layers = keras.layers


def _head(x: Any) -> Any:
    return layers.Dense(1)(layers.GlobalAveragePooling2D()(x))


def _plain(image: Any) -> Any:
    x = layers.Rescaling(1 / 127.5, -1)(image)
    for width in (8, 16, 16):
        x = layers.Conv2D(width, 3, strides=2 if width == 16 else 1, padding="same", activation="relu")(x)
    return _head(x)


def _normalized(image: Any) -> Any:
    x = layers.Rescaling(1 / 127.5, -1)(image)
    for width in (8, 16, 32):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same")(x)))
        x = layers.MaxPooling2D()(x)
    return _head(x)


def _flat(image: Any) -> Any:
    x = layers.Rescaling(1 / 127.5, -1)(image)
    for _ in range(3):
        x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    return layers.Dense(1)(layers.Dense(16, activation="relu")(layers.Flatten()(x)))


def _residual(image: Any) -> Any:
    x = layers.Conv2D(16, 3, strides=2, padding="same")(layers.Rescaling(1 / 127.5, -1)(image))
    for _ in range(3):
        y = layers.DepthwiseConv2D(3, padding="same")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Conv2D(16, 1)(layers.Conv2D(32, 1, activation="gelu")(y))])
    return _head(x)


def _transformer(image: Any, class_token: bool) -> Any:
    size, patch, width = image.shape[1], image.shape[1] // 8, 16
    x = layers.Conv2D(width, patch, patch)(layers.Rescaling(1 / 127.5, -1)(image))
    x = layers.Reshape((64, width))(x)
    if class_token:
        x = layers.ZeroPadding1D((1, 0))(x)
    places = np.random.default_rng(size).normal(0, 0.1, (1, x.shape[1], width)).astype(np.float32)
    x = x + places
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, width // 2)(y, y)])
        y = layers.Dense(2 * width, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(width)(y)])
    return layers.Dense(1)(x[:, 0] if class_token else layers.GlobalAveragePooling1D()(x))


ARCHITECTURES: dict[str, Callable[[Any], Any]] = {
    "plain": _plain,
    "transformer, class token": lambda image: _transformer(image, True),
    "residual": _residual,
    "normalised": _normalized,
    "flattened": _flat,
    "transformer, pooled": lambda image: _transformer(image, False),
}


@dataclass(frozen=True)
class Row:
    """One check."""

    kind: str
    architecture: str
    size: int
    network: int
    method: str
    badge: str
    beaten: float
    gain: float
    gap: float
    coarse_gap: float
    reproduced: float
    randomised: float
    widest: float
    localized: bool
    seconds: float


def faces_from(folder: Path | None, count: int, seed: int) -> list[Face]:
    """Return faces: crops of the portrait, changed anew each, or the pictures of a folder."""
    rng = np.random.default_rng(seed)
    if folder is not None:
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
        chosen = rng.choice(len(paths), min(count, len(paths)), replace=False)
        return [Face.whole(read_image(paths[i])) for i in chosen]
    found = find_faces(sample_image())[0]
    return [Face.whole(Frame(_varied(found, rng))) for _ in range(count)]


def _varied(face: Face, rng: np.random.Generator) -> np.ndarray:
    crop = face.crop(0.2)
    size = crop.shape[0]
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), rng.uniform(-15, 15), rng.uniform(0.9, 1.4))
    crop = cv2.warpAffine(crop, turn, crop.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    crop = crop[:, ::-1] if rng.random() < 0.5 else crop
    colours = crop * rng.uniform(0.7, 1.2, 3) + rng.uniform(-20, 20)
    return np.ascontiguousarray(np.clip(colours, 0, 255), np.uint8)


def with_artefact(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put a chequered patch, an eighth of the area, anywhere into a picture."""
    size = image.shape[0]
    side = round(size * 0.35)
    top, left = rng.integers(0, size - side, 2)
    rows, columns = np.mgrid[:side, :side]
    changed = image.copy()
    sign = ((rows // max(size // 16, 1) + columns // max(size // 16, 1)) % 2 * 2 - 1)[..., None]
    part = changed[top : top + side, left : left + side]
    part[:] = np.clip(part + 50.0 * sign, 0, 255)
    return changed


def _resized(faces: list[Face], size: int) -> np.ndarray:
    return np.stack([cv2.resize(f.frame.image, (size, size), interpolation=cv2.INTER_AREA) for f in faces])


def train(model: keras.Model, faces: list[Face], by_chance: bool, seed: int) -> float:
    """Train a network to find the artefact, or labels drawn by chance; return its accuracy in training."""
    rng = np.random.default_rng(seed)
    pixels = _resized(faces, model.inputs[0].shape[1])
    images = np.concatenate([pixels, [with_artefact(p, rng) for p in pixels for _ in range(2)]])
    labels = np.concatenate([np.zeros(len(pixels)), np.ones(2 * len(pixels))])
    if by_chance:
        labels = rng.permutation(labels)
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    model.optimizer.learning_rate = 3e-3
    for _ in range(STEPS):
        chosen = rng.integers(0, len(images), BATCH)
        model.train_on_batch(images[chosen].astype(np.float32), labels[chosen][:, None])
    logits = np.asarray(model(images.astype(np.float32)))[:, 0]
    return float(((logits > 0) == labels).mean())


def checks(kind: str, name: str, network: int, classifier: Classifier, faces: list[Face]) -> Iterator[Row]:
    """Check the heatmaps of a network for what it says of each face, by two methods."""
    methods = ["gradcam", "attention" if name.startswith("transformer") else "saliency"]
    for prediction in predict(classifier, faces):
        target = prediction.label(0.5)
        for method in methods:
            start = time.perf_counter()
            found = faithfulness(classifier, explain(classifier, prediction, method, target))
            yield Row(
                kind,
                name,
                classifier.preprocessing.input_size,
                network,
                method,
                found.badge,
                found.beaten,
                found.gain,
                found.gap,
                found.coarse_gap,
                found.reproduced,
                found.randomised,
                max(found.random_network_gaps, default=0.0),
                found.localized,
                time.perf_counter() - start,
            )


def classifier_of(model: keras.Model) -> Classifier:
    """The network with a card for its input."""
    return Classifier(
        model, Card(preprocessing=Preprocessing(input_size=model.inputs[0].shape[1]), temperature=1.0)
    )


def measure(folder: Path | None, kinds: Sequence[str], seed: int) -> Iterator[Row]:
    """Check networks of the named kinds; every seed has networks and faces of its own."""
    known = faces_from(folder, 64, 1000 * seed)
    tested = faces_from(folder, 64, 1000 * seed + 1)
    rng = np.random.default_rng(1000 * seed + 2)
    fakes = [Face.whole(Frame(with_artefact(f.frame.image, rng))) for f in tested]
    for number, (name, make) in enumerate(ARCHITECTURES.items()):
        for size in SIZES if number % 2 == 0 else SIZES[:1]:
            keras.utils.set_random_seed(1000 * seed + number)
            image = keras.Input((size, size, 3))
            model = keras.Model(image, make(image))
            classifier = classifier_of(model)
            own = classifier.keras_model
            for i in range(RANDOM):
                fresh = keras.models.clone_model(model)
                own.set_weights(_larger(fresh.get_weights(), rng))
                some = [tested[int(rng.integers(64))], fakes[int(rng.integers(64))]]
                if "random" in kinds:
                    yield from checks("random", name, i, classifier, some)
                if "random, sure" in kinds:
                    make_sure(own, _resized(tested[:32] + fakes[:32], size))
                    yield from checks("random, sure", name, i, classifier, some)
            for i in range(TRAINED if "trained" in kinds else 0):
                for kind, by_chance in (("trained", False), ("unlearned", True)):
                    fresh = keras.models.clone_model(model)
                    accuracy = train(fresh, known, by_chance, seed=1000 * seed + i)
                    print(f"{kind}, {name}, {size} px: accuracy {accuracy:.2f}", flush=True)
                    own.set_weights(fresh.get_weights())
                    some = [fakes[int(j)] for j in rng.integers(0, 64, 2)]
                    yield from checks(kind, name, i, classifier, some)
                    if kind == "trained":
                        for layer in own.layers:
                            if layer.weights:
                                randomize_weights(layer, rng)
                        yield from checks("randomised", name, i, classifier, some)
    for size in SIZES if "planted" in kinds else ():
        for i in range(4):
            at = rng.integers(0, size // 2, 2)
            patch = tuple(slice(int(a), int(a) + size // 4) for a in at)
            classifier = patch_classifier(size, (patch[0], patch[1]))
            yield from checks(
                "planted", "patch", i, classifier, [with_patch(tested[i], size, (patch[0], patch[1]))]
            )
    if "shipped" in kinds:
        model = load_model()
        face = find_faces(sample_image())[:1]
        yield from checks("shipped", "shipped", 0, model, face)
        for i in range(3):
            randomised = random_classifier(model, 1000 * seed + i)
            yield from checks("randomised", "shipped", i, randomised, face)


def _larger(weights: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Scale fresh weights by 1, 1.5 or 2."""
    factor = rng.choice([1.0, 1.5, 2.0])
    return [w * factor if w.ndim > 1 else w for w in weights]


def make_sure(model: keras.Model, images: np.ndarray) -> None:
    """Scale and shift the output of a random network, so that its logits have mean 0 and deviation 2.

    Their scores are then as sure as those of a network that has learned something.
    """
    logits = np.asarray(model(images.astype(np.float32)))
    (layer,) = [layer for layer in model.layers if layer.output is model.outputs[0]]
    kernel, bias = layer.get_weights()
    factor = 2 / max(float(logits.std()), 1e-9)
    layer.set_weights([kernel * factor, (bias - logits.mean(axis=0)) * factor])


def badge_of(row: dict[str, Any]) -> Badge:
    """Return the badge of a check by the limits as they are now; what a new limit means is seen at once."""
    if not np.isfinite(row["gain"]):
        return "not supported"
    values = (row["beaten"], BEATEN), (row["gain"], GAIN), (row["gap"], GAP)
    grade = max(sum(value < limit for limit in limits) for value, limits in values)
    unlike = row["localized"] or (row["randomised"] < SAME and row["coarse_gap"] >= LEARNED * row["widest"])
    # Checks that the curves decided have no random networks, and nothing to reproduce.
    own = unlike and row["reproduced"] >= SAME
    return BADGES[grade if grade == 2 or own else 2]


KINDS = ("random", "random, sure", "randomised", "unlearned", "trained", "planted", "shipped")


def table(rows: pd.DataFrame) -> list[str]:
    """Return lines of Markdown: the share of each badge by the kind of network."""
    lines = [
        "| networks | how many | checks | supported | weak | not supported |",
        "|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        own = rows[rows.kind == kind]
        if not len(own):
            continue
        networks = len(own.groupby(["architecture", "size", "network"]))
        cells = []
        for badge in BADGES:
            hits = int((own.badge == badge).sum())
            low, high = wilson_interval(hits / len(own), len(own))
            cells.append(f"{hits / len(own):.1%} ({low:.1%} to {high:.1%})".replace("%", " %"))
        lines.append(f"| {kind} | {networks} | {len(own)} | {' | '.join(cells)} |")
    return lines


def figure(rows: pd.DataFrame) -> None:
    """Draw gain and gap of every check, by the kind of network, with the limits of the badge."""
    from matplotlib.figure import Figure

    drawn = Figure((8.4, 3.8), layout="constrained", facecolor="white")
    axes = drawn.subplots(1, 2, sharey=True)
    kinds = [kind for kind in KINDS if (rows.kind == kind).any()]
    rng = np.random.default_rng(0)
    colours = {"supported": "#009e73", "weak": "#e69f00", "not supported": "0.6"}
    for ax, column, limits, words, ticks in (
        (axes[0], "gain", GAIN, "gain in log-odds", (-1, 0, 1, 10)),
        (axes[1], "gap", GAP, "gap in P(target)", (-0.1, 0, 0.1, 1)),
    ):
        for i, kind in enumerate(kinds):
            own = rows[rows.kind == kind]
            y = i + rng.uniform(-0.3, 0.3, len(own))
            for badge, colour in colours.items():
                chosen = (own.badge == badge).to_numpy()
                ax.plot(
                    own[column][chosen],
                    y[chosen],
                    "o",
                    color=colour,
                    ms=3,
                    mew=0,
                    label=badge if not i else None,
                )
        for limit, style in zip(limits, ("-", ":"), strict=True):
            ax.axvline(limit, color="0.2", lw=1, ls=style)
        ax.set_xscale("symlog", linthresh=limits[0])
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.set_xlabel(f"{words} (solid: supported, dotted: weak)")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(kinds)), kinds)
    axes[0].invert_yaxis()
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    FIGURE.parent.mkdir(exist_ok=True)
    drawn.savefig(FIGURE, dpi=130, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=Path, help="folder of pictures of faces")
    parser.add_argument("--seed", type=int, default=0, help="of networks and faces (default: %(default)s)")
    parser.add_argument(
        "--kinds",
        default=",".join(k.replace(", ", "-") for k in KINDS),
        help="kinds of networks, with commas; those that are trained go together",
    )
    parser.add_argument("--rows", type=Path, nargs="+", help="CSV file that every check is written to")
    parser.add_argument("--report", action="store_true", help="only report what is in the files of --rows")
    options = parser.parse_args()
    made: list[Row] = []
    if options.report:
        rows = pd.concat([pd.read_csv(path) for path in options.rows])
    else:
        kinds = [kind.replace("-", ", ") for kind in options.kinds.split(",")]
        for row in measure(options.faces, kinds, options.seed):
            made.append(row)
            if options.rows:
                pd.DataFrame(made).to_csv(options.rows[0], index=False)
        rows = pd.DataFrame(made)
    rows["badge"] = [badge_of(row) for row in rows.to_dict("records")]
    figure(rows)
    limits = f"beaten {BEATEN}, gain {GAIN}, gap {GAP}, same {SAME}, learned {LEARNED}"
    note = (
        f"{rows.seconds.sum() / 60:.0f} minutes of checks, with the limits {limits}. In brackets 95 % "
        "intervals (Wilson), as if all checks were independent."
    )
    replace_between(PAGE, "badge rates", [*table(rows), "", note])


if __name__ == "__main__":
    main()
