"""Join several trained models to one, calibrate it, and write it with its card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

from ..datasets.labelled_faces import LabelledFaces
from ..datasets.landmarks import LandmarkStore
from ..evaluation.calibration import fit_temperature
from ..evaluation.kinds import check_by
from ..evaluation.scoring import score_all
from ..models.architectures.builder import LOGIT_LAYER
from ..models.architectures.clip_vit import CLIP, FEATURES_LAYER
from ..models.card import Card
from ..models.classifier import Classifier
from ..models.ensemble import (
    Gate,
    backbone_of,
    checked_scales,
    distinct_networks,
    ensemble,
    mixture_of_experts,
    normalized_weights,
    resized,
    weights_per_expert,
)
from .exporter import About, both_splits, calibrate_and_save, round_weights
from .gate import fit_gate
from .invariance import check_degraded_faces, reduce_degradation_shift
from .kinds import fit_kinds
from .probe import probe_features
from .recipes import Recipe

if TYPE_CHECKING:
    import keras


def join_and_export(
    classifiers: Sequence[Classifier],
    input_size: int,
    faces: LabelledFaces,
    path: str | Path,
    *,
    weights: Sequence[float] | Sequence[Sequence[float]] | None = None,
    gate: Sequence[str | Path] = (),
    prior: Sequence[float] | None = None,
    logit_scale: Sequence[float] | None = None,
    degraded_faces: int = 0,
    mirror: bool | None = None,
    recipe: Recipe | None = None,
    about: About | None = None,
    by: Sequence[str] = (),
    resamples: int = 1000,
    log: Callable[[str], None] | None = None,
) -> Path:
    """Join several models to one, calibrate it on ``val``, and write it.

    Each model is first brought to the common input size and calibrated there, so that their logits are alike;
    see :func:`redeepfake_nb.models.ensemble.ensemble`. With a gate, a face counts in a model's calibration by
    the gate's weight of the experts that the model takes part in.

    Parameters
    ----------
    classifiers, input_size
        As for ``ensemble``.
    weights
        As for ``ensemble``; with ``gate`` one such list for each expert, see
        :func:`redeepfake_nb.models.ensemble.mixture_of_experts`.
    gate
        Per expert the ``checkpoint.npz`` of a probe on CLIPViTB16, with the features of its training
        faces: a gate that tells these apart weights the experts for each face.
    prior, logit_scale
        Of the gate and of its experts, see :func:`redeepfake_nb.training.gate.fit_gate` and
        :func:`redeepfake_nb.models.ensemble.mixture_of_experts`.
    degraded_faces
        Keep the joint logit where it is when a face is recompressed, rescaled, blurred or sharpened, fitted
        to about as many training faces, which needs CLIPViTB16 among the networks; see
        :mod:`redeepfake_nb.training.invariance`. 0: leave it.
    faces
        With the splits ``train`` and ``val``.
    path
        Of the ``.keras`` file.
    mirror
        Whether the joint model also scores a face's mirror image. Default: if one of the classifiers does.
    recipe
        Whose augmentation and pseudo-fakes kinds of fakes are told apart with, if the faces have a column
        ``kind``; see :func:`redeepfake_nb.training.kinds.fit_kinds`. Without one the joint model names none.
    about, by, resamples, log
        As for :func:`redeepfake_nb.training.exporter.export`.

    Raises
    ------
    ValueError
        The table lacks the split ``train`` or ``val``, or the classifiers cannot be joined, or not with these
        weights or this gate.
    """
    if mirror is None:
        mirror = any(c.card.mirror for c in classifiers)
    # What was asked for is checked before the long part.
    rows = _checked_weights(weights, len(classifiers), len(gate))
    if not gate and (prior is not None or logit_scale is not None):
        raise ValueError("prior and logit_scale are a gate's and its experts', and there is no gate")
    factors = checked_scales(logit_scale, len(gate)) if gate else []
    train_faces, val_faces = both_splits(faces)
    check_by(by, val_faces.table)
    if degraded_faces:
        check_degraded_faces(degraded_faces, train_faces)
    say = log or (lambda sentence: None)
    probes = [probe_features(path) for path in gate]
    if len(classifiers) > 1:
        networks = distinct_networks(classifiers)
        _check_networks(networks, probes)
        if degraded_faces and CLIP not in networks:
            raise ValueError(f"only weights of {CLIP}'s features can undo degradation, and it takes no part")
    parts_at_size = [resized(c, input_size) for c in classifiers]
    parts_at_size = [part.with_card(replace(part.card, mirror=mirror)) for part in parts_at_size]
    fitted, given = None, None
    if gate:
        say("Fitting the gate")
        fitted = fit_gate(probes, prior)
        given = _gate_weights(fitted, parts_at_size, val_faces)
    sized = []
    for part, shares in zip(parts_at_size, np.transpose(rows), strict=True):
        say(f"Calibrating {part.card.name} at {input_size} px")
        scores = score_all([part], val_faces)
        counted = None if given is None else given @ (shares > 0)
        temperature = fit_temperature(scores.faces.y, scores.logits[0], counted)
        sized.append(part.with_card(replace(part.card, temperature=temperature)))
    if fitted is None:
        model, backbone = ensemble(sized, input_size, rows[0])
    else:
        model, backbone = mixture_of_experts(sized, input_size, rows, fitted, factors)
    first = sized[0]
    card = Card(
        architecture=backbone,
        preprocessing=first.preprocessing,
        mirror=mirror,
    )
    parts = [dict(c.card.metrics.get("training", {"recipe": c.name})) for c in classifiers]
    training: dict[str, Any] = {"recipe": " and ".join(str(p["recipe"]) for p in parts), "parts": parts}
    if gate:
        training["experts"] = [[round(share, 4) for share in row] for row in rows]
        training["prior"] = normalized_weights(prior, len(gate))
        training["logit_scale"] = factors
    if degraded_faces:
        say("Undoing what degradation does to the logit")
        training["degraded_faces"] = reduce_degradation_shift(
            model, train_faces, first.preprocessing, degraded_faces
        )
    about = about or About(" + ".join(c.card.name for c in classifiers))
    round_weights(model)
    kinds = None
    if recipe is not None and "kind" in train_faces.table:
        say("Telling kinds of fakes apart")
        landmarks = LandmarkStore(train_faces, Path(path).parent / "landmarks.npz")
        kinds = fit_kinds(model, replace(recipe, score_size=input_size), train_faces, landmarks=landmarks)
    return calibrate_and_save(
        model,
        card,
        path,
        about,
        training,
        train_faces,
        val_faces,
        kinds=kinds,
        by=by,
        resamples=resamples,
        log=log,
    )


def _checked_weights(
    weights: Sequence[float] | Sequence[Sequence[float]] | None, count: int, experts: int
) -> list[list[float]]:
    """Return normalised weights, one row for each expert, or a single row without a gate."""
    rows: list[Any] = [] if weights is None else list(weights)
    nested = bool(rows) and all(np.ndim(row) == 1 for row in rows)
    if not experts:
        if nested:
            raise ValueError("weights for several experts need a gate between them")
        return [normalized_weights(rows or None, count)]
    if not nested or len(rows) != experts:
        raise ValueError(f"a gate between {experts} experts needs as many lists of weights")
    return weights_per_expert(rows, count)


def _check_networks(networks: Mapping[str, keras.Model], probes: Sequence[np.ndarray]) -> None:
    """Check that a gate can read what its probes were fitted to."""
    if not probes:
        return
    if CLIP not in networks:
        raise ValueError(f"a gate reads the features of {CLIP}, and none of the networks is one")
    width = networks[CLIP].get_layer(FEATURES_LAYER).output.shape[-1]
    for probe in probes:
        if probe.shape[1] != width:
            raise ValueError(f"a probe of the gate has {probe.shape[1]} features, and {CLIP} has {width}")


def _gate_weights(gate: Gate, classifiers: Sequence[Classifier], faces: LabelledFaces) -> np.ndarray:
    """Return the gate's weight of each expert for each face, (N, K); rows add up to 1."""
    reader = next(c for c in classifiers if backbone_of(c.keras_model) == CLIP)
    # The gate's log-odds of each expert against the first are linear in CLIP's features, as a logit is.
    against_first = []
    for column in range(1, gate.kernel.shape[1]):
        odds = resized(reader, reader.preprocessing.input_size)
        odds = odds.with_card(replace(odds.card, shift=0.0))
        kernel = np.zeros(odds.keras_model.get_layer(LOGIT_LAYER).kernel.shape, np.float32)
        # The gate reads no hidden units, whose rows come last.
        kernel[: len(gate.kernel), 0] = gate.kernel[:, column] - gate.kernel[:, 0]
        odds.keras_model.get_layer(LOGIT_LAYER).set_weights([kernel, gate.bias[[column]] - gate.bias[[0]]])
        against_first.append(odds)
    logits = score_all(against_first, faces).logits
    return np.asarray(softmax(np.stack([np.zeros(len(logits[0])), *logits], axis=1), axis=1))
