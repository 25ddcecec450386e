"""Draw training pairs from several sources in given proportions.

Sources differ in framing, sharpness and compression. If fakes came mostly from some of them and real faces
from others, a network would learn to recognise the source. Hence every fake is paired with a real face of
the same making, and both get the same augmentation, so that within a pair only the manipulation differs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..datasets.labelled_faces import LabelledFaces
from ..datasets.originals import originals_of
from .recipes import Recipe, Source


def source_names(table: pd.DataFrame) -> np.ndarray:
    """Return the source of each row, (N,) object: the column ``source``, or ``""`` without it."""
    if "source" not in table:
        return np.full(len(table), "", object)
    return table["source"].fillna("").to_numpy(object)


def source_reals(source: Source, names: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rows of the genuine faces that a source's fakes are compared with, by their source."""
    return {name: np.flatnonzero((names == name) & (y == 0)) for name in source.real or (source.name,)}


@dataclass(frozen=True, eq=False)
class _Pool:
    """Rows that one source's pairs are drawn from."""

    fakes: np.ndarray  # (F,) rows; empty: pseudo-fakes of the source's own real faces
    originals: list[list[int]]  # (F,) the rows of each fake's own original, empty where it is not known
    reals: dict[str, np.ndarray]  # by source


class SourceMixture:
    """Draws pairs of a fake and a real face from the sources of a recipe, in proportion to their weights.

    Parameters
    ----------
    faces
        With a column ``source``.
    recipe
        With ``sources``.

    Raises
    ------
    ValueError
        A source has no faces, or no real faces to pair its fakes with, or has only real faces while the
        recipe makes no pseudo-fakes.
    """

    def __init__(self, faces: LabelledFaces, recipe: Recipe) -> None:
        self.recipe = recipe
        names, y = source_names(faces.table), faces.y
        originals = originals_of(faces)
        self._pools: dict[str, _Pool] = {}
        for source in recipe.sources:
            fakes = np.flatnonzero((names == source.name) & (y == 1))
            pool = _Pool(fakes, [originals[i] for i in fakes], source_reals(source, names, y))
            self._check(source.name, pool)
            self._pools[source.name] = pool
        for number, stage in enumerate(recipe.stages, start=1):
            if not self._weights(stage.leave_out)[0]:
                raise ValueError(f"stage {number} leaves out every source")

    def draw(self, step: int, again: int = 0) -> np.ndarray:
        """Draw the pairs of a step.

        Parameters
        ----------
        step
            Number of the step, from 0.
        again
            Other numbers give other pairs of the same sources.

        Returns
        -------
        numpy.ndarray
            (P, 2) int64 rows: fake, real. Both are the same real face where a pseudo-fake is to be made.
        """
        left_out = self.recipe.stage_at(step).leave_out
        names, shares = self._weights(left_out)
        rng = np.random.default_rng([self.recipe.seed, 4, step])
        count = self.recipe.batch_pairs
        # One random offset for evenly spaced points keeps each source's number of pairs within one of its
        # share in every batch.
        points = (rng.random() + np.arange(count)) / count
        chosen = np.searchsorted(np.cumsum(shares)[:-1], points, side="right")
        rng = np.random.default_rng([self.recipe.seed, 5, step, again])
        return np.array([self._pair(names[k], left_out, rng) for k in chosen], np.int64)

    def _pair(self, name: str, left_out: tuple[str, ...], rng: np.random.Generator) -> tuple[int, int]:
        pool = self._pools[name]
        reals = [rows for source, rows in pool.reals.items() if source not in left_out and len(rows)]
        # Drawn in any case, so that one pair's draws do not depend on another's outcome.
        k, u, v = rng.random(3)
        among = reals[int(u * len(reals))]
        real = int(among[int(v * len(among))])
        if not len(pool.fakes):
            return real, real
        fake = int(k * len(pool.fakes))
        own = pool.originals[fake]
        return int(pool.fakes[fake]), own[int(v * len(own))] if own else real

    def _weights(self, left_out: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
        """Return the sources that take part, and their shares, which add up to 1.

        A source whose fakes would have no real face left takes no part either.
        """
        weights = {}
        for source in self.recipe.sources:
            pool = self._pools[source.name]
            left = any(name not in left_out and len(rows) for name, rows in pool.reals.items())
            if source.name not in left_out and left:
                weights[source.name] = source.weight
        total = sum(weights.values())
        return list(weights), np.array([weight / total for weight in weights.values()])

    def _check(self, name: str, pool: _Pool) -> None:
        absent = [source for source, rows in pool.reals.items() if not len(rows)]
        if absent:
            raise ValueError(f"the source {', '.join(absent)} has no real faces, which {name} needs")
        if not len(pool.fakes) and not self.recipe.pseudo_share[0]:
            raise ValueError(f"the source {name} has no fakes, and the recipe makes no pseudo-fakes")
