"""Compile a model's network for LiteRT, check it against Keras, and keep it, so that this is done only once.

Where average pooling and a linear head follow the last map, the compiled network also returns what each cell
of that map adds to the logit (:mod:`redeepfake_nb.models.linear_head`).

A compiled file holds the network as a TensorFlow Lite flatbuffer, and after it a record in JSON: of which
model file, by which versions and with which options it was made, and what Keras computes for trial
pictures. LiteRT must reproduce them to ``TOLERANCE`` when the file is made and, some of them, whenever it is
opened; else the file is not used, and TensorFlow scores.

Compiled files are kept in the folder ``compiled`` of the cache folder. What a network computes cannot be told
from its file, so one is opened only from there, as long as nobody but its owner can write in that folder. A
file beside a model is never opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ..errors import OutputError, one_line_message
from ..faces.preprocessing import Preprocessing
from ..utils.keras_backend import buffered_stderr
from ..utils.memory import free_memory
from ..utils.numeric import softmax
from ..utils.versions import version_of
from ..utils.writing import atomic_file
from .card import Card
from .hub import cache_folder
from .linear_head import EvidenceMap, LinearHead, evidence_map, linear_head
from .runtimes import LiteRTNetwork, litert_installed

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from .classifier import Classifier

# Largest difference of a logit from that of Keras.
TOLERANCE = 1e-4
# Raised whenever networks are compiled, or recorded, in another way.
FORMAT = 4
SUFFIX = ".tflite"

_MAGIC = b"rdfnbLRT"
_TRAILER = struct.Struct("<Q8s")
_MAX_RECORD = 2**20
# Trial pictures that are scored each time that a compiled file is opened.
_QUICK = 2
# Cells of the noise of those trial pictures that look more like photographs than probe images do.
_NOISE_CELLS = (3, 6, 12, 24, 48, 96)
# LiteRT may be slower where XNNPACK lacks an operation of the network.
_MAX_SLOWDOWN = 1.5
_LOCK_TIMEOUT = 240.0
# The export and the converter hold copies of the weights: 1.6 GB for 205 MB, with TensorFlow 2.21.
_COPIES = 10
# In the record while a network is being compiled, and from then on if the process ends meanwhile.
_UNFINISHED = "not compiled to the end"
_MAX_ATTEMPTS = 2
_MAX_KEPT, _MAX_KEPT_BYTES = 40, 4 * 2**30


@dataclass(frozen=True)
class Identity:
    """What determines the network that a model file is loaded as.

    Parameters
    ----------
    sha256
        Of the model file.
    preprocessing
        As it was given or stands in the sidecar.
    output, positive_class
        How the file's own output is read; ``output`` is ``None`` where it is inferred from the file.
    architecture
        Name of the network that a weights-only file fills; empty for a file with a network of its own.
    kinds
        Of the sidecar: kinds of fakes that the network tells apart.
    """

    sha256: str
    preprocessing: Preprocessing
    output: str | None
    positive_class: str
    architecture: str = ""
    kinds: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; of the preprocessing, what the trial pictures depend on."""
        p = self.preprocessing
        pixels = {
            "input_size": p.input_size,
            "frames": p.frames,
            "value_range": p.value_range,
            "mean": p.mean,
            "std": p.std,
        }
        return json.loads(json.dumps({**self.__dict__, "preprocessing": pixels}))

    @property
    def file_name(self) -> str:
        """Name of the compiled file in the cache folder; other versions and options give another name."""
        made = {"format": FORMAT, "identity": self.to_dict(), "versions": compiler_versions()}
        digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
        return f"{self.sha256[:16]}-{digest[:16]}{SUFFIX}"


@dataclass(frozen=True)
class Compiled:
    """A compiled network that has been checked, or the reason why LiteRT cannot be used for a model.

    Parameters
    ----------
    record
        What was found when it was compiled.
    network
        ``None`` where ``refused`` says why there is none.
    """

    record: Mapping[str, Any]
    network: LiteRTNetwork | None = None
    refused: str = ""

    @property
    def evidence_map(self) -> EvidenceMap | None:
        """The map that the network returns beside its score, if it does."""
        found = self.record.get("evidence_map")
        return None if found is None or self.network is None else EvidenceMap.from_dict(found)

    def complete(self, card: Card) -> Card:
        """Return a card with what was learned from the model when it was loaded the first time."""
        found = self.record["card"]
        preprocessing = replace(card.preprocessing, frames=found["frames"])
        return replace(
            card,
            output=found["output"],
            unresponsive=found["unresponsive"],
            kinds=tuple(found["kinds"]),
            preprocessing=preprocessing,
        )


@dataclass
class _Trial:
    """How well a compiled network reproduces the logits of Keras, the kinds, and what cells add to the logit.

    Both arrays are (N, columns): the logit, ``kinds`` columns before their softmax, and those of the map.
    """

    expected: np.ndarray
    found: np.ndarray
    kinds: int

    @property
    def deviation(self) -> float:
        expected, found = (
            _as_scores(outputs, self.kinds) for outputs in (self.expected[: len(self.found)], self.found)
        )
        return float(np.abs(expected - found).max())

    @property
    def refused(self) -> str:
        if not self.deviation <= TOLERANCE:  # also where it is NaN
            return f"its compiled network deviates from Keras by {self.deviation:.2g} in the logit"
        return ""


def _as_scores(outputs: np.ndarray, kinds: int) -> np.ndarray:
    """Return what is read from a network's outputs: the logit, the softmax of kinds, and each cell's part.

    Probabilities of kinds are shown to two digits, so they may deviate ten times as much as the logit.
    """
    cells = outputs[:, 1 + kinds :]
    return np.hstack(
        [outputs[:, :1], softmax(outputs[:, 1 : 1 + kinds]) / 10, cells / max(cells.shape[1], 1)]
    )


def compiler_versions() -> dict[str, str]:
    """Return the versions that a compiled file depends on."""
    packages = ("tensorflow", "keras", "ai-edge-litert")
    return {package: version_of(package) for package in packages}


def trial_pictures(preprocessing: Preprocessing) -> np.ndarray:
    """Make the inputs on which a compiled network is compared with Keras.

    Returns
    -------
    numpy.ndarray
        (12, S, S, 3) float32: the probe images of :func:`~.classifier.probe_images`, and noise of six
        coarsenesses. (6, T, S, S, 3), the probe windows, for a model that takes T frames at once.
    """
    from .classifier import probe_images

    probes = probe_images(preprocessing)
    if preprocessing.frames > 1:
        return probes
    noise, size = probes[0], preprocessing.input_size
    coarse = [
        cv2.resize(noise[:cells, :cells], (size, size), interpolation=cv2.INTER_LINEAR)
        for cells in (min(cells, size) for cells in _NOISE_CELLS)
    ]
    return np.concatenate([probes, np.stack(coarse)])


def find(identity: Identity) -> Compiled | None:
    """Open the compiled file of a model; ``None`` where there is none that may be used, or none yet."""
    if not litert_installed():
        return None
    folder = _private_folder(create=False)
    if folder is None:
        return None
    path = folder / identity.file_name
    found = _open(path, identity) if path.is_file() else None
    if found is not None and found.refused == _UNFINISHED:
        return None  # another process may be at it
    if found is not None:
        with contextlib.suppress(OSError):
            os.utime(path)  # those used last are kept longest
    return found


def _open(path: Path, identity: Identity) -> Compiled | None:
    """Open a compiled file and have it score trial pictures; ``None`` where it is damaged or another's."""
    try:
        record = read_record(path)
        if record["format"] != FORMAT or record["identity"] != identity.to_dict():
            return None
        if record["refused"]:
            return Compiled(record, refused=record["refused"])
        card = record["card"]
        preprocessing = replace(identity.preprocessing, frames=card["frames"])
        network = LiteRTNetwork(path)
        kinds, found = len(card["kinds"]), record["evidence_map"]
        cells = 0 if found is None else EvidenceMap.from_dict(found).cells
        if (network.input_shape, network.columns) != (preprocessing.input_shape, 1 + kinds + cells):
            return None
        pictures = trial_pictures(preprocessing)[:_QUICK]
        trial = _Trial(np.array(record["outputs"], np.float64), network(pictures), kinds)
        if trial.refused:
            return Compiled(record, refused=trial.refused)
        return Compiled(record, network)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None


def read_record(path: Path) -> dict[str, Any]:
    """Read the record of a compiled file, and check that the network before it is complete.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is no compiled file of this package, or a damaged one.
    """
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        if end < _TRAILER.size:
            raise ValueError("no compiled file")
        file.seek(end - _TRAILER.size)
        size, magic = _TRAILER.unpack(file.read(_TRAILER.size))
        start = end - _TRAILER.size - size
        if magic != _MAGIC or size > _MAX_RECORD or start < 0:
            raise ValueError("no compiled file")
        file.seek(start)
        record = json.loads(file.read(size))
        if not isinstance(record, dict):
            raise ValueError("no compiled file")
        file.seek(0)
        digest, left = hashlib.sha256(), start
        while left and (block := file.read(min(left, 2**20))):
            digest.update(block)
            left -= len(block)
    if digest.hexdigest() != record.get("network_sha256"):
        raise ValueError("a damaged compiled file")
    return record


def compile_for_cache(classifier: Classifier, identity: Identity) -> Compiled:
    """Compile a classifier's network, check it, and keep it, or why it cannot be used, in the cache folder.

    Processes that do so at the same time wait for the first, at most four minutes. Where a process ended
    while it compiled a network, one more tries, and then none: the converter is native code and may end the
    process, which must not happen with each start.

    Returns
    -------
    Compiled
        What ``find`` would return from now on; where the cache folder cannot be used, why.
    """
    from filelock import FileLock, Timeout

    if not litert_installed():
        return Compiled({}, refused="the package ai-edge-litert is not installed")
    folder = _private_folder(create=True)
    if folder is None:
        where = cache_folder() / "compiled"
        return Compiled(
            {}, refused=f"its compiled network cannot be kept in {where}, which must be yours alone to write"
        )
    path = folder / identity.file_name
    with contextlib.ExitStack() as stack:
        try:
            lock = FileLock(path.with_suffix(".lock"))
            stack.enter_context(lock.acquire(timeout=_LOCK_TIMEOUT))
        except Timeout:
            return find(identity) or Compiled({}, refused="another process is still compiling its network")
        except (OSError, NotImplementedError):  # a file system without locks
            pass
        found = find(identity)
        if found is not None:
            return found
        attempts = _unfinished_attempts(path, identity)
        if attempts >= _MAX_ATTEMPTS:
            return Compiled(
                {},
                refused=f"the process that compiled its network ended {attempts} times before it was done; "
                f"delete {path} to try again",
            )
        needed = _COPIES * sum(weights.nbytes for weights in classifier.scoring_model.get_weights())
        if (free := free_memory()) is not None and free < needed:
            return Compiled(
                {},
                refused=f"compiling its network takes about {needed / 1e9:.1f} GB of memory, "
                f"of which {free / 1e9:.1f} GB are free",
            )
        try:
            started = {"refused": _UNFINISHED, "attempts": attempts + 1}
            _write(path, b"", _new_record(classifier, identity) | started)
            compile_to(path, classifier, identity)
            _prune(folder, keep=path)
        except OutputError as error:
            path.unlink(missing_ok=True)
            return Compiled({}, refused=f"its compiled network cannot be kept ({error.cause})")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return find(identity) or Compiled({}, refused="its compiled network cannot be read again")


def _unfinished_attempts(path: Path, identity: Identity) -> int:
    """Return how often a network was begun to be compiled and its process ended meanwhile."""
    found = _open(path, identity) if path.is_file() else None
    if found is None or found.refused != _UNFINISHED:
        return 0
    return int(found.record["attempts"])


def compile_to(path: Path, classifier: Classifier, identity: Identity) -> Mapping[str, Any]:
    """Compile a classifier's network, compare it with Keras on the trial pictures, and write both.

    Parameters
    ----------
    path
        The compiled file. Where the network cannot be used, it holds only the record, which says why.
    classifier
        Scored by TensorFlow.

    Returns
    -------
    mapping
        The record.

    Raises
    ------
    OutputError
        The file, or a temporary one, cannot be written.
    """
    import tensorflow as tf

    pictures = trial_pictures(classifier.preprocessing)
    model = classifier.scoring_model
    head, found = _evidence(classifier)
    outputs = _outputs(model, head)
    # One by one, since a window takes much memory.
    expected = np.concatenate([np.asarray(outputs(x[None])) for x in pictures]).astype(np.float64)
    record = {**_new_record(classifier, identity), "outputs": expected.tolist()}
    record["evidence_map"] = None if found is None else found.to_dict()
    best = b""
    with tempfile.TemporaryDirectory(prefix="compiled-") as folder:
        try:
            network = _convert(outputs, model, classifier.preprocessing.input_shape)
            tried = Path(folder) / f"network{SUFFIX}"
            tried.write_bytes(network)
            returned, slower = _tried_out(tried, pictures, outputs)
        except MemoryError:
            raise
        except (OSError, tf.errors.ResourceExhaustedError) as error:  # a full disk, which may pass
            raise OutputError(one_line_message(error), subject=path) from error
        except Exception as error:  # the converter and LiteRT raise whatever they meet
            record["refused"] = f"its network cannot be compiled ({one_line_message(error)})"
        else:
            trial = _Trial(expected, returned, len(classifier.card.kinds))
            refused = trial.refused
            if not refused and slower > _MAX_SLOWDOWN:
                refused = f"its compiled network takes {slower:.1f} times as long as TensorFlow's"
            record |= {"deviation": trial.deviation, "refused": refused}
            best = b"" if refused else network
    if not np.isfinite(record.get("deviation", 0.0)):
        record["deviation"] = None
    _write(path, best, record)
    return record


def _new_record(classifier: Classifier, identity: Identity) -> dict[str, Any]:
    """Return the record of a network that has not been compiled yet."""
    return {
        "format": FORMAT,
        "identity": identity.to_dict(),
        "versions": compiler_versions(),
        "card": {
            "output": identity.output or classifier.card.output,
            "frames": classifier.preprocessing.frames,
            "unresponsive": classifier.card.unresponsive,
            "kinds": list(classifier.card.kinds),
        },
        "refused": "",
    }


def _write(path: Path, network: bytes, record: Mapping[str, Any]) -> None:
    """Write a network, which is empty where it cannot be used, and its record as one file."""
    digest = hashlib.sha256(network).hexdigest()
    text = json.dumps({**record, "network_sha256": digest}, sort_keys=True).encode("ascii")
    with atomic_file(path) as part:
        part.write_bytes(network + text + _TRAILER.pack(len(text), _MAGIC))


def _evidence(classifier: Classifier) -> tuple[LinearHead | None, EvidenceMap | None]:
    """Return the linear head of a model over single pictures and the map that it averages, if it has both."""
    if classifier.preprocessing.frames > 1:
        return None, None
    head = linear_head(classifier.keras_model)
    found = None if head is None else evidence_map(classifier.keras_model, head)
    return (None, None) if found is None else (head, found)


def _outputs(model: keras.Model, head: LinearHead | None) -> Callable[[Any], tf.Tensor]:
    """Return the function that is compiled: of images, (N, columns).

    Columns are the model's outputs side by side, and with a linear head the cells of its map, row by row,
    each with its part of the logit times the number of cells.
    """
    import keras
    import tensorflow as tf

    added = [] if head is None else [one for one in (head.gate, head.features) if one is not None]
    every = [*model.outputs, *added]
    both = keras.Model(model.inputs[0], every)

    def outputs(images: Any) -> tf.Tensor:
        # A model of one output returns a tensor, not a list of one.
        made = keras.tree.flatten(both(images, training=False))
        if head is not None:
            cells = tf.tensordot(made.pop(), tf.constant(head.weights), 1)
            gate = 1.0 if head.gate is None else made.pop()[:, None, None, :]
            cells = tf.reduce_sum(cells * gate, axis=3)
            made.append(tf.reshape(cells, (-1, cells.shape[1] * cells.shape[2])))
        return tf.concat(made, axis=1)

    return outputs


def _convert(outputs: Callable[[Any], tf.Tensor], model: keras.Model, shape: tuple[int, ...]) -> bytes:
    """Convert a function of images, which uses the weights of ``model``, to a flatbuffer for a batch of one.

    By way of a SavedModel: a graph with its weights as constants would be copied at every step of the
    converter, and the process that compiles the model that ships would take 6.6 GB of memory instead of 3.2.
    """
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", outputs, input_signature=[tf.TensorSpec((1, *shape), tf.float32)])
    with tempfile.TemporaryDirectory(prefix="export-") as folder, buffered_stderr(), _quiet_export():
        archive.write_out(folder, verbose=False)
        return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def _tried_out(
    path: Path, pictures: np.ndarray, outputs: Callable[[Any], tf.Tensor]
) -> tuple[np.ndarray, float]:
    """Return what a compiled network returns for pictures, and how many times TensorFlow's time it takes.

    The network is closed at the end: on Windows a file that is mapped into memory cannot be deleted.
    """
    network = LiteRTNetwork(path)
    return network(pictures), _slowdown(network, outputs, pictures[:1])


@contextlib.contextmanager
def _quiet_export() -> Iterator[None]:
    """Keep TensorFlow from logging where the SavedModel is written, which notebooks would show."""
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _slowdown(network: LiteRTNetwork, outputs: Callable[[Any], tf.Tensor], picture: np.ndarray) -> float:
    """Return how many times as long as TensorFlow's compiled function LiteRT takes, in the best of 3 runs."""
    import tensorflow as tf

    compiled = tf.function(outputs, autograph=False).get_concrete_function(
        tf.TensorSpec(picture.shape, tf.float32)
    )
    image = tf.constant(picture)
    seconds: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(4):  # the first run of each allocates memory
        for which, run in enumerate((lambda: network(picture), lambda: np.asarray(compiled(image)))):
            start = time.perf_counter()
            run()
            seconds[which].append(time.perf_counter() - start)
    return min(seconds[0][1:]) / min(seconds[1][1:])


def _private_folder(create: bool) -> Path | None:
    """Return the folder of compiled files; ``None`` where it is not there or others may write in it."""
    folder = cache_folder() / "compiled"
    try:
        if create:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return None
    if os.name == "posix" and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
        return None
    return folder if os.access(folder, os.W_OK if create else os.R_OK) else None


def _prune(folder: Path, keep: Path) -> None:
    """Delete the compiled files that were used longest ago, beyond the limits on number and size."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    total = 0
    for number, (_, size, path) in enumerate(sorted(found, reverse=True), 1):
        total += size
        if path != keep and (number > _MAX_KEPT or total > _MAX_KEPT_BYTES):
            for old in (path, path.with_suffix(".lock")):
                with contextlib.suppress(OSError):
                    old.unlink()
