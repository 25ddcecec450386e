"""Model files <-> classifiers: load, save, and the model that ships."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HashMismatch, ModelIncomplete, OutputError, UnsafeModel
from ..faces.preprocessing import Preprocessing
from .card import Card, Output, PositiveClass, read_sidecar, sidecar_of
from .classifier import Classifier
from .graph import output_of
from .hub import NAMED, converted
from .input_convention import ask
from .named_architectures import build_named
from .serialization.archive import deflate, describe, replace_both
from .serialization.build import Read, fill_weights, read_model

if TYPE_CHECKING:
    import keras


_PACKAGE = Path(__file__).resolve().parents[1]


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
        downloaded once (:mod:`redeepfake_nb.models.hub`); ``None`` for the model that ships. The sidecar is
        the file with the same name that ends in ``.json``.
    preprocessing, positive_class
        Override the sidecar; must be given where there is none.
    output
        Overrides the sidecar. Where neither says it, it is read from the model's last activation.
    architecture
        For files that hold weights alone: a name that :func:`redeepfake_nb.build_model` knows, ``"Meso4"``,
        or a Keras 3 model to be filled. A sidecar's ``architecture`` serves as well.
    trust
        Load what is beyond the lists in :mod:`redeepfake_nb.models.serialization.allowlist` too: code in the file (Lambda) then
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
    """The file of a path, of a name of :mod:`redeepfake_nb.models.hub`, or of the model that ships."""
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
