"""Run a binary Keras model as a face classifier that returns one logit per face, positive for fake."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import RedeepfakeError, UnsuitableModel, one_line_message
from ..faces.preprocessing import MAX_FRAMES, Preprocessing, single_picture_error
from ..utils.keras_backend import compile_function, import_keras
from ..utils.numeric import softmax
from ..utils.versions import version_of
from .card import Card
from .cost_limits import check_cost, faces_at_once
from .graph import spatial_cut_layer
from .heads import as_logit_model
from .kinds_output import KindsLayer, in_columns, with_kinds, without_kinds
from .runtimes import Deferred, gpu_memory

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from .compiled import Compiled
    from .linear_head import EvidenceMap


class _Network(NamedTuple):
    """A flat model with one logit, and the layer that tells kinds of fakes apart, where there is one."""

    model: keras.Model
    kinds: KindsLayer | None


class Score(NamedTuple):
    """The score of one face: ``logit``, and ``kinds``, kind of fake -> probability given that it is fake."""

    logit: float
    kinds: dict[str, float]


class Classifier:
    """A face classifier: a flat Keras model with one logit, and the card that belongs to it.

    A sequence model scores a window of T sightings of one face, T being ``preprocessing.frames``, as one.

    The card is the only place where preprocessing, calibration and threshold are kept; the properties of the
    same names read it. It does not change: :meth:`with_card` returns another classifier.

    Scores are computed by TensorFlow, or by LiteRT from a compiled copy of the network, where
    :func:`redeepfake_nb.load_model` found or made one; ``scored_by`` says which. Whoever changes weights of
    ``keras_model`` has to make a new classifier of it.

    Parameters
    ----------
    model
        Any binary Keras 3 model over one input, of images or of windows of frames. It is copied: flattened,
        and reduced to one logit per face or window.
    card
        How to feed the model. ``card.output`` and ``card.positive_class`` say how to read its own output. The
        number of frames is read from the model where its input has it.

    Attributes
    ----------
    device : str
        Device on which the last batch was scored: ``"CPU:0"``, ``"GPU:0"``; empty before the first.

    Raises
    ------
    UnsuitableModel
        The model has more than one input or another output shape, costs too much, has weights that are not
        finite, or fails on the probe images.
    """

    def __init__(self, model: keras.Model, card: Card | None = None) -> None:
        import_keras()
        self._card = card or Card()
        self.device = ""
        self._card = replace(self._card, preprocessing=self._with_frames(model))
        flat = self._flatten(model)
        if flat.kinds is None:
            self._card = replace(self._card, kinds=())
        self._network = Deferred(lambda: flat)
        self._compiled: Compiled | None = None
        self._check_input()
        check_cost(self.keras_model, self.name, self.preprocessing.frames)
        self._prepare()

    @classmethod
    def from_compiled(cls, card: Card, compiled: Compiled, read: Callable[[], keras.Model]) -> Classifier:
        """Return a classifier that LiteRT scores; its Keras model is read when it is first needed.

        Parameters
        ----------
        card
            Of a model that passed all checks of this class when its network was compiled.
        compiled
            The compiled network.
        read
            Reads the model from its file.
        """
        made = cls.__new__(cls)
        made._card = card
        made._network = Deferred(lambda: made._flatten(read()))
        made.use(compiled)
        return made

    def use(self, compiled: Compiled) -> None:
        """Score with a compiled network from now on, unless it is refused; ``scored_by`` says why."""
        self._compiled = compiled
        network = compiled.network
        if network is not None:
            self._score = network.mirrored if self.card.mirror else network
            self.device = "CPU:0"

    @property
    def keras_model(self) -> keras.Model:
        """The network, flat: (N, S, S, 3), or (N, T, S, S, 3) for T frames at once, float32 -> (N, 1) logit.

        ``mirror`` and ``shift`` of the card are not in it. Where LiteRT scores, the model is read from its
        file, and TensorFlow imported, when this is first used.
        """
        return self._network.get().model

    def prepare_keras(self) -> None:
        """Begin to import TensorFlow and to read ``keras_model`` in the background, unless it is there."""
        self._network.start()

    @property
    def scored_by(self) -> str:
        """What computes the scores, and why LiteRT does not where it was tried."""
        if self._compiled is not None and self._compiled.network is not None:
            return self._compiled.network.description
        device = f" on {self.device.split(':')[0]}" if self.device else ""
        why = f"; {self._compiled.refused}" if self._compiled is not None else ""
        return f"TensorFlow {version_of('tensorflow')}{device}{why}"

    @property
    def uses_litert(self) -> bool:
        """Whether LiteRT scores, one face at a time, so that larger batches are not faster."""
        return self._compiled is not None and self._compiled.network is not None

    @property
    def evidence_map(self) -> EvidenceMap | None:
        """The map whose cells' parts of the logit the compiled network returns beside the score.

        ``None`` where TensorFlow scores, or where more than average pooling and a linear head follows.
        """
        return None if self._compiled is None else self._compiled.evidence_map

    def evidence(self, batch: np.ndarray) -> np.ndarray:
        """Compute what each cell of :attr:`evidence_map` adds to the logit, without the mirror image.

        Parameters
        ----------
        batch
            (N, S, S, 3) float32 from :func:`redeepfake_nb.preprocess`.

        Returns
        -------
        numpy.ndarray
            (N, h, w) float32, positive for fake. The sum over a map and a constant is the network's logit.

        Raises
        ------
        ValueError
            There is no such map; another shape, or pixels that are not finite.
        """
        found = self.evidence_map
        if found is None or self._compiled is None or self._compiled.network is None:
            raise ValueError("this network returns no map beside its score")
        outputs = self._compiled.network(self._checked(batch))
        parts = outputs[:, 1 + len(self.card.kinds) :] / np.float32(found.cells)
        return parts.reshape(-1, *found.shape)

    @property
    def gpu_batch_size(self) -> int | None:
        """How many faces to score in one batch on a GPU, up to 128, so that its memory holds them.

        ``None`` where a CPU scores, on which large batches gain nothing.
        """
        memory = None if self.uses_litert else gpu_memory()
        return None if memory is None else faces_at_once(self.keras_model, memory)

    def with_card(self, card: Card) -> Classifier:
        """Return a classifier with another card that shares this one's network.

        Parameters
        ----------
        card
            Usually ``dataclasses.replace(classifier.card, ...)``. Its ``output`` and ``positive_class`` are
            either unchanged or ``"logit"`` and ``"fake"``, which is what ``keras_model`` returns.

        Raises
        ------
        ValueError
            Another ``output`` or ``positive_class``.
        UnsuitableModel
            The network does not take the card's input size.
        """
        before = self._card
        if (card.output, card.positive_class) not in (
            (before.output, before.positive_class),
            ("logit", "fake"),
        ):
            raise ValueError(
                "output and positive_class describe the network, so with_card cannot change them; "
                "build another Classifier"
            )
        other = copy.copy(self)
        other._card = replace(card, unresponsive=before.unresponsive)
        other.device = ""
        if (card.preprocessing, card.mirror) != (before.preprocessing, before.mirror):
            if card.preprocessing.input_shape != before.preprocessing.input_shape:
                other._check_input()
            other._prepare()
        return other

    def _prepare(self) -> None:
        """Compile the scoring function, check weights and scores, and note whether the scores differ."""
        if self.uses_litert and self._compiled is not None:
            self.use(self._compiled)
            self._check_scores()
            return
        import tensorflow as tf

        # One signature with an open batch axis: one trace for every batch size.
        images = tf.TensorSpec((None, *self.preprocessing.input_shape), tf.float32)
        model, mirror = self.scoring_model, self.card.mirror

        def forward(batch: tf.Tensor) -> tf.Tensor:
            columns = model(batch, training=False)
            if mirror:
                columns = (columns + model(batch[..., ::-1, :], training=False)) / 2
            return columns

        with self._typed_errors():
            self._score = compile_function(forward, images)
        self._check_scores()

    @property
    def scoring_model(self) -> keras.Model:
        """The network that is run to score: (N, ...) float32 -> (N, 1 + K), the logit and K kinds of fakes.

        K is the number of ``card.kinds``; without any it is ``keras_model``. The layers are the same.
        """
        return in_columns(*self._network.get())

    @property
    def saved_model(self) -> keras.Model:
        """The network as it is saved: ``keras_model``, with a second output where it tells kinds apart."""
        model, kinds = self._network.get()
        return model if kinds is None else with_kinds(model, kinds)

    @property
    def card(self) -> Card:
        """What is known about the model besides its weights."""
        return self._card

    @property
    def name(self) -> str:
        """The model's name and version, for titles and reports."""
        return f"{self._card.name} {self._card.version}"

    @property
    def preprocessing(self) -> Preprocessing:
        """How a face becomes the network's input."""
        return self._card.preprocessing

    @property
    def threshold(self) -> float:
        """The P(fake) from which a face is predicted fake."""
        return self._card.threshold

    @property
    def temperature(self) -> float | None:
        """Divisor of the logit before the sigmoid; ``None`` where the model was never calibrated."""
        return self._card.temperature

    @property
    def sha256(self) -> str | None:
        """SHA-256 of the file that the model was loaded from."""
        return self._card.sha256

    @property
    def calibrated(self) -> bool:
        """Whether a calibration was fitted, so that P(fake) can be read as a probability."""
        return self.temperature is not None

    @property
    def explain_layer(self) -> str:
        """The layer that heatmaps are computed at: the card's, else :func:`~.graph.spatial_cut_layer`."""
        return self._card.explain_layer or spatial_cut_layer(self.keras_model)

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Score a batch of preprocessed faces.

        Parameters
        ----------
        batch
            (N, S, S, 3) float32 from :func:`redeepfake_nb.preprocess`; N may be 0. (N, T, S, S, 3) where the
            model takes T frames at once.

        Returns
        -------
        numpy.ndarray
            (N,) float32 logits, positive for fake, with the card's ``mirror`` and ``shift`` applied.

        Raises
        ------
        UnsuitableModel
            A score is not finite, or the model takes several frames at once and these are single pictures.
        ValueError
            Another shape, or pixels that are not finite.
        """
        return self._columns(batch)[:, 0]

    def score(self, batch: np.ndarray) -> list[Score]:
        """Score a batch of preprocessed faces, and tell the kinds of fakes apart where the model does.

        Takes and raises what :meth:`logits` does.
        """
        columns = self._columns(batch)
        shares = softmax(columns[:, 1:])
        return [
            Score(float(logit), dict(zip(self.card.kinds, row, strict=True)))
            for logit, row in zip(columns[:, 0], shares.tolist(), strict=True)
        ]

    def _columns(self, batch: np.ndarray) -> np.ndarray:
        """Return (N, 1 + K) float32: the logits, and the kinds before the softmax."""
        batch = self._checked(batch)
        if len(batch) == 0:
            return np.zeros((0, 1 + len(self.card.kinds)), np.float32)
        scored = self._score(batch)
        if not self.uses_litert:
            self.device = scored.device.rpartition("device:")[2]
        scores = np.array(scored, np.float32)[:, : 1 + len(self.card.kinds)]
        scores[:, 0] += np.float32(self._card.shift)
        if not np.isfinite(scores).all():
            raise UnsuitableModel(
                f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite",
                subject=self.name,
                next_step="Check its weights and the value range of its input.",
            )
        return scores

    def _checked(self, batch: np.ndarray) -> np.ndarray:
        """Return a batch of inputs as float32, after checking its shape and its values."""
        batch = np.asarray(batch, np.float32)
        shape = self.preprocessing.input_shape
        if batch.shape[1:] != shape:
            if batch.ndim == 4 and len(batch):
                self.check_single_pictures()
            raise ValueError(f"a batch has the shape (N, {', '.join(map(str, shape))}), not {batch.shape}")
        if not np.isfinite(batch).all():
            # A ReLU may turn NaN into 0, and the score would look valid.
            raise ValueError("a batch holds values that are not finite")
        return batch

    def check_single_pictures(self, next_step: str | None = None) -> None:
        """Raise :class:`UnsuitableModel` where the model takes several frames of a video at once.

        Parameters
        ----------
        next_step
            What to do instead of scoring single pictures, as a sentence.
        """
        if self.preprocessing.frames > 1:
            words = () if next_step is None else (next_step,)
            raise single_picture_error(self.preprocessing.frames, self.name, *words)

    def _with_frames(self, model: keras.Model) -> Preprocessing:
        """Return the preprocessing, with the number of frames at once that the model's input has."""
        given = self.preprocessing
        # What has no single input of a known shape is refused when it is flattened.
        inputs = list(getattr(model, "inputs", None) or ())
        shape: tuple[Any, ...] = tuple(inputs[0].shape) if len(inputs) == 1 else ()
        if len(shape) == 4 and given.frames > 1:
            raise UnsuitableModel(
                f"it takes single pictures (input {shape}), but its preprocessing says {given.frames} frames",
                subject=self.name,
                next_step="Leave frames out of Preprocessing.",
            )
        if len(shape) != 5 or shape[-1] != 3:
            return given
        own = shape[1]
        if own is None:
            if given.frames > 1:
                return given
            raise UnsuitableModel(
                f"it takes frames of a video (input {shape}), and does not say how many at once",
                subject=self.name,
                next_step="Give the number that it was trained with: Preprocessing(frames=..., ...).",
            )
        if given.frames not in (1, own):
            raise UnsuitableModel(
                f"it takes {own} frames at once, but its preprocessing says {given.frames}",
                subject=self.name,
                next_step=f"Give Preprocessing(frames={own}, ...), or leave frames out.",
            )
        if not 1 < own <= MAX_FRAMES:
            raise UnsuitableModel(
                f"it takes {own} frames at once, and windows of 2 to {MAX_FRAMES} are supported",
                subject=self.name,
                next_step="Use a model over fewer frames."
                if own > 1
                else "Put a Reshape layer in front that adds the axis, and save a model that takes pictures.",
            )
        return replace(given, frames=own)

    def _flatten(self, model: keras.Model) -> _Network:
        card, given = self._card, self._card.preprocessing
        kinds: KindsLayer | None = None
        try:
            if card.kinds:
                model, kinds = without_kinds(model, len(card.kinds))
            flat = as_logit_model(model, card.output, card.positive_class, given.input_size, given.frames)
            return _Network(flat, kinds)
        except (RedeepfakeError, MemoryError):
            raise
        except Exception as error:  # Keras raises whatever its layers raise
            raise UnsuitableModel(
                f"its layers cannot be flattened into one graph ({one_line_message(error)})",
                subject=self.name,
                next_step="Build it from plain Keras layers, and save it again.",
            ) from error

    def _check_input(self) -> None:
        shape = tuple(self.keras_model.inputs[0].shape[1:])
        size, frames = self.preprocessing.input_size, self.preprocessing.frames
        if len(shape) not in (3, 4) or shape[-1] != 3:
            raise UnsuitableModel(
                f"its input has the shape {(None, *shape)}{_kind_of_input(shape)}, "
                "and faces are given as (batch, height, width, 3), or (batch, frames, height, width, 3)",
                subject=self.name,
                next_step="Use a model over RGB or BGR images with the channels last.",
            )
        window, (height, width) = list(shape[:-3]), shape[-3:-1]
        if window != ([frames] if frames > 1 else []):
            raise UnsuitableModel(
                f"it takes {window[0] if window else 1} frames at once, but its preprocessing says {frames}",
                subject=self.name,
                next_step="Give the number of frames that the model was built with.",
            )
        if None not in shape and height != width:
            raise UnsuitableModel(
                f"it takes images of {height} x {width} px (height x width), and faces are given as squares",
                subject=self.name,
                next_step="Resize its frames to squares in training."
                if window
                else "Put a layer in front that squeezes squares as in its training, and save that: "
                f"keras.Sequential([keras.Input(({max(height, width)}, {max(height, width)}, 3)), "
                f"keras.layers.Resizing({height}, {width}), model]).",
            )
        if any(side not in (None, size) for side in (height, width)):
            raise UnsuitableModel(
                f"it takes {height} x {width} px, but its preprocessing says {size}",
                subject=self.name,
                next_step=f"Give load_model(..., preprocessing=Preprocessing(input_size={height or width})).",
            )

    def _check_scores(self) -> None:
        for weight in () if self.uses_litert else self.keras_model.weights:
            if not np.isfinite(np.asarray(weight)).all():
                raise UnsuitableModel(
                    f"the weight {weight.path} holds values that are not finite",
                    subject=self.name,
                    next_step="Train it again, or use another file.",
                )
        with self._typed_errors():
            scores = self.logits(probe_images(self.preprocessing))
        self._card = replace(self._card, unresponsive=bool(np.ptp(scores) == 0))

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        """Raise :class:`UnsuitableModel` for whatever the backend raises when it runs the model."""
        try:
            yield
        except (UnsuitableModel, MemoryError):
            raise
        except Exception as error:  # the backend raises whatever its operations raise
            layers = self.keras_model.layers
            first = [x.name for x in layers if getattr(x, "data_format", None) == "channels_first"]
            step = "Build it from plain Keras layers, and save it again."
            if first:
                step = (
                    f"Its layer {first[0]} has the channels first; build it with data_format='channels_last'."
                )
            raise UnsuitableModel(
                f"it cannot be run on a probe image ({one_line_message(error)})",
                subject=self.name,
                next_step=step,
            ) from error


def _kind_of_input(shape: tuple[int | None, ...]) -> str:
    """Say in a clause what a model with such an input was made for, where that is known."""
    if len(shape) == 4 and shape[1] == 3:
        return ", so it takes several frames at once with their channels first"
    if len(shape) in (3, 4) and shape[-1] == 1:
        return ", so it takes grey images"
    if len(shape) == 2:
        return ", so it takes features that another network computes"
    if len(shape) == 3 and shape[0] == 3:
        return ", so its channels come first"
    return ""


def probe_images(preprocessing: Preprocessing) -> np.ndarray:
    """Make the images that a model is checked with when it is loaded or converted.

    Returns
    -------
    numpy.ndarray
        (6, S, S, 3) float32 in the model's value range, mean and deviation: noise, saturated colour patches,
        black, white, a vertical and a horizontal gradient. For a model that takes T frames at once, (6, T, S,
        S, 3): each of these images turns gradually into the next one, so that windows differ in what they
        show and in how it changes.
    """
    size, (low, high) = preprocessing.input_size, preprocessing.value_range
    rng = np.random.default_rng(0)
    side = -(-size // 8)
    patches = rng.integers(0, 2, (8, 8, 3)).repeat(side, 0).repeat(side, 1)
    black = np.zeros((size, size, 3))
    gradient = black + np.linspace(0, 1, size)[:, None, None]
    images = [
        rng.random((size, size, 3)),
        patches[:size, :size],
        black,
        black + 1,
        gradient,
        gradient.swapaxes(0, 1),
    ]
    values = low + np.stack(images) * (high - low)
    values -= 0.0 if preprocessing.mean is None else preprocessing.mean
    values /= 1.0 if preprocessing.std is None else preprocessing.std
    values = values.astype(np.float32)
    if preprocessing.frames == 1:
        return values
    share = np.linspace(0, 1, preprocessing.frames, dtype=np.float32)[:, None, None, None]
    return values[:, None] * (1 - share) + np.roll(values, -1, axis=0)[:, None] * share
