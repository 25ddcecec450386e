"""Training batches: pairs of a fake and its original under one change, self-blended fakes among them.

Every batch is a function of the table, the recipe and the step's number alone, so that a resumed run sees
the batches that an unbroken one would have seen.
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
    """Batch ``step`` of a run: (2P, S, S, 3) float32 0..255 and (2P, 1) float32 labels, fakes first.

    Each epoch is a fresh permutation of the pairs. Both faces of a pair get the same augmentation. A share
    ``recipe.self_blend`` of the fakes are self-blended copies of the pair's real face. A pair that cannot
    be made gives its place to the next one in the table's order; why, is kept in ``unreadable``.

    Parameters
    ----------
    landmarks
        Where the real faces' landmarks are kept; by default in memory. Only self-blending asks for them.

    Raises
    ------
    ValueError
        No fakes (unless all are to be self-blended) or no real faces.
    """

    def __init__(self, faces: LabelledFaces, recipe: Recipe, landmarks: LandmarkStore | None = None) -> None:
        self.faces = faces
        self.recipe = recipe
        self.landmarks = landmarks or LandmarkStore(faces)
        self.pairs = pair_up(faces, fakes=recipe.self_blends[0] < 1)
        if not len(self.pairs):
            raise ValueError("there are no fake faces to train on; a recipe with self_blend = 1 needs none")
        self.per_epoch = max(1, len(self.pairs) // recipe.batch_pairs)
        # File -> cause, of pictures that were met on the way.
        self.unreadable: dict[str, str] = {}

    def rows(self, step: int) -> np.ndarray:
        """(P, 2) rows of this batch: fake, real."""
        return self.pairs[self._places(step)]

    def make(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The batch of one step. Raises ValueError where no pair at all can be made."""
        rng = np.random.default_rng([self.recipe.seed, 2, step])
        strength = self.recipe.augmentation_at(step)
        places = self._places(step)
        x = np.empty((2, len(places), size, size, 3), np.float32)
        for i, place in enumerate(places):
            change = draw(rng, strength)
            for side, image in enumerate(self._pair(place, step, i)):
                x[side, i] = apply(image, change, size)
        y = np.zeros((2, len(places), 1), np.float32)
        y[0] = 1
        return x.reshape(-1, size, size, 3), y.reshape(-1, 1)

    def ahead(self, start: int, stop: int, size: int, depth: int = 3) -> Iterator:
        """Batches ``start`` to ``stop``, made by one thread a few steps ahead of their use."""
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self.make, s, size) for s in range(start, min(start + depth, stop))]
            for step in range(start, stop):
                batch = waiting.pop(0).result()
                if step + depth < stop:
                    waiting.append(pool.submit(self.make, step + depth, size))
                yield step, batch

    def _places(self, step: int) -> np.ndarray:
        epoch, place = divmod(step, self.per_epoch)
        order = np.random.default_rng([self.recipe.seed, 1, epoch]).permutation(len(self.pairs))
        chosen = np.arange(place * self.recipe.batch_pairs, (place + 1) * self.recipe.batch_pairs)
        return order[chosen % len(self.pairs)]

    def _pair(self, place: int, step: int, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Images of a pair, fake and real, or those of the next pair that can be made."""
        for k in range(len(self.pairs)):
            fake, real = self.pairs[(place + k) % len(self.pairs)]
            # A generator of its own: how much a blend draws must not change what other pairs get.
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
                self.unreadable[error.subject] = error.cause
        raise ValueError("no pair of faces can be made: pictures cannot be read, or no face is found in them")


def score_faces(
    score: Callable[[np.ndarray], np.ndarray],
    faces: LabelledFaces,
    preprocessing: Preprocessing,
    batch: int = 64,
) -> np.ndarray:
    """Logits of all faces of a table, (N,) float32, with the very preprocessing that inference uses.

    ``score`` takes (n, S, S, 3) float32 and gives n logits: ``Classifier.logits``, or a model's
    ``predict_on_batch``.
    """
    logits = []
    for part in batches(len(faces), batch):
        x = np.stack([prepare_crop(faces.image(i), preprocessing) for i in range(part.start, part.stop)])
        logits.append(np.asarray(score(x), np.float32).reshape(-1))
    return np.concatenate(logits)
