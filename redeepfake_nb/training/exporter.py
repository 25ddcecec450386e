"""From trained weights to a model file that carries its habits, its figures and its card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.labelled_faces import LabelledFaces
from ..evaluation.assessment import assess
from ..evaluation.calibration import fit_calibration, fit_temperature
from ..evaluation.metrics import Metrics, evaluate
from ..evaluation.perturbation import robustness
from ..evaluation.scoring import group_column, score_all
from ..evaluation.slices import plain_rows, span_in_words
from ..faces.face import crop_sharpness
from ..faces.preprocessing import Preprocessing
from ..models.architectures.evidence_map import EVIDENCE_LAYER
from ..models.card import Card
from ..models.classifier import Classifier
from ..models.ensemble import at_size, join
from ..models.loading import save_model
from ..utils.numeric import probability
from ..utils.writing import atomic_file
from .recipes import Recipe
from .trainer import TrainingResult, readable_faces, train

if TYPE_CHECKING:
    import keras

_REPORTED = ("accuracy", "balanced_accuracy", "auc", "average_precision", "eer", "log_loss", "brier", "ece")
# Faces that the robustness table is measured on.
_SWEPT = 200


@dataclass(frozen=True)
class About:
    """What only people know of a model: its name, what may be done with it, where it was seen to fail."""

    name: str
    version: str = "1"
    licence: str = "see training data"
    training_data: str = "not described"
    known_failures: tuple[str, ...] = ()


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
    train_faces, val_faces = readable_faces(*_both_splits(faces))
    result = train(recipe, train_faces, val_faces, out, progress=progress)
    return export(result, recipe, train_faces, val_faces, Path(out) / f"{recipe.name}.keras", **options)


def export(
    result: TrainingResult,
    recipe: Recipe,
    train_faces: LabelledFaces,
    val_faces: LabelledFaces,
    path: str | Path,
    *,
    about: About | None = None,
    resamples: int = 1000,
) -> Path:
    """Round the weights to half precision, fit the temperature on ``val_faces``, measure, and write.

    Every figure is measured on the very weights that are written.
    """
    card = Card(
        architecture=recipe.backbone,
        preprocessing=Preprocessing(input_size=recipe.final_size),
        mirror=recipe.mirror,
    )
    training = {
        "recipe": recipe.name,
        "recipe_digest": recipe.digest(),
        "start": result.start,
        "steps": result.step,
    }
    about = about or About(recipe.name)
    return calibrate_and_save(result.model, card, path, about, training, train_faces, val_faces, resamples=resamples)


def join_and_export(
    classifiers: Sequence[Classifier],
    input_size: int,
    faces: LabelledFaces,
    path: str | Path,
    *,
    about: About | None = None,
    resamples: int = 1000,
) -> Path:
    """Make one model of several (see :func:`redeepfake_nb.models.ensemble.join`), calibrate it on ``val``, and write.

    Each is brought to the joint size and calibrated there first, so that all weigh alike.

    Raises
    ------
    ValueError
        The table lacks one of the splits train and val, or the classifiers cannot be joined.
    """
    train_faces, val_faces = _both_splits(faces)
    sized = []
    for classifier in classifiers:
        part = at_size(classifier, input_size)
        scores = score_all([part], val_faces)
        temperature = fit_temperature(scores.faces.y, scores.logits[0])
        sized.append(Classifier(part.keras_model, replace(part.card, temperature=temperature)))
    model, backbone = join(sized, input_size)
    first = sized[0]
    card = Card(
        architecture=backbone,
        preprocessing=first.preprocessing,
        mirror=any(c.card.mirror for c in classifiers),
    )
    parts = [dict(c.card.metrics.get("training", {"recipe": c.name})) for c in classifiers]
    training = {"recipe": " and ".join(str(p["recipe"]) for p in parts), "parts": parts}
    about = about or About(" + ".join(c.card.name for c in classifiers))
    return calibrate_and_save(model, card, path, about, training, train_faces, val_faces, resamples=resamples)


def calibrate_and_save(
    model: keras.Model,
    card: Card,
    path: str | Path,
    about: About,
    training: Mapping[str, Any],
    train_faces: LabelledFaces,
    val_faces: LabelledFaces,
    *,
    resamples: int = 1000,
) -> Path:
    """Calibrate and measure a model on ``val_faces``; write weights, sidecar and card.

    The calibration's shift becomes part of the logit's bias, its temperature goes into the sidecar.

    Parameters
    ----------
    card
        Architecture, preprocessing and ``mirror``; the rest is filled in.
    training
        Plain JSON about how the weights came to be.
    train_faces
        They tell which sizes and sharpness the model has really seen.
    """
    path = Path(path)
    round_to_half(model)
    scores = score_all([Classifier(model, card)], val_faces)
    y, logits = scores.faces.y, scores.logits[0]
    raw = evaluate(y, probability(logits, None), resamples=0)
    temperature, shift = fit_calibration(y, logits)
    _shift_logit(model, shift)
    size, sharpness = _trained_limits(train_faces)
    card = replace(
        card,
        name=about.name,
        version=about.version,
        architecture=f"{card.architecture}, {model.count_params():,} weights",
        temperature=round(temperature, 4),
        explain_layer=EVIDENCE_LAYER if EVIDENCE_LAYER in [layer.name for layer in model.layers] else None,
        min_face=size,
        min_sharpness=sharpness,
        licence=about.licence,
        training_data=about.training_data,
    )
    calibrated = Classifier(model, card)
    found = assess(calibrated, val_faces, resamples=resamples)
    changes = robustness(calibrated, val_faces, limit=_SWEPT)
    grouped = found.group == "identity"
    card = replace(
        card,
        metrics={
            "split": "val: people who are in no training face; also used to choose and to calibrate",
            **found.metrics.to_dict(),
            "before_calibration": {k: round(raw[k].value, 5) for k in ("log_loss", "brier", "ece")},
            "slices": plain_rows(found.slices),
            "robustness": plain_rows(changes),
            "known_failures": list(about.known_failures),
            "training": {
                **training,
                "faces": len(train_faces),
                "identities": _count_groups(train_faces),
            },
        },
    )
    save_model(Classifier(model, card), path)
    with atomic_file(path.with_suffix(".md")) as part:
        part.write_text(card_text(card, found.metrics, grouped=grouped), encoding="utf-8")
    return path


def _both_splits(faces: LabelledFaces) -> tuple[LabelledFaces, LabelledFaces]:
    train_faces, val_faces = faces.part("train"), faces.part("val")
    if not len(train_faces) or not len(val_faces):
        raise ValueError("the table needs faces in both splits, train and val")
    return train_faces, val_faces


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


def _shift_logit(model: keras.Model, shift: float) -> None:
    """Add to the logit by way of the last layer's bias: a part of the model, and so of every score."""
    last = model.layers[-1]
    kernel, bias = last.get_weights()
    last.set_weights([kernel, bias + np.float32(shift)])


def _count_groups(faces: LabelledFaces) -> int | None:
    column = group_column(faces)
    return None if column is None else int(faces.table[column].nunique())


def _trained_limits(faces: LabelledFaces, sample: int = 1000) -> tuple[int | None, float]:
    """(smallest native face, lowest sharpness) that training really covered: the 2nd percentiles."""
    rows = np.random.default_rng(0).permutation(len(faces))[:sample]
    sharpness = float(np.percentile([crop_sharpness(faces.image(i)) for i in rows], 2))
    width = faces.table.get("original_width")
    size = None if width is None or width.isna().all() else int(np.percentile(width.dropna(), 2))
    return size, round(sharpness, 1)


def card_text(card: Card, metrics: Metrics, *, grouped: bool) -> str:
    """The model card in Markdown, with the front matter that Hugging Face reads.

    ``grouped`` says whether the figures' groups are people.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Markdown, not HTML: escaping would show in the text, and every value is the trainer's own.
    templates = Environment(
        loader=PackageLoader("redeepfake_nb.training"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    templates.filters["interval"] = _interval
    templates.filters["span"] = lambda row: span_in_words(row["from"], _upper(row))
    return templates.get_template("model_card.md.j2").render(
        card=card,
        metrics=metrics,
        grouped=grouped,
        reported=_REPORTED,
        slices=card.metrics["slices"],
        changes=card.metrics["robustness"],
        before=card.metrics["before_calibration"],
        training=card.metrics["training"],
        failures=card.metrics["known_failures"],
    )


def _upper(row: Mapping[str, Any]) -> float:
    return float("inf") if row["below"] is None else row["below"]


def _interval(row: Mapping[str, Any], name: str) -> str:
    """One figure of a slice, with its interval as far as it has one."""
    if row[name] is None:
        return row["note"] or "n/a"
    if row[f"{name}_low"] is None:
        return f"{row[name]:.3f}"
    return f"{row[name]:.3f} ({row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f})"
