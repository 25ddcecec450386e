"""Thread-safe cache of the 68 facial landmarks of face crops, in memory and on disk."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..faces.detection import find_landmarks
from ..utils.writing import atomic_file
from .labelled_faces import LabelledFaces

# Points may lie this far outside a crop, as a share of its longer side: dlib's boxes cut off some chins.
_OUTSIDE = 0.15
# Landmarks must span this share of the crop: about three quarters where a face fills it, much less for a
# misfit.
_LEAST_SPAN = 0.4


def plausible(points: np.ndarray, height: int, width: int) -> bool:
    """Return whether landmarks can be those of a face that fills a crop of ``height`` x ``width`` pixels."""
    points = np.asarray(points, np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        return False
    room = _OUTSIDE * max(height, width)
    inside = (points >= -room).all() and (points <= np.add((width, height), room)).all()
    return bool(inside and (np.ptp(points, axis=0) >= (_LEAST_SPAN * width, _LEAST_SPAN * height)).all())


class LandmarkStore:
    """Landmarks of labelled faces, found by dlib with the whole crop as face box, by a store at most once.

    Parameters
    ----------
    faces
        Landmarks are stored by file name, and by box where the table lists boxes, so that the splits of one
        data set can share a file.
    path
        An npz file that :meth:`save` writes, and that is read if it exists and belongs to the same data set.
        ``None`` keeps landmarks in memory only.
    """

    def __init__(self, faces: LabelledFaces, path: Path | None = None) -> None:
        self.faces = faces
        self.path = path
        self._set = "|".join(f"{root.resolve()}|{prefix}" for root, prefix in faces.places)
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._points: dict[str, np.ndarray | None] = {}
        self._new: dict[str, np.ndarray | None] = {}
        self._saved = 0
        self._read()

    def get(self, row: int, image: np.ndarray | None = None) -> np.ndarray | None:
        """Return the landmarks of one face.

        Parameters
        ----------
        row
            Position in the table.
        image
            (H, W, 3) uint8 RGB, if the picture has been read already.

        Returns
        -------
        numpy.ndarray or None
            (68, 2) float32 x, y in pixels of the crop; None if they are not plausible.

        Raises
        ------
        InputError
            The picture cannot be read.
        RedeepfakeError
            dlib or its model files are not installed.
        """
        name = self._key(row)
        with self._lock:
            if name in self._points:
                return self._points[name]
        image = self.faces.image(row) if image is None else image
        height, width = image.shape[:2]
        (points,) = find_landmarks(image, [(0, 0, width, height)])
        kept = points if plausible(points, height, width) else None
        self.add({name: kept})
        return kept

    def add(self, points: Mapping[str, np.ndarray | None]) -> None:
        """Add landmarks that another store of the same faces found, as :meth:`take_new` returns them."""
        with self._lock:
            self._points.update(points)
            self._new.update(points)

    def take_new(self) -> dict[str, np.ndarray | None]:
        """Return the landmarks that were found or added since the last call, by the name of their face."""
        with self._lock:
            new, self._new = self._new, {}
        return new

    def _key(self, row: int) -> str:
        name, box = self.faces.files[row], self.faces.boxes[row]
        if not np.isnan(box[0]):
            name += "#" + ",".join(f"{side:g}" for side in box)
        return f"{self.faces.collection_names[row]}:{name}" if self.faces.collections else name

    def save(self) -> None:
        """Replace the file atomically if there are new landmarks. Does nothing without a path."""
        with self._writing:
            self._write()

    def _write(self) -> None:
        with self._lock:
            points = dict(self._points)
        if self.path is None or len(points) == self._saved:
            return
        nothing = np.full((68, 2), np.nan, np.float32)
        with atomic_file(self.path) as part, open(part, "wb") as file:
            np.savez(
                file,
                set=np.array(self._set),
                files=np.array(list(points)),
                points=np.stack([nothing if p is None else p for p in points.values()]),
            )
        self._saved = len(points)

    def _read(self) -> None:
        """Read the file; one that is damaged or belongs to another data set is ignored."""
        if self.path is None or not self.path.is_file():
            return
        try:
            # Opened here because np.load leaves a damaged file open.
            with open(self.path, "rb") as file, np.load(file) as saved:
                if str(saved["set"]) != self._set:
                    return
                files, points = saved["files"], saved["points"]
                found = {
                    str(name): None if np.isnan(p).any() else p
                    for name, p in zip(files, points.reshape(-1, 68, 2), strict=True)
                }
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return
        self._points, self._saved = found, len(found)
