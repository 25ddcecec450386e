"""Who is who among labelled faces, so that a split can keep a person on one side."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np
import pandas as pd

from ..errors import InputError
from ..models.embedding import embed_faces
from .labelled_faces import LabelledFaces
from .landmarks import LandmarkStore

# Largest mean distance within a person; face_recognition's own limit for two pictures. See identify().
SAME_PERSON = 0.6


def identify(
    faces: LabelledFaces,
    *,
    distance: float = SAME_PERSON,
    progress: Callable[[int, int], None] | None = None,
) -> LabelledFaces:
    """Group faces by person where the table does not say who they are.

    A fake takes the identity of the video it was made from: its face is a stranger's, but head, clothes and
    room are the target's, and those are what leaks. So everything of one ``original`` is one point: the mean
    of dlib's 128 numbers over its real faces, or over its fakes where the real video is not in the table. A
    face without ``original`` is a point of its own; a fake among them goes to whom it looks like, which is
    the person whose face was put in. Points are joined by average linkage, cut at ``distance``.

    For leak-free splits two people taken for one do no harm and one person taken for two does, so the limit
    lies where hardly anybody is split. Measured on 1,336 reals of 120 known people of DFDC (at most 25 each):

    ========  ==============  ==============  ==================================  ====================
    distance  people found    people split    faces away from most of their own   faces of the group's
                                                                                  most frequent person
    ========  ==============  ==============  ==================================  ====================
    0.5       149             25              5.6 %                               99.1 %
    0.55      112             12              2.4 %                               97.0 %
    **0.6**   **84**          **6**           **0.5 %**                           **87.7 %**
    0.65      48              6               0.5 %                               67.9 %
    ========  ==============  ==============  ==================================  ====================

    The known people are themselves clusters of embeddings; one of the largest, which is split here, plainly
    holds two people. Single linkage and DBSCAN chain strangers together before they hold people together:
    at 0.5 one group has a fifth of all faces, and four people are still split.

    Parameters
    ----------
    faces
        Face crops. Pictures that cannot be read go with their ``original``, or count as a person each.
    distance
        Euclidean, between embeddings.
    progress
        Called as ``progress(done, of how many)``: 20 to 80 ms a picture on one CPU core.

    Returns
    -------
    LabelledFaces
        With ``identity`` filled: text, ``person 0`` being who comes first in the table. Identities that the
        table gives are kept together: a group found here that holds one takes its name, and groups that
        hold the same one are joined. Returned as it is where no identity is missing. Memory for the
        clustering: 4 * N**2 bytes for N points, 1 GB for the 16,000 reals of the whole Kaggle set.

    Raises
    ------
    RedeepfakeError
        dlib or its model files are absent.
    ValueError
        A distance that is not positive.
    """
    if not distance > 0:
        raise ValueError(f"distance must be positive, not {distance}")
    table = faces.table
    if not table["identity"].isna().any():
        return faces
    point = _points(table)
    centres = _centres(faces, point, progress)
    group = _cluster(centres, distance)[point]
    table = table.copy()
    table["identity"] = _named(group, table["identity"])
    return LabelledFaces(table, faces.root, faces.prefix)


def _points(table: pd.DataFrame) -> np.ndarray:
    """(N,) int: which point each face belongs to, numbered in the table's order."""
    original = table["original"]
    keys: list[Hashable] = [("face", i) if pd.isna(name) else name for i, name in enumerate(original)]
    return pd.factorize(pd.Series(keys, dtype=object))[0]


def _centres(faces: LabelledFaces, point: np.ndarray, progress: Callable | None) -> np.ndarray:
    """(P, 128) float64: mean embedding of each point's faces, NaN where none can be read."""
    real = faces.y == 0
    has_real = np.zeros(point.max() + 1, bool)
    has_real[point[real]] = True
    chosen = np.flatnonzero(real | ~has_real[point])
    landmarks = LandmarkStore(faces)
    total, count = np.zeros((len(has_real), 128)), np.zeros(len(has_real))
    for done, row in enumerate(chosen, 1):
        try:
            image = faces.image(row)
            points = landmarks.get(row, image)
        except InputError:
            points = None
        if points is not None:
            total[point[row]] += embed_faces(image, [points])[0]
            count[point[row]] += 1
        if progress is not None:
            progress(done, len(chosen))
    return np.divide(total, count[:, None], out=np.full_like(total, np.nan), where=count[:, None] > 0)


def _cluster(centres: np.ndarray, distance: float) -> np.ndarray:
    """(P,) int: the group of each point; a point that is not known is a group of its own."""
    from sklearn.cluster import AgglomerativeClustering

    known = np.isfinite(centres).all(axis=1)
    group = np.arange(len(centres)) + len(centres)
    if known.sum() > 1:
        method = AgglomerativeClustering(n_clusters=None, distance_threshold=distance, linkage="average")
        group[known] = method.fit_predict(centres[known])
    return group


def _named(group: np.ndarray, given: pd.Series) -> list[str]:
    """A name for each face: that which the table gives somebody in its group, or a number.

    Groups and given names are two sides of a graph; what hangs together is one person.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    groups = pd.factorize(group)[0]
    names, labels = pd.factorize(given.astype(object))  # missing: -1
    count = groups.max() + 1
    told = names >= 0
    links = coo_matrix(
        (np.ones(told.sum()), (groups[told], count + names[told])), shape=(count + len(labels),) * 2
    )
    part = connected_components(links, directed=False)[1]
    called: dict[int, str] = {}
    for name, label in enumerate(labels):
        called.setdefault(part[count + name], str(label))
    number = 0
    for g in groups:
        if part[g] not in called:
            while f"person {number}" in called.values():
                number += 1
            called[part[g]] = f"person {number}"
    return [called[part[g]] for g in groups]
