"""Which kinds of fakes a model was tested on, how well it detects each, and what it cannot see.

A score under the threshold says only that the model found nothing it knows. What it does not know has to be
said in the same breath, or the score reassures where it must not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..utils.numeric import is_finite_number

FakeKind = Literal["swapped", "reenacted", "generated", "edited"]

# As a reader is told of them, in the order in which they are named.
KINDS: dict[FakeKind, str] = {
    "generated": "wholly generated faces",
    "swapped": "swapped faces",
    "reenacted": "re-enacted faces",
    "edited": "faces edited by hand",
}

# Area under the ROC curve below which a kind counts as not detected. At 0.85 a random fake scores below a
# random real face in 15 of 100 pairs, and a threshold that few real faces reach misses a good part of the
# fakes: of those of an AUC of 0.80 the model that ships misses 57 of 100, edits by hand.
DETECTED = 0.85


@dataclass(frozen=True)
class KindResult:
    """How well a model separates one kind of fakes from real faces.

    Parameters
    ----------
    kind
        One of :data:`KINDS`.
    generator
        What made the fakes, such as ``"StyleGAN2"``; the data set's name where several did.
    auc, low, high
        Area under the ROC curve of these fakes against ``reals``, 0..1, and its 95 % interval.
    fakes, reals
        How many faces of each were scored.
    against
        Where the real faces came from.
    trained_on
        Whether fakes of this generator were among the training data (the tested faces never were).
    """

    kind: FakeKind
    generator: str
    auc: float
    low: float
    high: float
    fakes: int
    reals: int
    against: str = ""
    trained_on: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(sorted(KINDS))}, not {self.kind!r}")
        for name in ("auc", "low", "high"):
            value = getattr(self, name)
            if not is_finite_number(value) or not 0 <= value <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {value!r}")
        if not self.low <= self.auc <= self.high:
            raise ValueError(f"auc {self.auc} must lie between low {self.low} and high {self.high}")
        if not (isinstance(self.generator, str) and self.generator and isinstance(self.against, str)):
            raise ValueError("generator and against must be text, and generator must not be empty")
        if not all(
            isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in (self.fakes, self.reals)
        ):
            raise ValueError("fakes and reals must be numbers of faces above 0")
        if not isinstance(self.trained_on, bool):
            raise ValueError(f"trained_on must be true or false, not {self.trained_on!r}")

    @property
    def detected(self) -> bool:
        """Whether the AUC reaches :data:`DETECTED` and its interval lies above chance."""
        return self.auc >= DETECTED and self.low > 0.5

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> KindResult:
        """Inverse of :meth:`to_dict`.

        Raises
        ------
        ValueError
            An unknown or missing key, or a value out of range.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"a result on one kind of fakes is not understood: {error}") from error


def undetected(results: Sequence[KindResult]) -> list[str]:
    """Name what the model was tested on and does not detect, in the order of :data:`KINDS`.

    A kind of which no tested generator is detected is named as a whole (``"wholly generated faces"``); of a
    kind that is detected in part, the missed generators are named (``"swapped faces by InSwapper"``).
    """
    found = []
    for kind, words in KINDS.items():
        tested = [result for result in results if result.kind == kind]
        missed = [result.generator for result in tested if not result.detected]
        if missed and len(missed) == len(tested):
            found.append(words)
        elif missed:
            found.append(f"{words} by {listed(dict.fromkeys(missed))}")
    return found


def untested(results: Sequence[KindResult]) -> list[str]:
    """Name the kinds of :data:`KINDS` that no result speaks of."""
    tested = {result.kind for result in results}
    return [words for kind, words in KINDS.items() if kind not in tested]


def only_familiar(results: Sequence[KindResult]) -> list[str]:
    """Name the detected kinds of which every tested generator was in the training data.

    A generator that the model has not seen may well be missed.
    """
    missed = set(undetected(results))
    found = []
    for kind, words in KINDS.items():
        tested = [result for result in results if result.kind == kind]
        if tested and words not in missed and all(result.trained_on for result in tested):
            found.append(words)
    return found


def blind_spots(results: Sequence[KindResult]) -> str:
    """Finish the sentence "No sign of manipulation found, but ...".

    Returns
    -------
    str
        Such as ``"this model does not detect wholly generated faces, and was not tested on swapped faces"``;
        empty where every kind was tested, also by generators that were not trained on, and is detected.
    """
    if not results:
        return "nothing is known about which kinds of fakes this model detects"
    clauses = []
    if missed := undetected(results):
        clauses.append(f"does not detect {listed(missed, 'or')}")
    if familiar := only_familiar(results):
        every = len(familiar) == len({result.kind for result in results})
        fakes = "fakes" if every else listed(familiar)
        clauses.append(f"was tested on {fakes} only with generators that it was trained on")
    if unknown := untested(results):
        clauses.append(f"was not tested on {listed(unknown, 'or')}")
    if not clauses:
        return ""
    # Clauses hold an "and" of their own, so a comma stands before the last one as well.
    *first, end = clauses
    return f"this model {', '.join([*first, f'and {end}']) if first else end}"


def listed(words: Iterable[str], last: str = "and") -> str:
    """Join words as in a sentence: ``"a, b and c"``."""
    *first, end = words
    return f"{', '.join(first)} {last} {end}" if first else end
