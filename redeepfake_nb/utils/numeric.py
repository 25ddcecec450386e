"""Numbers: logits to probabilities, checks of numeric arguments, and conversion of values to plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from typing import Any, TypeGuard, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray


@overload
def sigmoid(x: float) -> float: ...
@overload
def sigmoid(x: ArrayLike) -> NDArray[np.float64]: ...
def sigmoid(x: ArrayLike) -> float | NDArray[np.float64]:
    """Compute ``1 / (1 + exp(-x))`` without overflow.

    Parameters
    ----------
    x
        A number, or an array of any shape and real dtype; computed in float64.

    Returns
    -------
    float or ndarray
        0..1: a float for a number, float64 in the shape of ``x`` for an array, whose values can differ from
        those of single numbers in the last bit.
    """
    if isinstance(x, (int, float, np.integer, np.floating)):
        return _sigmoid(float(x))
    from scipy.special import expit  # here, because the import is slow

    return expit(np.asarray(x, np.float64))


def _sigmoid(x: float) -> float:
    # exp() of a large positive number overflows; of a large negative one it is merely 0.
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


@overload
def probability(logits: float, temperature: float | None) -> float: ...
@overload
def probability(logits: ArrayLike, temperature: float | None) -> NDArray[np.float64]: ...
def probability(logits: ArrayLike, temperature: float | None) -> float | NDArray[np.float64]:
    """Convert logits to P(fake), calibrated by temperature scaling.

    Parameters
    ----------
    logits
        A number, or an array of any shape; positive means fake.
    temperature
        Logits are divided by it (Guo et al. 2017, "On Calibration of Modern Neural Networks"); ``None`` where
        the model was never calibrated.

    Returns
    -------
    float or ndarray
        0..1, as :func:`sigmoid` returns it.
    """
    divisor = temperature or 1.0
    if isinstance(logits, (int, float, np.integer, np.floating)):
        return _sigmoid(float(logits) / divisor)
    return sigmoid(np.asarray(logits, np.float64) / divisor)


def softmax(z: ArrayLike) -> NDArray[np.float64]:
    """Compute the softmax over the last axis, which may have no elements, without overflow."""
    z = np.asarray(z, np.float64)
    powers = np.exp(z - z.max(-1, keepdims=True, initial=-np.inf)) if z.shape[-1] else z
    return powers / powers.sum(-1, keepdims=True) if z.shape[-1] else powers


def check_threshold(threshold: float) -> None:
    """Check that a threshold on P(fake) is a finite number above 0 and below 1.

    Raises
    ------
    ValueError
        It is not.
    """
    if not (is_finite_number(threshold) and 0 < threshold < 1):
        raise ValueError(f"threshold must lie between 0 and 1 (both excluded), not {threshold}")


def is_finite_number(value: object) -> TypeGuard[float]:
    """Tell whether a value is one finite real number within a float's range; booleans are not."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of a float
        return False


def plain(value: Any, digits: int | None = None) -> Any:
    """Convert a value to the types that JSON has.

    Parameters
    ----------
    value
        NumPy scalars and arrays, mappings, dataclasses (as mappings of their fields), sequences and sets are
        converted with everything in them; of any other type the text is taken.
    digits
        Decimal places that fractional numbers are rounded to; ``None`` keeps them as they are.

    Returns
    -------
    None, bool, int, float, str, list or dict
        NaN and infinities become ``None``. Text is valid UTF-8: the lone surrogates that stand for
        undecodable bytes in file names are written as escapes.
    """
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        if not math.isfinite(number):
            return None
        return number if digits is None else round(number, digits)
    if isinstance(value, Mapping):
        return {_text(key): plain(item, digits) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name), digits) for field in fields(value)}
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), digits)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, digits) for item in value]
    return _text(value)


def _text(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")
