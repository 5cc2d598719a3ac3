"""The trivial translation: one HU for every MR value. What any network, and any registration, must beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from synthct.errors import UserError


class IntensityLookup:
    """Conditional median HU for every bin of MR values.

    The median minimises the mean absolute error, so no other function of the MR value alone has a lower MAE on the
    voxels it was fitted to. MR values of several patients must be brought to one scale by the caller first.

    Parameters
    ----------
    bins
        How many bins the MR values are sorted into. They hold equally many voxels each, so that crowded values
        (muscle, fat) are resolved finely and no bin is left with a handful. Where no more values than this occur, as
        in a label map, each has a bin of its own.

    Attributes
    ----------
    edges
        MR values between the bins, ascending, shape (bins − 1,) or fewer where values repeat.
    values
        HU of each bin, shape (len(edges) + 1,).
    """

    def __init__(self, bins: int = 64) -> None:
        if bins < 1:
            raise ValueError(f"a look-up needs at least one bin, not {bins}")
        self.bins = bins
        self.edges = np.empty(0, np.float32)
        self.values = np.empty(0, np.float32)

    def fit(
        self,
        mr_arrays: Sequence[np.ndarray],
        ct_arrays: Sequence[np.ndarray],
        masks: Sequence[np.ndarray] | None = None,
    ) -> IntensityLookup:
        """Learn the medians from pairs of arrays of any shape; only voxels where the mask is not 0 count.

        Raises
        ------
        UserError
            When there is not a single voxel to learn from.
        """
        if masks is None:
            masks = [np.ones(np.shape(array), bool) for array in mr_arrays]
        pairs = list(zip(mr_arrays, ct_arrays, masks, strict=True))
        mr = np.concatenate([np.asarray(m, np.float32)[np.asarray(k) != 0] for m, _, k in pairs]) if pairs else None
        if mr is None or mr.size == 0:
            raise UserError(
                "The intensity look-up has no voxels to learn from.", "The masks are empty.", "Check the masks."
            )
        ct = np.concatenate([np.asarray(c, np.float32)[np.asarray(k) != 0] for _, c, k in pairs])
        self.edges = np.unique(np.quantile(mr, np.arange(1, self.bins) / self.bins).astype(np.float32))
        if len(self.edges) < self.bins - 1 and len(few := np.unique(mr)) <= self.bins:
            self.edges = few[1:]
        bin_of = np.searchsorted(self.edges, mr, side="right")
        order = np.argsort(bin_of, kind="stable")
        starts = np.searchsorted(bin_of[order], np.arange(len(self.edges) + 1))
        groups = np.split(ct[order], starts[1:])
        overall = float(np.median(ct))
        self.values = np.array([np.median(group) if group.size else overall for group in groups], np.float32)
        return self

    def apply(self, mr_array: np.ndarray) -> np.ndarray:
        """Return the HU of every MR value, float32, same shape."""
        if not self.values.size:
            raise ValueError("the look-up has not been fitted")
        return self.values[np.searchsorted(self.edges, np.asarray(mr_array, np.float32), side="right")]


def residual(mr: np.ndarray, ct: np.ndarray, mask: np.ndarray, bins: int = 64) -> float:
    """Mean absolute error in HU of a case's own look-up, within the mask: how well the MR explains the CT.

    Arrays of one shape. The better two images of a patient are aligned, the lower it is; it knows nothing of the
    mutual information that a registration maximises beyond both being functions of the joint histogram.

    Raises
    ------
    UserError
        When the mask is empty.
    """
    inside = np.asarray(mask) != 0
    lookup = IntensityLookup(bins).fit([mr], [ct], [inside])
    return float(np.abs(lookup.apply(mr[inside]) - ct[inside].astype(np.float32)).mean())
