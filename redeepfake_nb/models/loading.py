"""Load classifiers from model files, save them, and find the model that ships with the package."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import (
    HashMismatch,
    ModelIncomplete,
    OutputError,
    UnsafeModel,
    UnsuitableModel,
)
from ..faces.preprocessing import Preprocessing
from ..utils.hashing import sha256_of
from .card import Card, Output, PositiveClass, read_sidecar, sidecar_of
from .class_names import positive_class_of
from .classifier import Classifier
from .compiled import Compiled, Identity, compile_for_cache, find
from .heads import infer_output
from .hub import HUB_MODELS, cached_model
from .input_convention import input_size_of, missing_architecture_error, missing_convention_error
from .named_architectures import build_for_weights
from .runtimes import Runtime, chosen_runtime, has_gpu
from .serialization.archive import Description, compress, describe, replace_both
from .serialization.build import LoadedModel, fill_weights, read_model

if TYPE_CHECKING:
    import keras


_PACKAGE = Path(__file__).resolve().parents[1]


def default_model_path() -> Path:
    """Return the path of the model that ships: in an installed package, or in ``models/`` of a checkout.

    Raises
    ------
    ModelIncomplete
        It is in neither.
    """
    for folder in (_PACKAGE / "_models", _PACKAGE.parent / "models"):
        if (folder / "default.keras").is_file():
            return folder / "default.keras"
    raise ModelIncomplete(
        "the model that ships with the package is not there",
        subject="default.keras",
        next_step="Install redeepfake_nb again, or give load_model a path.",
    )


def load_model(
    name_or_path: str | Path | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    positive_class: PositiveClass | None = None,
    class_names: Sequence[str] | None = None,
    output: Output | None = None,
    architecture: str | keras.Model | None = None,
    trust: bool = False,
    sha256: str | None = None,
    runtime: Runtime | None = None,
) -> Classifier:
    """Load a classifier: a model file, and the preprocessing that its sidecar states.

    Parameters
    ----------
    name_or_path
        A ``.keras`` or ``.h5`` file of Keras 3 or Keras 2; a name such as ``"redeepfake-v1.3"``, which is
        downloaded once (:mod:`redeepfake_nb.models.hub`); ``None`` for the model that ships. The sidecar is
        the file with the same name that ends in ``.json``.
    preprocessing, positive_class
        Override the sidecar; required where there is none. ``positive_class`` is the class that a high output
        means; of two columns, the class of the second. A model that is used otherwise than its sidecar states
        counts as not calibrated and not tested.
    class_names
        In place of ``positive_class``: the two classes in the order of the model's columns, such as
        ``("fake", "real")``, which is the alphabetical order in which Keras numbers them.
    output
        Overrides the sidecar; where neither states it, it is inferred from the model's last activation.
    architecture
        For weights-only files: a name that :func:`redeepfake_nb.build_model` knows, ``"Meso4"``, or a Keras 3
        model to be filled. By default the sidecar's ``architecture``.
    trust
        Also load classes that are not on the lists of
        :mod:`redeepfake_nb.models.serialization.allowlist`: code in the file (Lambda layers) then RUNS, with
        all your rights. Requires ``sha256``; every report mentions it.
    sha256
        The SHA-256 that the file must have, hexadecimal.
    runtime
        What computes scores: ``"tensorflow"``; ``"litert"``, which needs neither TensorFlow nor Keras once
        the model's compiled network is in the cache; or ``"auto"``, which is LiteRT on a CPU, as long as its
        logits agree with those of Keras to 1e-4, else TensorFlow. Default: the environment variable
        ``REDEEPFAKE_NB_RUNTIME``, else ``"auto"``. A network is compiled when its file is first loaded,
        which takes about a minute for the model that ships.

    Raises
    ------
    ModelIncomplete
        No such file, or preprocessing or architecture are not known; the message says what to give. It comes
        last: a model that no preprocessing would make usable is refused for that.
    NotAModel
        Another kind of file, or a damaged one.
    UnsafeModel
        The file asks for code, other files, or more memory than a model needs.
    HashMismatch
        The file does not have the SHA-256 of the sidecar or of ``sha256``.
    UnsuitableModel
        It loads, but is no binary face classifier; or ``runtime`` is ``"litert"``, which cannot run it.
    UnknownChoice
        There is no such runtime; also a ``ValueError``.
    ValueError
        ``class_names`` are not a fake and a real class, or contradict ``positive_class``.
    """
    if class_names is not None:
        if positive_class not in (None, positive_class_of(class_names)):
            raise ValueError(
                f"positive_class is {positive_class}, but class_names ends in {class_names[1]!r}"
            )
        positive_class = positive_class_of(class_names)
    if isinstance(name_or_path, str) and name_or_path in HUB_MODELS:
        _check_hash(HUB_MODELS[name_or_path].sha256, sha256, name_or_path, "the call")
        sha256 = None
    path = model_path(name_or_path)
    description = describe(path)
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
    if architecture is None and description.config is None and card is not None:
        architecture = card.architecture
    if isinstance(architecture, str):
        # A card may say more than the name: "EfficientNetB4, 17,000,000 weights".
        architecture = architecture.split(",")[0].strip()
    output_known = output is not None or card is not None
    if card is None:
        if preprocessing is None or positive_class is None:
            raise _missing_convention(
                path, description, architecture, trust, preprocessing, positive_class, output
            )
        card = Card(name=path.stem)
    given: dict[str, Any] = {
        "preprocessing": preprocessing,
        "positive_class": positive_class,
        "output": output,
    }
    changed = {key: value for key, value in given.items() if value is not None}
    if any(getattr(card, key) != value for key, value in changed.items()):
        # What the sidecar says was measured holds for its own preprocessing and output only, calibration too.
        changed |= {"metrics": {}, "tested_on": (), "temperature": None, "shift": 0.0}
    card = replace(card, sha256=digest, **changed)
    if description.config is not None and architecture is not None:
        raise ValueError(f"{path.name} has an architecture of its own; leave architecture out")
    if isinstance(architecture, str):
        card = replace(card, architecture=architecture)
    convention = card.preprocessing
    identity = Identity(
        digest,
        convention,
        card.output if output_known else None,
        card.positive_class,
        architecture if isinstance(architecture, str) else "",
        card.kinds,
    )

    def read() -> LoadedModel:
        if description.config is not None:
            return read_model(path, description, trust)
        return _load_weights(path, architecture, convention.input_size)

    def read_later() -> LoadedModel:
        # The file may have been written anew since, and scores and heatmaps must be of the same network.
        if sha256_of(path) != digest:
            raise HashMismatch(
                "the file has changed since the model was loaded from it",
                subject=path,
                next_step="Load the model again.",
            )
        return read()

    chosen = chosen_runtime(runtime)
    # What LiteRT runs is told apart by the model's file, and a model that was trusted may hold any code.
    unfit = "it was trusted" if trust else "" if isinstance(architecture, str | None) else "it has no file"
    if chosen == "auto" and (unfit or has_gpu()):
        chosen = "tensorflow"
    compiled: Compiled | None = None
    if chosen != "tensorflow":
        compiled = Compiled({}, refused=unfit) if unfit else find(identity)
        if compiled is not None and compiled.network is not None:
            return Classifier.from_compiled(compiled.complete(card), compiled, lambda: read_later().model)
    loaded = read()
    if not output_known:
        card = replace(card, output=infer_output(loaded.model))
    classifier = Classifier(loaded.model, replace(card, trusted=loaded.trusted))
    if chosen != "tensorflow":
        compiled = compiled or compile_for_cache(classifier, identity)
        if chosen == "litert" and compiled.network is None:
            raise UnsuitableModel(
                f"LiteRT cannot score it: {compiled.refused}",
                subject=path,
                next_step='Leave runtime at "auto", and TensorFlow scores it.',
            )
        classifier.use(compiled)
    return classifier


def _missing_convention(
    path: Path,
    description: Description,
    architecture: object = None,
    trust: bool = False,
    preprocessing: Preprocessing | None = None,
    positive_class: PositiveClass | None = None,
    output: Output | None = None,
) -> ModelIncomplete:
    """Make the error for a model without a sidecar.

    Raises
    ------
    NotAModel, UnsafeModel, UnsuitableModel
        No convention would help: the model cannot be loaded, or is no binary face classifier.
    """
    model = None
    if description.config is not None:
        loaded = read_model(path, description, trust).model
        size, frames = input_size_of(description.config)
        # What the model leaves open has no bearing on these checks; a number of frames is read from it.
        size = size if size is not None and 8 <= size <= 4096 else 224
        stand_in = preprocessing or Preprocessing(size, frames=8 if frames is None else 1)
        card = Card(path.stem, preprocessing=stand_in, output=output or infer_output(loaded))
        model = Classifier(loaded, card).keras_model
    return missing_convention_error(
        path,
        description.config,
        architecture,
        model=model,
        preprocessing=preprocessing,
        positive_class=positive_class,
        output=output,
    )


def _load_weights(path: Path, architecture: str | keras.Model | None, input_size: int) -> LoadedModel:
    """Fill the network of that name, or the given one, with the weights of a file."""
    if architecture is None or architecture == "unknown":
        raise missing_architecture_error(path)
    model = architecture
    if isinstance(architecture, str):
        model = build_for_weights(architecture, path, input_size)
    fill_weights(model, path)
    return LoadedModel(model)


def _check_hash(digest: str, expected: str | None, subject: object, source: str) -> None:
    if expected and expected.lower() != digest:
        raise HashMismatch(
            f"its SHA-256 is {digest[:12]}…, but {source} says {expected[:12]}…",
            subject=subject,
            next_step="Copy the file and its sidecar again from their source.",
        )


def _convert(original: Path, card: Card, destination: Path) -> None:
    """Write a downloaded file as a Keras 3 file with a sidecar, so that it is translated only once."""
    loaded = read_model(original, describe(original))
    save_model(Classifier(loaded.model, replace(card, converted_from=sha256_of(original))), destination)


def read_card(name_or_path: str | Path | None = None) -> Card:
    """Read a model's card and add its file's SHA-256; the model is not loaded unless it has no card.

    Parameters
    ----------
    name_or_path
        As for :func:`load_model`.

    Raises
    ------
    ModelIncomplete, NotAModel, UnsafeModel, HashMismatch
        As :func:`load_model`, as far as the configuration and the sidecar show it.
    """
    path = model_path(name_or_path)
    description = describe(path)
    digest = sha256_of(path)
    card = read_sidecar(path)
    if card is None:
        raise _missing_convention(path, description)
    _check_hash(digest, card.sha256, path, "its sidecar")
    return replace(card, sha256=digest)


def model_path(name_or_path: str | Path | None) -> Path:
    """Return the file of a path, of a name of :mod:`redeepfake_nb.models.hub`, or of the model that ships."""
    if isinstance(name_or_path, str) and name_or_path in HUB_MODELS:
        return cached_model(HUB_MODELS[name_or_path], _convert)
    return default_model_path() if name_or_path is None else Path(name_or_path)


@lru_cache(maxsize=1)
def default_classifier() -> Classifier:
    """Load the model that ships, once per process."""
    return load_model()


def save_model(classifier: Classifier, path: str | Path) -> Path:
    """Write a model and its sidecar; after a failure neither is there.

    Parameters
    ----------
    path
        Path that ends in ``.keras``. The sidecar lies beside it and holds the file's SHA-256.

    Raises
    ------
    OutputError
        The files cannot be written.
    ValueError
        Another suffix.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"models are saved as .keras files, not {path.suffix or 'without a suffix'}")
    # The classifier's network returns a logit that means fake, whatever the original file returned.
    card = replace(classifier.card, output="logit", positive_class="fake")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
            weights = Path(folder) / path.name
            classifier.saved_model.save(weights)
            compress(weights)
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
