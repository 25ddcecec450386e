"""Training batches: pairs of a fake and its original under the same augmentation, with self-blended fakes.

Every batch is a function of the table, the recipe and the step number alone, so that a resumed run sees the
same batches as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..datasets.augmentation import apply, draw
from ..datasets.labelled_faces import LabelledFaces, batches, pair_up
from ..datasets.landmarks import LandmarkStore
from ..datasets.self_blending import self_blend
from ..errors import InputError
from ..faces.preprocessing import Preprocessing, prepare_crop
from .recipes import Recipe


class PairBatches:
    """Makes the batch of any step: balanced pairs of a fake and a real face.

    Each epoch is a new permutation of the pairs. Both faces of a pair get the same augmentation. A share
    ``recipe.self_blend`` of the fakes are self-blended copies of the pair's real face. A pair that cannot be
    made is replaced by the next one in the table; ``unreadable`` records why, file -> cause.

    Parameters
    ----------
    faces
        Training faces.
    recipe
        Batch size, augmentation, share of self-blended fakes, and seed.
    landmarks
        Cache of the real faces' landmarks, which only self-blending needs; by default in memory.

    Raises
    ------
    ValueError
        There are no fakes (unless all are to be self-blended) or no real faces.
    """

    def __init__(self, faces: LabelledFaces, recipe: Recipe, landmarks: LandmarkStore | None = None) -> None:
        self.faces = faces
        self.recipe = recipe
        self.landmarks = landmarks or LandmarkStore(faces)
        self.pairs = pair_up(faces, fakes=recipe.self_blends[0] < 1)
        if not len(self.pairs):
            raise ValueError("there are no fake faces to train on; a recipe with self_blend = 1 needs none")
        self.per_epoch = max(1, len(self.pairs) // recipe.batch_pairs)
        self.unreadable: dict[str, str] = {}

    def rows(self, step: int) -> np.ndarray:
        """Return the rows of the table that make a step's batch, (P, 2): fake, real."""
        return self.pairs[self._pair_indices(step)]

    def make(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Make the batch of one step.

        Parameters
        ----------
        step
            Number of the step, from 0.
        size
            Side of the images in pixels.

        Returns
        -------
        x : (2P, size, size, 3) float32, 0..255
            P fakes, then their P real faces in the same order.
        y : (2P, 1) float32
            1 for fake, 0 for real.

        Raises
        ------
        ValueError
            Not a single pair can be made.
        """
        rng = np.random.default_rng([self.recipe.seed, 2, step])
        strength = self.recipe.augmentation_at(step)
        indices = self._pair_indices(step)
        x = np.empty((2, len(indices), size, size, 3), np.float32)
        for i, index in enumerate(indices.tolist()):
            change = draw(rng, strength)
            for side, image in enumerate(self._pair(index, step, i)):
                x[side, i] = apply(image, change, size)
        y = np.zeros((2, len(indices), 1), np.float32)
        y[0] = 1
        return x.reshape(-1, size, size, 3), y.reshape(-1, 1)

    def prefetched(
        self, start: int, stop: int, size: int, depth: int = 3
    ) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
        """Yield ``(step, batch)`` from ``start`` up to ``stop``, made ``depth`` steps ahead by a thread."""
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self.make, s, size) for s in range(start, min(start + depth, stop))]
            for step in range(start, stop):
                batch = waiting.pop(0).result()
                if step + depth < stop:
                    waiting.append(pool.submit(self.make, step + depth, size))
                yield step, batch

    def _pair_indices(self, step: int) -> np.ndarray:
        epoch, position = divmod(step, self.per_epoch)
        order = np.random.default_rng([self.recipe.seed, 1, epoch]).permutation(len(self.pairs))
        chosen = np.arange(position * self.recipe.batch_pairs, (position + 1) * self.recipe.batch_pairs)
        return order[chosen % len(self.pairs)]

    def _pair(self, index: int, step: int, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the images of a pair, fake and real, or of the next pair that can be made."""
        for k in range(len(self.pairs)):
            fake, real = self.pairs[(index + k) % len(self.pairs)].tolist()
            # A separate generator, so that the draws of a blend do not affect other pairs.
            rng = np.random.default_rng([self.recipe.seed, 3, step, i])
            blended = rng.random() < self.recipe.self_blend_at(step)
            try:
                image = self.faces.image(real)
                points = self.landmarks.get(real, image) if blended else None
                if points is not None:
                    return self_blend(image, points, rng)[0], image
                if fake != real:
                    return self.faces.image(fake), image
            except InputError as error:
                self.unreadable[str(error.subject)] = error.cause
        raise ValueError("no pair of faces can be made: pictures cannot be read, or no landmarks are found")


def score_faces(
    score: Callable[[np.ndarray], np.ndarray],
    faces: LabelledFaces,
    preprocessing: Preprocessing,
    batch: int = 64,
) -> np.ndarray:
    """Score all faces of a table with the preprocessing of inference.

    Parameters
    ----------
    score
        Maps (n, S, S, 3) float32 to n logits: ``Classifier.logits``, or a Keras model's ``predict_on_batch``.
    faces
        The faces.
    preprocessing
        The model's.
    batch
        Faces per forward pass.

    Returns
    -------
    numpy.ndarray
        Logits, (N,) float32.
    """
    logits = []
    for part in batches(len(faces), batch):
        x = np.stack([prepare_crop(faces.image(i), preprocessing) for i in range(part.start, part.stop)])
        logits.append(np.asarray(score(x), np.float32).reshape(-1))
    return np.concatenate(logits)
