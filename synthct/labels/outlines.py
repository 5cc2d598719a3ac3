"""Which pixels a closed outline encloses: by LIDC's rule, and by that of structure sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def strictly_inside(points: np.ndarray) -> tuple[tuple[int, int], np.ndarray]:
    """Return the pixels inside an outline whose own pixels are outside, LIDC's rule.

    A pixel counts when its centre is enclosed by the polygon through the points (winding number not zero, so that an
    outline drawn twice round encloses no hole) and does not lie on it. The last point is joined to the first.

    Parameters
    ----------
    points
        Pixels (column, row), int, shape (n, 2).

    Returns
    -------
    tuple
        (row, column) of the first pixel of the outline's box, and whether each pixel of it is inside, shape
        (rows, columns). One or two points enclose nothing.
    """
    low = points.min(axis=0)
    width, height = points.max(axis=0) - low + 1
    y, x = np.ogrid[:height, :width]
    winding = np.zeros((height, width), np.int32)
    outside = np.zeros((height, width), bool)
    starts = points - low
    for (x0, y0), (x1, y1) in zip(starts, np.roll(starts, -1, axis=0), strict=True):
        side = (x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)
        between_y = (y >= min(y0, y1)) & (y <= max(y0, y1))
        outside |= (side == 0) & between_y & (x >= min(x0, x1)) & (x <= max(x0, x1))
        if y1 > y0:
            winding += (y >= y0) & (y < y1) & (side > 0)
        elif y1 < y0:
            winding -= (y >= y1) & (y < y0) & (side < 0)
    return (int(low[1]), int(low[0])), (winding != 0) & ~outside


def filled(outlines: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels whose centres lie inside an odd number of outlines: an outline within another is a hole.

    A centre that lies exactly on an outline counts on its left and upper sides only, so that two areas with a common
    border share no pixel and leave none out.

    Parameters
    ----------
    outlines
        Polygons, each float (n, 2): column, row in pixels, whole numbers at the pixels' centres. The last point is
        joined to the first.
    shape
        Rows and columns of the image; what lies beyond is cut off.

    Returns
    -------
    numpy.ndarray
        bool, shape (rows, columns).
    """
    rows, columns = shape
    crossings = np.zeros((rows, columns + 1), np.int32)
    for points in outlines:
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            (xa, ya), (xb, yb) = ((x0, y0), (x1, y1)) if y0 < y1 else ((x1, y1), (x0, y0))
            y = np.arange(max(0, int(np.ceil(ya))), min(rows, int(np.ceil(yb))))  # ya <= y < yb
            first = np.ceil(xa + (y - ya) * (xb - xa) / (yb - ya))  # pixels from here on are right of the edge
            np.add.at(crossings, (y, np.clip(first, 0, columns).astype(int)), 1)
    return np.cumsum(crossings[:, :-1], axis=1) % 2 == 1
