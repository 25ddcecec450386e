"""Fit the gate of a mixture of experts: which expert's training faces a face looks like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..models.ensemble import Gate

# Scikit-learn's C on features that were divided by their deviation, see docs/experiments.md.
_STRENGTH = 1e-4


def fit_gate(
    features: Sequence[np.ndarray], prior: Sequence[float] | None = None, strength: float = _STRENGTH
) -> Gate:
    """Fit a logistic regression that tells apart the faces that several experts were fitted to.

    Real and fake faces count alike, and each expert's faces together as much as another's. Whether a face was
    manipulated is not asked, so no label leaks into the weights of the experts.

    Parameters
    ----------
    features
        Per expert (N, D), of CLIP's encoder, for two experts or more; see
        :func:`redeepfake_nb.training.probe.probe_features`.
    prior
        Per expert how likely its kind of face is before the face is looked at (Bayes' rule), relative to the
        others, above 0. It decides where the features do not. Default: all alike.
    strength
        Smaller is more regularised.

    Returns
    -------
    Gate

    Raises
    ------
    ValueError
        Fewer than two, different numbers of features, or a prior that is not one positive number for each.
    """
    from sklearn.linear_model import LogisticRegression

    if len(features) < 2:
        raise ValueError("a gate needs the features of at least two experts' faces")
    widths = {part.shape[-1] for part in features}
    if len(widths) > 1:
        raise ValueError(f"the experts' faces have different numbers of features: {sorted(widths)}")
    odds = np.ones(len(features)) if prior is None else np.array(prior, np.float64)
    if odds.shape != (len(features),) or not (np.isfinite(odds) & (odds > 0)).all():
        raise ValueError(
            f"the prior must be a positive number for each of {len(features)} experts, not {prior}"
        )
    x = np.concatenate(list(features))
    which = np.repeat(np.arange(len(features)), [len(part) for part in features])
    mean, deviation = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64) + 1e-6
    scaled = ((x - mean) / deviation).astype(np.float32)
    fit = LogisticRegression(C=strength, max_iter=500, class_weight="balanced").fit(scaled, which)
    coefficients, intercepts = fit.coef_, fit.intercept_
    if len(features) == 2:  # one column, for the second against the first
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
    kernel = coefficients.T / deviation[:, None]
    bias = intercepts - mean @ kernel + np.log(odds)
    return Gate(kernel.astype(np.float32), bias.astype(np.float32))
