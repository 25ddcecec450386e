"""Tracks -> persons: who is seen again after a cut, an exit, a turned head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

# Distance of two faces' 128 numbers under which face_recognition calls them one person. It was chosen for
# single pictures; means over a track lie closer, and wrongly joined people do more harm than one person
# counted twice, since a fake one would be averaged with a real one.
SAME_PERSON = 0.5


# Put between tracks that must not be joined; any mean over pairs that holds it is above every threshold.
_NEVER = 1e9


def group_tracks(
    embeddings: Mapping[int, Sequence[np.ndarray]],
    together: Sequence[Sequence[int]],
    *,
    distance: float = SAME_PERSON,
) -> dict[int, int]:
    """Which person each track shows.

    Average linkage over the mean distances between tracks' embeddings, cut at ``distance``. Two faces in
    one frame are two people, whatever they look like.

    Parameters
    ----------
    embeddings
        Track -> its face embeddings, each (128,). A track without any is a person of its own.
    together
        For each frame, the tracks seen in it.
    distance
        Largest mean Euclidean distance within a person.

    Returns
    -------
    dict
        Track -> person, numbered from 0 in the order of the persons' first tracks.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    tracks = sorted({t for frame in together for t in frame} | set(embeddings))
    if len(tracks) < 2:
        return dict.fromkeys(tracks, 0)
    place = {t: i for i, t in enumerate(tracks)}
    points = [np.asarray(embeddings.get(t, ()), np.float64).reshape(-1, 128) for t in tracks]
    between = np.full((len(tracks), len(tracks)), _NEVER)
    np.fill_diagonal(between, 0)
    for i, a in enumerate(points):
        for j, b in enumerate(points[:i]):
            if len(a) and len(b):
                between[i, j] = between[j, i] = np.linalg.norm(a[:, None] - b[None], axis=2).mean()
    for frame in together:
        rows = [place[t] for t in frame]
        for i in rows:
            for j in rows:
                if i != j:
                    between[i, j] = _NEVER
    clusters = fcluster(linkage(squareform(between), "average"), distance, "distance")
    numbers: dict[int, int] = {}
    return {t: numbers.setdefault(int(c), len(numbers)) for t, c in zip(tracks, clusters, strict=True)}
