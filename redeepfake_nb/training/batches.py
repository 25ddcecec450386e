"""Training batches: pairs of a fake and a real face under the same augmentation, with pseudo-fakes.

Every batch is a function of the table, the recipe and the step number alone, so that a resumed run sees the
same batches as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from ..datasets.augmentation import apply, draw
from ..datasets.labelled_faces import LabelledFaces, batches
from ..datasets.landmarks import LandmarkStore
from ..datasets.originals import pair_up
from ..datasets.pseudo_fakes import NEEDS_LANDMARKS, NEEDS_OTHER, make_pseudo_fake
from ..datasets.warping import shape_distance
from ..errors import InputError
from ..faces.preprocessing import Preprocessing, prepare_crop
from .recipes import Recipe
from .source_mixture import SourceMixture, source_names

# How often a pair of a mixture, or another person, is drawn where pictures cannot be used.
_TRIES = 20
# How many other people are considered for a swap; the one whose pose is most similar is taken.
_PEERS = 3


class PairBatches:
    """Makes the batch of any step: balanced pairs of a fake and a real face.

    Without ``recipe.sources`` each epoch is a new permutation of the table's pairs; with them, pairs are
    drawn at random, source by source in proportion to the weights. Both faces of a pair get the same
    augmentation. Some fakes are replaced by pseudo-fakes of the pair's real face, in the shares that the
    recipe names. A pair that cannot be made is replaced by another; ``unreadable`` records why, as file ->
    cause.

    Parameters
    ----------
    faces
        Training faces.
    recipe
        Batch size, augmentation, sources, shares of pseudo-fakes, and seed.
    landmarks
        Cache of the real faces' landmarks, which only pseudo-fakes need; by default in memory.

    Raises
    ------
    ValueError
        There are no fakes (unless all are to be pseudo-fakes) or no real faces, or a source of the recipe has
        no face.
    """

    def __init__(self, faces: LabelledFaces, recipe: Recipe, landmarks: LandmarkStore | None = None) -> None:
        self.faces = faces
        self.recipe = recipe
        self.landmarks = landmarks or LandmarkStore(faces)
        self.unreadable: dict[str, str] = {}
        needs_fakes = recipe.pseudo_share[0] < 1
        self._mixture = SourceMixture(faces, recipe) if recipe.sources else None
        self.pairs = np.zeros((0, 2), np.int64) if self._mixture else pair_up(faces, fakes=needs_fakes)
        if not self._mixture and not len(self.pairs):
            raise ValueError(
                "there are no fake faces to train on; a recipe whose fakes are all pseudo-fakes needs none"
            )
        self._peers = _peers(faces) if recipe.pseudo_share[1] else {}
        # Number of each face's person, -1 where it is not known.
        self._people = pd.factorize(faces.table["identity"])[0]
        self.per_epoch = max(1, len(self.pairs) // recipe.batch_pairs)

    def rows(self, step: int) -> np.ndarray:
        """Return the rows of the table that make a step's batch, (P, 2): fake, real."""
        if self._mixture:
            return self._mixture.draw(step)
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
        count = self.recipe.batch_pairs
        candidates = self._candidates(step)
        x = np.empty((2, count, size, size, 3), np.float32)
        for i in range(count):
            change = draw(rng, strength)
            for side, image in enumerate(self._pair(candidates(i), step, i)):
                x[side, i] = apply(image, change, size)
        y = np.zeros((2, count, 1), np.float32)
        y[0] = 1
        return x.reshape(-1, size, size, 3), y.reshape(-1, 1)

    def _pair_indices(self, step: int) -> np.ndarray:
        epoch, position = divmod(step, self.per_epoch)
        order = np.random.default_rng([self.recipe.seed, 1, epoch]).permutation(len(self.pairs))
        chosen = np.arange(position * self.recipe.batch_pairs, (position + 1) * self.recipe.batch_pairs)
        return order[chosen % len(self.pairs)]

    def _candidates(self, step: int) -> Callable[[int], Iterator[tuple[int, int]]]:
        """Return a function that gives the i-th pair of a step, followed by those that may replace it."""
        if self._mixture:
            mixture, drawn = self._mixture, self._mixture.draw(step)

            def redrawn(i: int) -> Iterator[tuple[int, int]]:
                yield int(drawn[i, 0]), int(drawn[i, 1])
                for again in range(1, _TRIES):
                    fake, real = mixture.draw(step, again)[i]
                    yield int(fake), int(real)

            return redrawn
        indices = self._pair_indices(step)

        def following(i: int) -> Iterator[tuple[int, int]]:
            for k in range(len(self.pairs)):
                fake, real = self.pairs[(indices[i] + k) % len(self.pairs)]
                yield int(fake), int(real)

        return following

    def _pair(
        self, candidates: Iterator[tuple[int, int]], step: int, i: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the images, fake and real, of the first pair that can be made."""
        for attempt, (fake, real) in enumerate(candidates):
            # A separate generator, so that the draws of a pseudo-fake do not affect other pairs. Another one
            # for each attempt: the same draws would fail again.
            seed = [self.recipe.seed, 3, step, i]
            rng = np.random.default_rng([*seed, attempt] if attempt else seed)
            kind = self._pseudo_kind(rng.random(), step, always=self._mixture is not None and fake == real)
            try:
                image = self.faces.image(real)
                made = None if kind is None else self.pseudo_fake(kind, real, image, rng)
                if made is not None:
                    return made, image
                if fake != real:
                    return self.faces.image(fake), image
            except InputError as error:
                self.unreadable[str(error.subject)] = error.cause
        raise ValueError("no pair of faces can be made: pictures cannot be read, or no landmarks are found")

    def _pseudo_kind(self, u: float, step: int, always: bool) -> str | None:
        """Choose the kind of pseudo-fake, or none, by a number ``u`` in [0, 1)."""
        shares = self.recipe.pseudo_fakes_at(step)
        if always:
            u *= sum(shares.values())
        for kind, share in shares.items():
            if u < share:
                return kind
            u -= share
        return None

    def pseudo_fake(
        self, kind: str, row: int, image: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray | None:
        """Make a pseudo-fake of a real face; None where landmarks or another person are missing."""
        if kind not in NEEDS_LANDMARKS:
            return make_pseudo_fake(kind, image, None, rng)[0]
        points = self.landmarks.get(row, image)
        if points is None:
            return None
        other = None
        if kind in NEEDS_OTHER:
            other = self._other_person(row, points, rng)
            if other is None:
                return None
        return make_pseudo_fake(kind, image, points, rng, other=other)[0]

    def _other_person(
        self, row: int, points: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return a real face of another person of the same source, in the most similar pose of a few."""
        best, least, suitable = None, np.inf, 0
        for peer in rng.choice(self._peers[row], _TRIES).tolist():
            if suitable == _PEERS:
                break
            if peer == row or (self._people[row] >= 0 and self._people[peer] == self._people[row]):
                continue
            image = self.faces.image(peer)
            theirs = self.landmarks.get(peer, image)
            if theirs is None:
                continue
            suitable += 1
            distance = shape_distance(theirs, points)
            if distance < least:
                best, least = (image, theirs), distance
        return best


def _peers(faces: LabelledFaces) -> dict[int, np.ndarray]:
    """Return the rows of the real faces of each real face's source."""
    reals = np.flatnonzero(faces.y == 0)
    names = source_names(faces.table)[reals]
    rows = {name: reals[names == name] for name in set(names)}
    return {int(row): rows[name] for row, name in zip(reals, names, strict=True)}


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
