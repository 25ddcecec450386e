"""Group labelled faces by person with face recognition, so that a split can keep each person in one part."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd

from ..errors import InputError
from ..models.embedding import embed_faces
from ..utils.jobs import Progress
from .labelled_faces import LabelledFaces
from .landmarks import LandmarkStore

# Largest mean distance within a person; face_recognition's own limit for two pictures. See identify().
MAX_PERSON_DISTANCE = 0.6


def identify(
    faces: LabelledFaces,
    *,
    distance: float = MAX_PERSON_DISTANCE,
    progress: Progress | None = None,
) -> LabelledFaces:
    """Cluster faces by person where the table does not name them.

    A fake takes the identity of the video it was made from: the face is another person's, but head, clothes
    and room are the target's, and those are what would leak. All faces of one ``original`` therefore form one
    point: the mean of dlib's 128-dimensional embeddings over its real faces, or over its fakes where the real
    video is not in the table. A face without ``original`` is a point of its own; a fake among them joins the
    person it looks like, who is the source of the face. Points are clustered by average linkage, cut at
    ``distance``.

    For leak-free splits, merging two people does no harm and splitting one person does, so the default
    distance is one at which hardly anybody is split. Measured on 1,336 real faces of 120 known people of DFDC
    (at most 25 each):

    ========  ==============  ==============  ==================================  ====================
    distance  people found    people split    faces away from most of their own   faces of the group's
                                                                                  most frequent person
    ========  ==============  ==============  ==================================  ====================
    0.5       149             25              5.6 %                               99.1 %
    0.55      112             12              2.4 %                               97.0 %
    **0.6**   **84**          **6**           **0.5 %**                           **87.7 %**
    0.65      48              6               0.5 %                               67.9 %
    ========  ==============  ==============  ==================================  ====================

    The known people are themselves clusters of embeddings; one of the largest, which is split here, clearly
    holds two people. Single linkage and DBSCAN chain different people together before they keep each person
    together: at 0.5 one group has a fifth of all faces, and four people are still split.

    Parameters
    ----------
    faces
        Face crops. Pictures that cannot be read are grouped with their ``original``, or count as a person
        each.
    distance
        Euclidean, between embeddings.
    progress
        Called as ``progress(done, total)`` after each picture, which takes 20 to 80 ms on one CPU core.

    Returns
    -------
    LabelledFaces
        With ``identity`` filled by text, ``person 0`` being the person who comes first in the table.
        Identities that the table gives are respected: a group that contains one takes its name, and groups
        that contain the same one are merged. ``faces`` itself where no identity is missing. Clustering N
        points takes 4 * N**2 bytes of memory: 1 GB for the 16,000 real faces of the whole Kaggle set.

    Raises
    ------
    RedeepfakeError
        dlib or its model files are not installed.
    ValueError
        ``distance`` is not positive.
    """
    if not distance > 0:
        raise ValueError(f"distance must be positive, not {distance}")
    table = faces.table
    if not table["identity"].isna().any():
        return faces
    point = _points(table)
    embeddings = _mean_embeddings(faces, point, progress)
    group = _cluster(embeddings, distance)[point]
    table = table.copy()
    table["identity"] = _name_groups(group, table["identity"])
    return faces.with_table(table)


def _points(table: pd.DataFrame) -> np.ndarray:
    """Return the index of each face's point, (N,) int, numbered in the table's order."""
    original = table["original"]
    keys: list[Hashable] = [("face", i) if pd.isna(name) else name for i, name in enumerate(original)]
    return pd.factorize(pd.Series(keys, dtype=object))[0]


def _mean_embeddings(faces: LabelledFaces, point: np.ndarray, progress: Progress | None) -> np.ndarray:
    """Return the mean embedding of each point's faces, (P, 128) float64, NaN where none can be read."""
    real = faces.y == 0
    has_real = np.zeros(point.max() + 1, bool)
    has_real[point[real]] = True
    chosen = np.flatnonzero(real | ~has_real[point])
    landmarks = LandmarkStore(faces)
    total, count = np.zeros((len(has_real), 128)), np.zeros(len(has_real))
    for done, row in enumerate(chosen.tolist(), 1):
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


def _cluster(embeddings: np.ndarray, distance: float) -> np.ndarray:
    """Return the group of each point, (P,) int; a point without embedding is a group of its own."""
    from sklearn.cluster import AgglomerativeClustering

    known = np.isfinite(embeddings).all(axis=1)
    group = np.arange(len(embeddings)) + len(embeddings)
    if known.sum() > 1:
        method = AgglomerativeClustering(n_clusters=None, distance_threshold=distance, linkage="average")
        group[known] = method.fit_predict(embeddings[known])
    return group


def _name_groups(group: np.ndarray, given: pd.Series) -> list[str]:
    """Name each face after an identity that the table gives someone in its group, or else by number.

    Groups and given names form a bipartite graph, whose connected components are the people.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    groups = pd.factorize(group)[0]
    names, labels = pd.factorize(given.astype(object))  # missing: -1
    count = groups.max() + 1
    named = names >= 0
    links = coo_matrix(
        (np.ones(named.sum()), (groups[named], count + names[named])), shape=(count + len(labels),) * 2
    )
    component = connected_components(links, directed=False)[1]
    name_of: dict[int, str] = {}
    for name, label in enumerate(labels):
        name_of.setdefault(component[count + name], str(label))
    number = 0
    for g in groups:
        if component[g] not in name_of:
            while f"person {number}" in name_of.values():
                number += 1
            name_of[component[g]] = f"person {number}"
    return [name_of[component[g]] for g in groups]
