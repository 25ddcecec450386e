"""Smooth warps that move landmarks onto landmarks, and the similarity transform between two sets of them.

The warp is a thin-plate spline (Bookstein, "Principal warps", IEEE TPAMI 11(6), 1989) solved for the
landmarks, evaluated on a coarse grid and interpolated. Unlike a warp triangle by triangle it has no kinks
along edges, it goes on beyond the landmarks (forehead, cheeks, chin), and it needs a single call of
``cv2.remap``, whatever the number of triangles would be.
"""

from __future__ import annotations

import cv2
import numpy as np

from .image_operations import resize

# Nodes along the longer side of the grid on which the spline is evaluated.
_NODES = 30
# Smoothing: landmarks may be missed by a fraction of a pixel, so that two noisy ones close together do not
# fold the picture.
_SMOOTHING = 2e-4


def thin_plate_maps(
    target: np.ndarray, source: np.ndarray, span: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return where each pixel of the warped picture comes from.

    Parameters
    ----------
    target, source
        (N, 2) x, y in pixels of the same points in the warped picture and in the picture to be warped. The
        target's points must not lie on one line.
    span
        (width, height) of the warped picture in pixels.

    Returns
    -------
    map_x, map_y : (height, width) float32
        For ``cv2.remap``. Where target and source are equal this is the identity.
    """
    width, height = span
    target, source = np.asarray(target, np.float64), np.asarray(source, np.float64)
    centre, scale = target.mean(axis=0), max(float(np.ptp(target, axis=0).max()), 1e-6)
    points = (target - centre) / scale
    count = len(points)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(points, points)
    system[np.arange(count), np.arange(count)] += _SMOOTHING
    system[:count, count] = system[count, :count] = 1
    system[:count, count + 1 :], system[count + 1 :, :count] = points, points.T
    moves = np.zeros((count + 3, 2))
    moves[:count] = source - target
    weights = np.linalg.solve(system, moves).astype(np.float32)
    step = max(4, -(-max(width, height) // _NODES))
    # Nodes lie where cv2.resize puts the centres of coarse pixels, with one more around the picture.
    columns, rows = (np.arange(-1, -(-side // step) + 1) for side in (width, height))
    grid = np.stack(np.meshgrid((columns + 0.5) * step - 0.5, (rows + 0.5) * step - 0.5), axis=-1)
    nodes = ((grid.reshape(-1, 2) - centre) / scale).astype(np.float32)
    field = _kernel(nodes, points.astype(np.float32)) @ weights[:count]
    fine = cv2.resize(
        field.reshape(len(rows), len(columns), 2), None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC
    )
    fine = fine[step : step + height, step : step + width]
    # The affine part is added pixel by pixel, because cubic interpolation would put ripples on it.
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    across, down = ((x - centre[0]) / scale).astype(np.float32), ((y - centre[1]) / scale).astype(np.float32)
    shift, by_x, by_y = weights[count:]
    maps = [
        fine[..., i] + (own + shift[i] + by_x[i] * across + by_y[i] * down) for i, own in enumerate((x, y))
    ]
    return maps[0], maps[1]


def _kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return r² log r² between two sets of points, (N, M)."""
    x = first[:, :1] - second[:, 0]
    y = first[:, 1:] - second[:, 1]
    squared = x * x + y * y
    return squared * np.log(squared + squared.dtype.type(1e-12))


def inside_weight(map_x: np.ndarray, map_y: np.ndarray, source: np.ndarray, fade: float) -> np.ndarray:
    """Return 1 where a warped picture shows the source's inside, falling to 0 at its border.

    Parameters
    ----------
    map_x, map_y
        From :func:`thin_plate_maps`.
    source
        The picture that is warped.
    fade
        Width of the fall in pixels of the source.

    Returns
    -------
    numpy.ndarray
        (height, width) float32 in 0..1.
    """
    height, width = source.shape[:2]
    depth = np.minimum(np.minimum(map_x, width - 1 - map_x), np.minimum(map_y, height - 1 - map_y))
    return (depth / np.float32(max(fade, 1e-3))).clip(0, 1)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the (2, 3) matrix of rotation, scale and shift that moves points onto points best.

    Least squares: Umeyama, IEEE TPAMI 13(4), 1991, without reflections; (N, 2) x, y each.
    """
    from_centre, to_centre = source.mean(axis=0), target.mean(axis=0)
    a, b = source - from_centre, target - to_centre
    norm = max(float((a * a).sum()), 1e-9)
    cosine = float((a * b).sum()) / norm
    sine = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / norm
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([turn, to_centre - turn @ from_centre])


def shape_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return how differently two faces are shaped, turned or moved, from their landmarks.

    Root mean square distance after the best similarity transform, as a share of the second face's size; about
    0.03 to 0.05 for two people who look into the camera.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    move = similarity(first, second)
    moved = first @ move[:, :2].T + move[:, 2]
    size = max(float(np.ptp(second, axis=0).max()), 1e-9)
    return float(np.sqrt(((moved - second) ** 2).sum(axis=1).mean()) / size)


def shrink_to(source: np.ndarray, points: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Scale a picture and its landmarks down by area averages to a face of ``size`` pixels.

    A face that is not clearly larger stays as it is: warps do not average, and would alias.
    """
    factor = size / max(float(np.ptp(points, axis=0).max()), 1e-6)
    if factor > 0.8:
        return source, points
    height, width = source.shape[:2]
    small = (max(8, round(width * factor)), max(8, round(height * factor)))
    scale = np.divide(small, (width, height))
    return resize(source, *small), (points + 0.5) * scale - 0.5
