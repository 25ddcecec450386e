"""Export a trained model: calibrate, evaluate, and write model file, sidecar and model card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..datasets.labelled_faces import LabelledFaces
from ..datasets.landmarks import LandmarkStore
from ..errors import InputError
from ..evaluation.assessment import Assessment, assess
from ..evaluation.calibration import fit_calibration
from ..evaluation.kinds import MIN_RESAMPLES, check_by, measure_kinds
from ..evaluation.metrics import CALIBRATION_METRICS, METRIC_WORDS, Metric, evaluate
from ..evaluation.robustness_sweep import robustness
from ..evaluation.scoring import score_all
from ..evaluation.slices import FALSE_POSITIVES, format_range, plain_rows
from ..faces.face import crop_sharpness
from ..faces.preprocessing import Preprocessing
from ..models.architectures.evidence_map import EVIDENCE_LAYER
from ..models.card import Card
from ..models.classifier import Classifier
from ..models.kinds_output import KindsLayer, with_kinds
from ..models.likely_kind import KIND_GROUPS, NAMED_FROM
from ..models.loading import save_model
from ..models.tested_kinds import DETECTED, KINDS, KindResult, blind_spots
from ..utils.numeric import plain, probability
from ..utils.writing import atomic_file
from .kinds import KindsOutput, fit_kinds
from .recipes import Recipe
from .trainer import TrainingResult, readable_faces, train

if TYPE_CHECKING:
    import keras

# Metrics in the model card.
_REPORTED = {name: words for name, words in METRIC_WORDS.items() if name not in ("precision", "recall", "f1")}
# Number of faces for the robustness table.
_ROBUSTNESS_FACES = 200
# Significant bits of convolutions' kernels, of which half precision has 11; see docs/experiments.md.
_CONVOLUTION_BITS = 8


@dataclass(frozen=True)
class About:
    """Facts about a model that cannot be measured: name, licence, training data and known failures."""

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
    log: Callable[[str], None] | None = None,
    workers: int = 0,
    by: Sequence[str] = (),
    **options: Any,
) -> Path:
    """Train on the split ``train``, select and calibrate on ``val``, and write ``<out>/<recipe>.keras``.

    Parameters
    ----------
    recipe
        From :meth:`Recipe.read` or :meth:`Recipe.named`.
    faces
        With the splits ``train`` and ``val``.
    out
        Folder for the model, checkpoints and logs.
    progress
        Called as ``progress(step, steps, loss)`` after each training step.
    log
        Called with a sentence at the start of each step that follows training, which takes minutes too.
    workers
        Processes that make batches; see :func:`redeepfake_nb.training.trainer.train`.
    by
        Columns of groups, see :func:`calibrate_and_save`.
    options
        Passed on to :func:`export`.

    Returns
    -------
    pathlib.Path
        The model file; sidecar (``.json``) and card (``.md``) are written beside it.

    Raises
    ------
    ValueError
        The table lacks one of the two splits, ``val`` has only one label, or a column in ``by`` has no
        groups.
    OutputError
        ``out`` cannot be written.
    """
    train_faces, val_faces = readable_faces(*both_splits(faces))
    check_by(by, val_faces.table)  # before the long part
    result = train(recipe, train_faces, val_faces, out, progress=progress, workers=workers)
    path = Path(out) / f"{recipe.name}.keras"
    return export(result, recipe, train_faces, val_faces, path, by=by, log=log, **options)


def export(
    result: TrainingResult,
    recipe: Recipe,
    train_faces: LabelledFaces,
    val_faces: LabelledFaces,
    path: str | Path,
    *,
    about: About | None = None,
    by: Sequence[str] = (),
    resamples: int = 1000,
    log: Callable[[str], None] | None = None,
) -> Path:
    """Round the weights to half precision, calibrate and evaluate on ``val_faces``, and write the model.

    All metrics are measured with the weights that are written. ``by`` names columns of groups, see
    :func:`calibrate_and_save`.
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
    say = log or _say_nothing
    round_weights(result.model)
    if "kind" in train_faces.table:
        say("Telling kinds of fakes apart")
    landmarks = Path(path).parent / "landmarks.npz"  # of the training run, where it needed any
    kinds = fit_kinds(result.model, recipe, train_faces, landmarks=LandmarkStore(train_faces, landmarks))
    return calibrate_and_save(
        result.model,
        card,
        path,
        about,
        training,
        train_faces,
        val_faces,
        kinds=kinds,
        by=by,
        resamples=resamples,
        log=say,
    )


def calibrate_and_save(
    model: keras.Model,
    card: Card,
    path: str | Path,
    about: About,
    training: Mapping[str, Any],
    train_faces: LabelledFaces,
    val_faces: LabelledFaces,
    *,
    kinds: KindsOutput | None = None,
    by: Sequence[str] = (),
    resamples: int = 1000,
    log: Callable[[str], None] | None = None,
) -> Path:
    """Calibrate and evaluate a model on ``val_faces``, and write model file, sidecar and card.

    The shift of the calibration is added to the bias of the logit; its temperature is stored in the sidecar.

    Parameters
    ----------
    model
        With one logit; its weights are rounded and its bias shifted in place.
    card
        Architecture, preprocessing and ``mirror``; the other fields are filled in.
    path
        Of the ``.keras`` file.
    about
        Facts for the card.
    training
        How the model was trained, as plain JSON.
    train_faces
        Determine the smallest size and the lowest sharpness that the model is declared fit for.
    val_faces
        For calibration and metrics.
    kinds
        Output that tells kinds of fakes apart, to be saved with the model.
    by
        Columns of ``val_faces`` with groups of faces that somebody annotated, whose error rates the card
        then has; see :func:`redeepfake_nb.evaluation.assessment.assess`.
    resamples
        Bootstrap samples for the intervals.
    log
        Called with a sentence at the start of each step.
    """
    path = Path(path)
    say = log or _say_nothing
    round_weights(model)
    say(f"Calibrating on {len(val_faces):,} validation faces")
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
    say(f"Measuring on {len(val_faces):,} validation faces")
    found = assess(calibrated, val_faces, by=by, resamples=resamples)
    say(
        f"Measuring on up to {_ROBUSTNESS_FACES} faces that are blurred, compressed and changed in other ways"
    )
    changes = robustness(calibrated, val_faces, limit=_ROBUSTNESS_FACES)
    grouped = found.group == "identity"
    shared = _shared_groups(train_faces, val_faces) if grouped else 0
    if shared:
        people = f"people, {shared} of whom have faces in the training data, too"
    elif grouped:
        people = "people without any training face"
    elif _apart(train_faces, val_faces, "original"):
        people = "unknown people, whose source videos are not in the training data"
    else:
        people = "unknown people, who may be in the training data"
    card = replace(
        card,
        tested_on=_tested_kinds(found, train_faces, max(resamples, MIN_RESAMPLES)),
        metrics={
            "split": f"val: {people}; also used for model selection and calibration",
            **found.metrics.to_dict(),
            "fake": int(found.y.sum()),
            "grouped_by": found.group,
            "before_calibration": {k: round(raw[k].value, 5) for k in CALIBRATION_METRICS},
            "collections": _by_collection(found, resamples),
            "sources": plain_rows(found.origins[found.origins["origin"] == "source"]),
            "annotated": plain_rows(found.origins[found.origins["origin"].isin(list(by))]),
            "slices": plain_rows(found.slices),
            "robustness": plain_rows(changes),
            "kinds": _kinds_told_apart(kinds),
            "known_failures": list(about.known_failures),
            "training": {
                **training,
                "faces": len(train_faces),
                "identities": _count_people(train_faces),
                "shared_with_val": shared,
            },
        },
    )
    if kinds is not None:
        card = replace(card, kinds=kinds.names)
        model = with_kinds(model, KindsLayer(*(_half(w) for w in kinds.layer)))
    say("Writing the model and its card")
    save_model(Classifier(model, card), path)
    with atomic_file(path.with_suffix(".md")) as part:
        part.write_text(card_text(card, grouped=grouped), encoding="utf-8")
    return path


def _say_nothing(sentence: str) -> None:
    pass


def _kinds_told_apart(kinds: KindsOutput | None) -> dict[str, Any]:
    """Say how well kinds are told apart on sources that were left out, as plain JSON."""
    if kinds is None:
        return {}
    found = {"confusion": kinds.confusion, "named": kinds.named, "named_right": kinds.named_right}
    return {**plain(found, digits=4), "named_from": NAMED_FROM}


def _by_collection(found: Assessment, resamples: int) -> list[dict[str, Any]]:
    """Measure each collection of joined ones alone; empty for a single collection."""
    table = found.faces.table
    if "collection" not in table:
        return []
    rows = []
    for name, members in table.groupby("collection", sort=False).indices.items():
        y, p = found.y[members], found.probabilities[members]
        if not 0 < y.sum() < len(y):
            continue
        groups = None if found.groups is None else found.groups[members]
        metrics = evaluate(y, p, groups=groups, threshold=found.threshold, resamples=resamples)
        rows.append({"collection": str(name), "fakes": int(y.sum()), **metrics.to_dict()})
    return rows


def _shared_groups(train_faces: LabelledFaces, val_faces: LabelledFaces) -> int:
    """Count the people with faces on both sides."""
    people = (set(faces.table["identity"].dropna()) for faces in (train_faces, val_faces))
    return len(set.intersection(*people))


def _tested_kinds(found: Assessment, train_faces: LabelledFaces, resamples: int) -> tuple[KindResult, ...]:
    """Measure each kind that the column ``kind`` names, by ``generator`` or else by ``source``."""
    table = found.faces.table
    if "kind" not in table:
        return ()
    column = next((name for name in ("generator", "source") if name in table), None)
    usable = ((table["label"] == "REAL") | table["kind"].notna()).to_numpy()
    if not found.y[usable].any():  # no fake of a known kind
        return ()
    rest = "this labelled set"

    def generators_of(faces: pd.DataFrame) -> pd.Series:
        return pd.Series(rest, faces.index) if column not in faces else faces[column].fillna(rest)

    generators = generators_of(table)
    trained = set(generators_of(train_faces.table[train_faces.table["label"] == "FAKE"]))
    return tuple(
        measure_kinds(
            found.y[usable],
            found.logits[usable],
            table["kind"].to_numpy(object)[usable],
            generators.to_numpy(object)[usable],
            groups=None if found.groups is None else found.groups[usable],
            against="the real faces of the same labelled set",
            trained_on=trained,
            resamples=resamples,
        )
    )


def both_splits(faces: LabelledFaces) -> tuple[LabelledFaces, LabelledFaces]:
    """Return the splits ``train`` and ``val``.

    Raises
    ------
    ValueError
        One of them is empty.
    """
    train_faces, val_faces = faces.part("train"), faces.part("val")
    if not len(train_faces) or not len(val_faces):
        raise ValueError("the table needs faces in both splits, train and val")
    return train_faces, val_faces


def round_weights(model: keras.Model) -> None:
    """Round all weights to half precision in place, kernels of convolutions further; they stay float32.

    Zeros in the low bits compress, which more than halves the file. Normalisation layers are left out,
    because a moving variance rounded to 0 would make its channel explode.
    """
    import keras

    excluded = (keras.layers.BatchNormalization, keras.layers.LayerNormalization, keras.layers.Normalization)
    for layer in model.layers:
        weights = layer.get_weights()
        if not weights or isinstance(layer, excluded):
            continue
        rounded = [_half(w) for w in weights]
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            rounded[0] = _half(_to_bits(weights[0], _CONVOLUTION_BITS))
        layer.set_weights(rounded)


def _half(weights: np.ndarray) -> np.ndarray:
    """Round to half precision; the result is float32."""
    return np.asarray(weights, np.float16).astype(np.float32)


def _to_bits(weights: np.ndarray, bits: int) -> np.ndarray:
    """Round to so many significant binary digits."""
    mantissa, exponent = np.frexp(weights)
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)


def _shift_logit(model: keras.Model, shift: float) -> None:
    """Add a constant to the logit through the bias of the last layer, which a mixture has, too."""
    last = model.layers[-1]
    kernel, bias = last.get_weights()
    last.set_weights([kernel, bias + np.float32(shift)])


def _apart(train_faces: LabelledFaces, val_faces: LabelledFaces, column: str) -> bool:
    """Whether all values of a column are known, and none is on both sides."""
    sides = [faces.table[column] for faces in (train_faces, val_faces)]
    return not any(side.isna().any() for side in sides) and set(sides[0]).isdisjoint(sides[1])


def _count_people(faces: LabelledFaces) -> int | None:
    people = faces.table["identity"]
    return None if people.isna().any() else int(people.nunique())


def _trained_limits(faces: LabelledFaces, sample: int = 1000) -> tuple[int | None, float | None]:
    """Return the 2nd percentiles of the training faces' native width and sharpness; None if unknown."""
    found: list[float] = []
    for row in np.random.default_rng(0).permutation(len(faces)).tolist():
        if len(found) == sample:
            break
        # A damaged picture was replaced in training, too.
        with suppress(InputError):
            found.append(crop_sharpness(faces.image(row)))
    sharpness = round(float(np.percentile(found, 2)), 1) if found else None
    width = faces.table.get("original_width")
    size = None if width is None or width.isna().all() else int(np.percentile(width.dropna(), 2))
    return size, sharpness


def card_text(card: Card, *, grouped: bool) -> str:
    """Render the model card as Markdown, with front matter for Hugging Face.

    Metrics are those of the sidecar, so that rounding cannot make the two differ. ``grouped`` tells whether
    they were bootstrapped by person.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Markdown, not HTML: escapes would be visible in the text, and no value comes from a third party.
    templates = Environment(
        loader=PackageLoader("redeepfake_nb.training"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    templates.filters["interval"] = _interval
    templates.filters["measured"] = _measured
    templates.filters["span"] = lambda row: format_range(row["from"], _upper(row))
    return templates.get_template("model_card.md.j2").render(
        card=card,
        metrics=card.metrics,
        grouped=grouped,
        reported=_REPORTED,
        collections=card.metrics["collections"],
        sources=card.metrics["sources"],
        annotated=card.metrics.get("annotated", ()),
        slices=card.metrics["slices"],
        changes=card.metrics["robustness"],
        before=card.metrics["before_calibration"],
        training=card.metrics["training"],
        failures=card.metrics["known_failures"],
        kinds=KINDS,
        told_apart=card.metrics.get("kinds", {}),
        groups=KIND_GROUPS,
        detected=DETECTED,
        blind_spots=blind_spots(card.tested_on),
    )


def _upper(row: Mapping[str, Any]) -> float:
    return float("inf") if row["below"] is None else row["below"]


def _measured(metric: Mapping[str, float | None]) -> str:
    """Format a metric that was converted to plain JSON, in which NaN is None."""
    values = [np.nan if value is None else value for value in map(metric.get, ("value", "low", "high"))]
    return str(Metric(*values))


def _interval(row: Mapping[str, Any], name: str) -> str:
    """Format one metric of a slice, with its interval if it has one."""
    if row[name] is None:
        return ("" if name == FALSE_POSITIVES else row["note"]) or "n/a"
    if row[f"{name}_low"] is None:
        return f"{row[name]:.3f}"
    return f"{row[name]:.3f} ({row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f})"
