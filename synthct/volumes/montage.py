"""A volume's slices side by side on one picture, for networks that make pictures, and back (REFERENCE C8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthct.errors import UserError


@dataclass(frozen=True)
class Montage:
    """Where slices lie on a sheet: in rows from the top left, as many as fit whole; what is left over stays empty.

    Parameters
    ----------
    sheet
        Rows and columns of the picture: (1024, 3680) in the Oslo thesis.
    cell
        Rows and columns of one slice on it: (256, 256) there, on average.

    Raises
    ------
    UserError
        Not one slice fits.

    Examples
    --------
    >>> Montage((1024, 3680), (256, 256)).capacity
    56
    """

    sheet: tuple[int, int]
    cell: tuple[int, int]

    def __post_init__(self) -> None:
        if min(self.cell) < 1 or self.capacity < 1:
            raise UserError(
                f"A montage of {self.sheet[0]}×{self.sheet[1]} pixels has no place for a slice of "
                f"{self.cell[0]}×{self.cell[1]}.",
                todo="Choose smaller slices (`data.montage_slice`) or a larger picture (`data.size`).",
            )

    @property
    def capacity(self) -> int:
        """Slices that fit."""
        return (self.sheet[0] // self.cell[0]) * (self.sheet[1] // self.cell[1])

    def lay_out(self, volume: np.ndarray, empty: float) -> tuple[np.ndarray, int]:
        """Return the sheet of ``volume`` (slices, rows, columns), of its type, and how many slices are on it.

        Slices are cut or padded to a cell about their middle. Of a volume with more slices than there are cells the
        middle ones are laid out.

        Parameters
        ----------
        empty
            What lies where no slice is: air, or the background of a mask.
        """
        count = min(len(volume), self.capacity)
        first = (len(volume) - count) // 2
        cells = np.full((count, *self.cell), empty, volume.dtype)
        (rows, to_rows), (columns, to_columns) = map(_overlap, volume.shape[1:], self.cell)
        cells[:, to_rows, to_columns] = volume[first : first + count, rows, columns]
        sheet = np.full(self.sheet, empty, volume.dtype)
        for number, cell in enumerate(cells):
            sheet[self._place(number)] = cell
        return sheet, count

    def take_back(self, sheet: np.ndarray, count: int) -> np.ndarray:
        """Return the first ``count`` slices of ``sheet`` (rows, columns), as (slices, rows, columns).

        Raises
        ------
        ValueError
            The sheet has another size, or fewer cells.
        """
        if sheet.shape != self.sheet or not 0 < count <= self.capacity:
            raise ValueError(f"a sheet of {sheet.shape} has no {count} slices of {self}")
        return np.stack([sheet[self._place(number)] for number in range(count)])

    def _place(self, number: int) -> tuple[slice, slice]:
        row, column = divmod(number, self.sheet[1] // self.cell[1])
        rows, columns = self.cell
        return slice(row * rows, (row + 1) * rows), slice(column * columns, (column + 1) * columns)


def _overlap(have: int, want: int) -> tuple[slice, slice]:
    """Return which of ``have`` pixels go where among ``want``, the middles meeting."""
    size = min(have, want)
    source, target = (have - size) // 2, (want - size) // 2
    return slice(source, source + size), slice(target, target + size)
