"""From trained weights to a model file that carries its habits, its figures and its card."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .datasets import LabelledFaces
from .evaluation import Metrics, evaluate, fit_temperature
from .evidence_map import EVIDENCE_LAYER
from .faces import crop_sharpness
from .models import Card, Classifier, save_model
from .preprocessing import Preprocessing
from .recipes import Recipe
from .training import TrainingResult, score_faces, train

if TYPE_CHECKING:
    import keras

# Edges of the native face widths, in pixels, that figures are also given for; dlib's pyramid makes the steps.
_WIDTHS = (0, 108, 156, 224, 100_000)
_REPORTED = ("accuracy", "auc", "average_precision", "eer", "log_loss", "brier", "ece")


def train_and_export(
    recipe: Recipe,
    faces: LabelledFaces,
    out: str | Path,
    *,
    progress: Callable[[int, int, float], None] | None = None,
    **options: Any,
) -> Path:
    """Train on the split ``train``, choose and calibrate on ``val``, write ``<out>/<recipe>.keras``.

    ``options`` go to :func:`export`.

    Returns
    -------
    pathlib.Path
        The model; sidecar (``.json``) and card (``.md``) lie beside it.

    Raises
    ------
    ValueError
        The table lacks one of the two splits, or has one label alone in it.
    OutputError
        Nothing can be written there.
    """
    train_faces, val_faces = faces.part("train"), faces.part("val")
    if not len(train_faces) or not len(val_faces):
        raise ValueError("the table needs faces in both splits, train and val")
    result = train(recipe, train_faces, val_faces, out, progress=progress)
    return export(result, recipe, train_faces, val_faces, Path(out) / f"{recipe.name}.keras", **options)


def export(
    result: TrainingResult,
    recipe: Recipe,
    train_faces: LabelledFaces,
    val_faces: LabelledFaces,
    path: str | Path,
    *,
    name: str | None = None,
    version: str = "1",
    licence: str = "see training data",
    training_data: str = "not described",
    resamples: int = 1000,
) -> Path:
    """Round the weights to half precision, fit the temperature on ``val_faces``, measure, and write.

    Every figure is measured on the very weights that are written.
    """
    model, path = result.model, Path(path)
    round_to_half(model)
    preprocessing = Preprocessing(input_size=recipe.final_size)
    scorer = Classifier(model, Card(preprocessing=preprocessing, mirror=recipe.mirror))
    logits = score_faces(scorer.logits, val_faces, preprocessing)
    temperature = fit_temperature(val_faces.y, logits)
    groups = _groups(val_faces)
    raw = evaluate(val_faces.y, _sigmoid(logits), groups=groups, resamples=0)
    metrics = evaluate(val_faces.y, _sigmoid(logits / temperature), groups=groups, resamples=resamples)
    size, sharpness = _trained_limits(train_faces)
    card = Card(
        name=name or recipe.name,
        version=version,
        architecture=f"{recipe.backbone}, {model.count_params():,} weights",
        preprocessing=preprocessing,
        temperature=round(temperature, 4),
        mirror=recipe.mirror,
        explain_layer=EVIDENCE_LAYER if EVIDENCE_LAYER in [layer.name for layer in model.layers] else None,
        min_face=size,
        min_sharpness=sharpness,
        licence=licence,
        training_data=training_data,
        metrics={
            "split": "val: people who are in no training face; also used to choose and to calibrate",
            **metrics.to_dict(),
            "before_calibration": {k: round(raw[k].value, 5) for k in ("log_loss", "brier", "ece")},
            "by_native_width": _by_width(val_faces, logits / temperature, resamples),
            "training": {
                "recipe": recipe.name,
                "recipe_digest": recipe.digest(),
                "steps": result.step,
                "faces": len(train_faces),
                "identities": _count_groups(train_faces),
            },
        },
    )
    save_model(Classifier(model, card), path)
    text = card_text(card, metrics, grouped=groups is not None)
    part = path.with_suffix(".md.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path.with_suffix(".md"))
    return path


def round_to_half(model: keras.Model) -> None:
    """Round all weights to values that half precision can hold; they stay float32.

    Zeros in the low bits compress, which halves the file. Normalisations are left alone: a moving
    variance that rounds to 0 would blow its channel up.
    """
    import keras

    spared = (keras.layers.BatchNormalization, keras.layers.LayerNormalization, keras.layers.Normalization)
    for layer in model.layers:
        weights = layer.get_weights()
        if weights and not isinstance(layer, spared):
            layer.set_weights([np.asarray(w, np.float16).astype(np.float32) for w in weights])


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return expit(np.asarray(logits, np.float64))


def _groups(faces: LabelledFaces) -> np.ndarray | None:
    """Whose faces these are, as far as the table knows."""
    for column in ("identity", "original"):
        if not faces.table[column].isna().any():
            return faces.table[column].to_numpy()
    return None


def _count_groups(faces: LabelledFaces) -> int | None:
    groups = _groups(faces)
    return None if groups is None else len(np.unique(groups.astype(str)))


def _trained_limits(faces: LabelledFaces, sample: int = 1000) -> tuple[int | None, float]:
    """(smallest native face, lowest sharpness) that training really covered: the 2nd percentiles."""
    rows = np.random.default_rng(0).permutation(len(faces))[:sample]
    sharpness = float(np.percentile([crop_sharpness(faces.image(i)) for i in rows], 2))
    width = faces.table.get("original_width")
    size = None if width is None or width.isna().all() else int(np.percentile(width.dropna(), 2))
    return size, round(sharpness, 1)


def _by_width(faces: LabelledFaces, logits: np.ndarray, resamples: int) -> dict[str, Any]:
    width = faces.table.get("original_width")
    if width is None or width.isna().any():
        return {}
    found, y, groups = {}, faces.y, _groups(faces)
    for low, high in pairwise(_WIDTHS):
        rows = np.flatnonzero(((width >= low) & (width < high)).to_numpy())
        if len(np.unique(y[rows])) < 2:
            continue
        m = evaluate(
            y[rows],
            _sigmoid(logits[rows]),
            groups=None if groups is None else groups[rows],
            resamples=resamples,
        )
        span = f"{low} to {high - 1} px" if high < _WIDTHS[-1] else f"{low} px and over"
        found[span] = {"faces": len(rows), **{k: m.to_dict()[k] for k in ("auc", "accuracy")}}
    return found


def card_text(card: Card, metrics: Metrics, *, grouped: bool) -> str:
    """The model card in Markdown, with the front matter that Hugging Face reads.

    ``grouped`` says whether the figures' groups are people.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Markdown, not HTML: escaping would show in the text, and every value is the trainer's own.
    templates = Environment(
        loader=PackageLoader("redeepfake_nb"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    templates.filters["interval"] = lambda m: f"{m['value']:.3f} ({m['low']:.3f} to {m['high']:.3f})"
    return templates.get_template("model_card.md.j2").render(
        card=card,
        metrics=metrics,
        grouped=grouped,
        reported=_REPORTED,
        widths=card.metrics["by_native_width"],
        before=card.metrics["before_calibration"],
        training=card.metrics["training"],
    )
