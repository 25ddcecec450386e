"""Model files and the habits beside them <-> :class:`Classifier`, one logit that means fake."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .backend import import_keras
from .cards import Card, Output, PositiveClass, read_sidecar, sidecar_of
from .errors import (
    HashMismatch,
    ModelIncomplete,
    OutputError,
    RedeepfakeError,
    UnsafeModel,
    UnsuitableModel,
    in_one_line,
)
from .graph_cost import check_cost
from .graphs import as_logit_model, output_of, spatial_cut_layer
from .habits import ask
from .model_building import Read, fill_weights, read_model
from .model_files import deflate, describe, replace_both
from .named_models import NAMED, converted
from .named_networks import build_named
from .preprocessing import Preprocessing

if TYPE_CHECKING:
    import keras

_PACKAGE = Path(__file__).resolve().parent


class Classifier:
    """A face classifier: a flat Keras model with one logit, and the card that belongs to it.

    Parameters
    ----------
    model
        Any binary Keras 3 model over one image input; it is laid flat and given one logit per face.
    card
        Its habits. ``card.output`` and ``card.positive_class`` say how to read the model's own output.

    Attributes
    ----------
    device : str
        What the last batch was scored on: ``"CPU:0"``, ``"GPU:0"``; empty before the first.

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
        self.device = ""
        size = self.preprocessing.input_size
        self.keras_model = self._laid_flat(model)
        self._check_input()
        check_cost(self.keras_model, self.name)
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
        scored = self._score(batch)
        self.device = scored.device.rpartition("device:")[2]
        scores = np.asarray(scored, np.float32) + np.float32(self.card.shift)
        if not np.isfinite(scores).all():
            raise UnsuitableModel(
                f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite",
                subject=self.name,
                next_step="Check its weights and the value range it is fed.",
            )
        return scores

    def _laid_flat(self, model: keras.Model) -> keras.Model:
        card = self.card
        try:
            return as_logit_model(model, card.output, card.positive_class, card.preprocessing.input_size)
        except (RedeepfakeError, MemoryError):
            raise
        except Exception as error:  # Keras raises whatever its layers raise
            raise UnsuitableModel(
                f"its layers cannot be laid out as one graph ({in_one_line(error)})",
                subject=self.name,
                next_step="Build it from plain Keras layers, and save it again.",
            ) from error

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
        try:
            scores = self.logits(_trial_pictures(self.preprocessing))
        except (UnsuitableModel, MemoryError):
            raise
        except Exception as error:  # the backend raises whatever its operations raise
            raise UnsuitableModel(
                f"it cannot be run on a trial picture ({in_one_line(error)})",
                subject=self.name,
                next_step="Check its input and its data format; channels must come last.",
            ) from error
        self.card = replace(self.card, unresponsive=bool(np.ptp(scores) == 0))


def _trial_pictures(preprocessing: Preprocessing) -> np.ndarray:
    """(4, S, S, 3) float32: noise, patches of strong colours, darkness and light."""
    size, (low, high) = preprocessing.input_size, preprocessing.value_range
    rng = np.random.default_rng(0)
    side = -(-size // 8)
    patches = rng.integers(0, 2, (8, 8, 3)).repeat(side, 0).repeat(side, 1)
    dark = np.zeros((size, size, 3))
    pictures = [rng.random((size, size, 3)), patches[:size, :size], dark, dark + 1]
    return (low + np.stack(pictures) * (high - low)).astype(np.float32)


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
    architecture: str | keras.Model | None = None,
    trust: bool = False,
    sha256: str | None = None,
) -> Classifier:
    """Load a model with its habits.

    Parameters
    ----------
    name_or_path
        A ``.keras`` or ``.h5`` file of Keras 3 or Keras 2; a name such as ``"redeepfake-v1.3"``, which is
        downloaded once (:mod:`redeepfake_nb.named_models`); ``None`` for the model that ships. The sidecar is
        the file with the same name that ends in ``.json``.
    preprocessing, positive_class
        Override the sidecar; must be given where there is none.
    output
        Overrides the sidecar. Where neither says it, it is read from the model's last activation.
    architecture
        For files that hold weights alone: a name that :func:`redeepfake_nb.build_model` knows, ``"Meso4"``,
        or a Keras 3 model to be filled. A sidecar's ``architecture`` serves as well.
    trust
        Load what is beyond the lists in :mod:`redeepfake_nb.allowlist` too: code in the file (Lambda) then
        RUNS, with all your rights. Needs ``sha256``; stands in every report.
    sha256
        What the file must hash to.

    Raises
    ------
    ModelIncomplete
        No such file, or the model's habits or architecture are not known; the message says what to give.
    NotAModel
        Something else under that name, or a damaged file.
    UnsafeModel
        It asks for code, other files, or more memory than a model needs.
    HashMismatch
        The file is not the one the sidecar or ``sha256`` speaks of.
    UnsuitableModel
        It loads, but is no binary face classifier.
    """
    if isinstance(name_or_path, str) and name_or_path in NAMED:
        _check_hash(NAMED[name_or_path].sha256, sha256, name_or_path, "the call")
        sha256 = None
    path = model_path(name_or_path)
    described = describe(path)
    digest = sha256_of(path)
    card = read_sidecar(path)
    _check_hash(digest, sha256, path, "the call")
    _check_hash(digest, card.sha256 if card else None, path, "its sidecar")
    if trust and sha256 is None:
        raise UnsafeModel(
            "trust=True needs the SHA-256 of the file you trust",
            subject=path,
            next_step="Get it from the model's author and give it: load_model(..., trust=True, sha256=...).",
        )
    if isinstance(architecture, str) or (architecture is None and described.config is None and card):
        # A card says more than the name: "EfficientNetB4, 17,000,000 weights".
        architecture = (architecture or card.architecture).split(",")[0].strip()
    if card is None:
        if preprocessing is None or positive_class is None:
            raise ask(path, described.config, architecture)
        card = Card(name=path.stem, preprocessing=preprocessing, positive_class=positive_class)
        said = output is not None
    else:
        said = True
    changes: dict[str, Any] = {"sha256": digest}
    for key, value in (
        ("preprocessing", preprocessing), ("positive_class", positive_class), ("output", output)
    ):  # fmt: skip
        if value is not None:
            changes[key] = value
    card = replace(card, **changes)
    if described.config is not None:
        if architecture is not None:
            raise ValueError(f"{path.name} has an architecture of its own; leave architecture out")
        read = read_model(path, described, trust)
    else:
        read = _filled(path, architecture, card.preprocessing.input_size)
        if isinstance(architecture, str):
            card = replace(card, architecture=architecture)
    if not said:
        card = replace(card, output=output_of(read.model))
    return Classifier(read.model, replace(card, trusted=read.trusted))


def _filled(path: Path, architecture: str | keras.Model | None, input_size: int) -> Read:
    """A network of that name, or the given one, with the weights of a file."""
    if architecture is None or architecture == "unknown":
        raise ask(path, None, None)
    model = architecture
    if isinstance(architecture, str):
        model = build_named(architecture, path, input_size)
    fill_weights(model, path)
    return Read(model)


def _check_hash(digest: str, expected: str | None, subject: object, source: str) -> None:
    if expected and expected.lower() != digest:
        raise HashMismatch(
            f"its SHA-256 is {digest[:12]}…, but {source} says {expected[:12]}…",
            subject=subject,
            next_step="Copy the file and its sidecar again from where they came.",
        )


def _convert(original: Path, card: Card, destination: Path) -> None:
    """A file that needs translating -> one of ours, so that translating is done once."""
    read = read_model(original, describe(original))
    save_model(Classifier(read.model, replace(card, converted_from=sha256_of(original))), destination)


def read_card(name_or_path: str | Path | None = None) -> Card:
    """The card of a model with its file's SHA-256; the model itself is not loaded.

    ``name_or_path`` and the errors are those of :func:`load_model`, as far as they can be told from outside.
    """
    path = model_path(name_or_path)
    described = describe(path)
    digest = sha256_of(path)
    card = read_sidecar(path)
    if card is None:
        raise ask(path, described.config, None)
    _check_hash(digest, card.sha256, path, "its sidecar")
    return replace(card, sha256=digest)


def model_path(name_or_path: str | Path | None) -> Path:
    """The file of a path, of a name of :mod:`redeepfake_nb.named_models`, or of the model that ships."""
    if isinstance(name_or_path, str) and name_or_path in NAMED:
        return converted(NAMED[name_or_path], _convert)
    return default_model_path() if name_or_path is None else Path(name_or_path)


@lru_cache(maxsize=1)
def default_classifier() -> Classifier:
    """The model that ships, loaded once per process."""
    return load_model()


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
            sidecar = Path(folder) / sidecar_of(path).name
            sidecar.write_text(json.dumps(card.to_dict(), indent=2) + "\n", encoding="utf-8")
            replace_both(weights, path, sidecar, sidecar_of(path))
    except OSError as error:
        raise OutputError(
            f"the model cannot be written ({error.strerror or error})",
            subject=path,
            next_step="Check free space and permissions.",
        ) from error
    return path
