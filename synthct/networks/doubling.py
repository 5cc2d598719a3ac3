"""From a small grid to an image by doublings, and how many features each size has."""

from __future__ import annotations

from collections.abc import Sequence

from synthct.errors import UserError


def start_and_doublings(size: Sequence[int], least: int = 4) -> tuple[tuple[int, int], int]:
    """Return the grid that a generator begins from and how often it doubles to cover ``size``.

    The shorter side of the grid is at least ``least`` and less than twice that. A size that is no such grid doubled
    is a little exceeded: 1024×3680 is 4×15 doubled 8 times, 1024×3840, and the generator cuts the middle out.

    Parameters
    ----------
    size
        Rows and columns of the image.

    Raises
    ------
    UserError
        Not two sides, or one below 32.
    """
    if len(size) != 2 or min(size) < 32:
        raise UserError(
            f"The network cannot make or judge images of {'×'.join(map(str, size))}.",
            "It doubles rows and columns from a grid of at least 4×4, three times or more.",
            "Give `data.size` two entries of 32 or more.",
        )
    doublings = (min(size) // least).bit_length() - 1
    rows, columns = (-(-side // 2**doublings) for side in size)
    return (rows, columns), doublings


def features_at(side: int, capacity: int, widest: int) -> int:
    """Return ``capacity`` / ``side``, at most ``widest``: features where the shorter side has ``side`` pixels."""
    return max(1, min(widest, capacity // side))
