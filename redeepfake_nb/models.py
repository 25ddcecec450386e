"""Models and the habits they were trained with: weights file + JSON sidecar <-> :class:`Classifier`."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .backend import import_keras
from .errors import HashMismatch, ModelIncomplete, NotAModel, OutputError, UnsafeModel, UnsuitableModel
from .graphs import as_logit_model, spatial_cut_layer
from .model_files import check_config, deflate, model_format, read_config, replace_both
from .preprocessing import Preprocessing

if TYPE_CHECKING:
    import keras

Output = Literal["logit", "probability", "softmax"]
PositiveClass = Literal["fake", "real"]
_PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Card:
    """What is known about a model besides its weights; the JSON sidecar holds it.

    Parameters
    ----------
    positive_class
        What a high output means.
    output
        What the last layer gives: a ``logit``, a sigmoid ``probability``, or a two-way ``softmax`` whose
        second column is the positive class.
    temperature
        Logits are divided by it before the sigmoid (Guo et al. 2017, "On Calibration of Modern Neural
        Networks"). ``None``: never calibrated.
    threshold
        Cut on P(fake).
    mirror
        Whether a face's logit is the mean of its own and its mirror image's.
    min_face
        Shorter side in pixels below which faces were rare in training.
    min_sharpness
        Sharpness below which faces were rare in training; see ``Face.sharpness``.
    metrics
        Measured figures, each with its split and interval, as plain JSON.
    """

    name: str = "unnamed"
    version: str = "0"
    architecture: str = "unknown"
    sha256: str | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    output: Output = "logit"
    positive_class: PositiveClass = "fake"
    temperature: float | None = None
    threshold: float = 0.5
    explain_layer: str | None = None
    mirror: bool = False
    min_face: int | None = None
    min_sharpness: float | None = None
    licence: str = "unknown"
    training_data: str = "unknown"
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.output not in ("logit", "probability", "softmax"):
            raise ValueError(f"output must be logit, probability or softmax, not {self.output!r}")
        if self.positive_class not in ("fake", "real"):
            raise ValueError(f"positive_class must be fake or real, not {self.positive_class!r}")
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be positive, not {self.temperature}")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie between 0 and 1, not {self.threshold}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        values = asdict(self)
        values["preprocessing"] = self.preprocessing.to_dict()
        values["metrics"] = dict(self.metrics)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Card:
        """Inverse of :meth:`to_dict`.

        Raises
        ------
        ValueError
            An unknown key or a value out of range.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"a card is an object with named values, not {type(values).__name__}")
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}")
        values = dict(values)
        if "preprocessing" in values:
            values["preprocessing"] = Preprocessing.from_dict(values["preprocessing"])
        return cls(**values)


class Classifier:
    """A face classifier: a flat Keras model with one logit, and the card that belongs to it.

    Parameters
    ----------
    model
        Any binary Keras 3 model over one image input; it is laid flat and given one logit per face.
    card
        Its habits. ``card.output`` and ``card.positive_class`` say how to read the model's own output.

    Raises
    ------
    UnsuitableModel
        More than one input, another output shape, weights that are not finite, or a probe that is not.
    """

    def __init__(self, model: keras.Model, card: Card | None = None) -> None:
        import_keras()
        import tensorflow as tf

        self.card = card or Card()
        self.preprocessing = self.card.preprocessing
        self.threshold = self.card.threshold
        self.temperature = self.card.temperature
        self.sha256 = self.card.sha256
        self.keras_model = as_logit_model(model, self.card.output, self.card.positive_class)
        self._check_input()
        size = self.preprocessing.input_size
        # One signature with an open batch axis: one trace for every batch size.
        self._score = tf.function(
            self._forward,
            input_signature=[tf.TensorSpec((None, size, size, 3), tf.float32)],
            autograph=False,  # there is no Python control flow in it to translate
        )
        self._check_scores()

    def _forward(self, batch):
        logits = self.keras_model(batch, training=False)
        if self.card.mirror:
            logits = (logits + self.keras_model(batch[:, :, ::-1], training=False)) / 2
        return logits[:, 0]

    @property
    def name(self) -> str:
        """The model's name and version, for titles and reports."""
        return f"{self.card.name} {self.card.version}"

    @property
    def calibrated(self) -> bool:
        """Whether a probability was fitted to be one."""
        return self.temperature is not None

    @property
    def explain_layer(self) -> str:
        """The layer heatmaps are taken from: the card's, else the deepest map all evidence passes through."""
        return self.card.explain_layer or spatial_cut_layer(self.keras_model)

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Score a batch.

        Parameters
        ----------
        batch
            (N, S, S, 3) float32 from :func:`redeepfake_nb.preprocess`; N may be 0.

        Returns
        -------
        numpy.ndarray
            (N,) float32 logits, positive meaning fake.

        Raises
        ------
        UnsuitableModel
            A score is not finite.
        ValueError
            Another shape, or pixels that are not finite.
        """
        batch = np.asarray(batch, np.float32)
        size = self.preprocessing.input_size
        if batch.ndim != 4 or batch.shape[1:] != (size, size, 3):
            raise ValueError(f"a batch has the shape (N, {size}, {size}, 3), not {batch.shape}")
        if not np.isfinite(batch).all():
            # A rectifier may turn NaN into 0, and a score would come back as if nothing were wrong.
            raise ValueError("a batch holds values that are not finite")
        if len(batch) == 0:
            return np.zeros(0, np.float32)
        scores = np.asarray(self._score(batch), np.float32)
        if not np.isfinite(scores).all():
            raise UnsuitableModel(
                f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite",
                subject=self.name,
                next_step="Check its weights and the value range it is fed.",
            )
        return scores

    def _check_input(self) -> None:
        shape = self.keras_model.inputs[0].shape
        size = self.preprocessing.input_size
        if len(shape) != 4 or shape[3] != 3:
            raise UnsuitableModel(
                f"its input has the shape {tuple(shape)}, not (batch, height, width, 3)",
                subject=self.name,
                next_step="Use a model over RGB or BGR pictures.",
            )
        if any(side not in (None, size) for side in shape[1:3]):
            raise UnsuitableModel(
                f"it takes {shape[1]} x {shape[2]} px, but its preprocessing says {size}",
                subject=self.name,
                next_step=f"Give load_model(..., preprocessing=Preprocessing(input_size={shape[1]})).",
            )

    def _check_scores(self) -> None:
        for weight in self.keras_model.weights:
            if not np.isfinite(np.asarray(weight)).all():
                raise UnsuitableModel(
                    f"the weight {weight.path} holds values that are not finite",
                    subject=self.name,
                    next_step="Train it again, or take another file.",
                )
        low, high = self.preprocessing.value_range
        size = self.preprocessing.input_size
        probe = np.random.default_rng(0).uniform(low, high, (2, size, size, 3)).astype(np.float32)
        self.logits(probe)


# ------------------------------------------------------------------ files


def default_model_path() -> Path:
    """The model that ships: inside an installed package, or in ``models/`` of a checkout.

    Raises
    ------
    ModelIncomplete
        Neither is there.
    """
    for folder in (_PACKAGE / "_models", _PACKAGE.parent / "models"):
        if (folder / "default.keras").is_file():
            return folder / "default.keras"
    raise ModelIncomplete(
        "the model that ships with the package is not there",
        subject="default.keras",
        next_step="Install redeepfake_nb again, or give load_model a path.",
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_model(
    name_or_path: str | Path | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    positive_class: PositiveClass | None = None,
    output: Output | None = None,
    sha256: str | None = None,
) -> Classifier:
    """Load a model with its habits.

    Parameters
    ----------
    name_or_path
        A ``.keras`` or Keras 3 ``.h5`` file; ``None`` for the model that ships. The sidecar is the file
        with the same name that ends in ``.json``.
    preprocessing, positive_class, output
        Override the sidecar; without a sidecar ``preprocessing`` and ``positive_class`` must be given.
    sha256
        What the file must hash to.

    Raises
    ------
    ModelIncomplete
        No such file, or no sidecar and the model's habits are not given.
    NotAModel
        Something else under that name.
    UnsafeModel
        It asks for code.
    HashMismatch
        The file is not the one the sidecar or ``sha256`` speaks of.
    UnsuitableModel
        It loads, but is no binary face classifier.
    """
    path = default_model_path() if name_or_path is None else Path(name_or_path)
    model_format(path)
    digest = sha256_of(path)
    config = read_config(path)
    card = _read_card(path, config, preprocessing, positive_class)
    _check_digest(path, digest, card, sha256)
    changes: dict[str, Any] = {"sha256": digest}
    if preprocessing is not None:
        changes["preprocessing"] = preprocessing
    if positive_class is not None:
        changes["positive_class"] = positive_class
    if output is not None:
        changes["output"] = output
    check_config(config, path)
    return Classifier(_load_keras(path), replace(card, **changes))


def read_card(name_or_path: str | Path | None = None) -> Card:
    """The card of a model with its file's SHA-256; the model itself is not loaded.

    ``name_or_path`` and the errors are those of :func:`load_model`, as far as they can be told from outside.
    """
    path = default_model_path() if name_or_path is None else Path(name_or_path)
    model_format(path)
    digest = sha256_of(path)
    card = _read_card(path, read_config(path), None, None)
    _check_digest(path, digest, card)
    return replace(card, sha256=digest)


def _check_digest(path: Path, digest: str, card: Card, sha256: str | None = None) -> None:
    for expected, source in ((sha256, "the call"), (card.sha256, "its sidecar")):
        if expected and expected.lower() != digest:
            raise HashMismatch(
                f"its SHA-256 is {digest[:12]}…, but {source} says {expected[:12]}…",
                subject=path,
                next_step="Copy the file and its sidecar again from where they came.",
            )


@lru_cache(maxsize=1)
def default_classifier() -> Classifier:
    """The model that ships, loaded once per process."""
    return load_model()


def _read_card(
    path: Path,
    config: dict[str, Any],
    preprocessing: Preprocessing | None,
    positive_class: PositiveClass | None,
) -> Card:
    sidecar = path.with_suffix(".json")
    if sidecar.is_file():
        try:
            values = json.loads(sidecar.read_text(encoding="utf-8"))
            card = Card.from_dict(values)
            missing = [key for key in ("preprocessing", "output", "positive_class") if key not in values]
            if missing:
                raise ValueError(f"it does not say {', '.join(missing)}")
            return card
        except (ValueError, TypeError, OSError) as error:
            raise ModelIncomplete(
                f"the sidecar cannot be read: {error}", subject=sidecar, next_step="Correct or replace it."
            ) from error
    if preprocessing is None or positive_class is None:
        size = _input_size(config)
        likely = f"input_size={size}" if size else "input_size=..."
        raise ModelIncomplete(
            "it has no sidecar, so its colour order, value range and the meaning of its output are unknown",
            subject=path,
            next_step=(
                f"Say them: load_model(path, preprocessing=Preprocessing({likely}, color_order=..., "
                'value_range=(..., ...)), positive_class="fake" or "real", output=...).'
            ),
        )
    return Card(name=path.stem, preprocessing=preprocessing, positive_class=positive_class)


def _input_size(config: Mapping[str, Any]) -> int | None:
    """The side of the input as the configuration states it."""
    text = json.dumps(config)
    for key in ('"batch_shape": [', '"batch_input_shape": ['):
        at = text.find(key)
        if at >= 0:
            sides = text[at + len(key) :].split("]")[0].split(",")
            if len(sides) == 4 and sides[1].strip().isdigit():
                return int(sides[1])
    return None


def _load_keras(path: Path) -> keras.Model:
    import_keras()
    import keras

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except MemoryError:
        raise
    except Exception as error:  # Keras raises whatever its layers raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        if "unsafe" in str(error).lower():
            raise UnsafeModel(lines[0], subject=path, next_step="Do not open it.") from error
        raise NotAModel(
            f"Keras cannot load it ({lines[0][:200]})",
            subject=path,
            next_step="Save it again with Keras 3, or check that the file is whole.",
        ) from error


def save_model(classifier: Classifier, path: str | Path) -> Path:
    """Write a model and its sidecar; both are complete or neither is there.

    Parameters
    ----------
    path
        Ends in ``.keras``. The sidecar lies beside it and holds the file's SHA-256.

    Raises
    ------
    OutputError
        It cannot be written.
    ValueError
        Another ending.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"models are saved as .keras files, not {path.suffix or 'without ending'}")
    # as_logit_model has already turned the output into a logit that means fake.
    card = replace(classifier.card, output="logit", positive_class="fake")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
            weights = Path(folder) / path.name
            classifier.keras_model.save(weights)
            deflate(weights)
            card = replace(card, sha256=sha256_of(weights))
            sidecar = Path(folder) / path.with_suffix(".json").name
            sidecar.write_text(json.dumps(card.to_dict(), indent=2) + "\n", encoding="utf-8")
            replace_both(weights, path, sidecar, path.with_suffix(".json"))
    except OSError as error:
        raise OutputError(
            f"the model cannot be written ({error.strerror or error})",
            subject=path,
            next_step="Check free space and permissions.",
        ) from error
    return path
