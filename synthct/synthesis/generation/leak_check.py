"""Whether a generated image is a training case over again: patients must not be reproduced (row D6).

The rule. Every generated image is compared with the training images in two ways, both on the image alone, without its
mask: by **feature distance**, the root mean square difference of the means of 8 blocks along each axis (where dense and
thin things lie, whatever the noise), and by **MS-SSIM** (`distribution.ms_ssim`, averaged down to 64 voxels a
side), for which the 8 nearest by features are looked at. How near is too near, the training images say themselves: each
has a nearest one of another patient. A generated image is flagged where its feature distance to its training neighbour
is less than half of the distance from that neighbour to its own nearest other patient, or its 1 − MS-SSIM less than a
quarter of that neighbour's own (a share of differences goes into 1 − MS-SSIM as its square); after the authenticity of
Alaa et al. 2022, who take the whole distance and so flag many honest images. An image that is the mean of many patients
stays above both, a copy with noise or a slight change of brightness below. What two patients share, a slice of air, is
never flagged.

Both comparisons are also made with the image mirrored left to right, since many trainings mirror their images. What
this cannot see: parts of a patient in an image that differs elsewhere, copies that are turned or moved by more than a
block. A look at the picture of the closest pairs belongs to every check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthct.errors import UserError
from synthct.evaluation.distribution.ms_ssim import ms_ssim, pyramid, small

BLOCKS = 8
"""Along each axis, of which the means are the features."""
SHORTLIST = 8
"""Nearest training images by features whose MS-SSIM is looked at."""
SHARE_OF_DISTANCE, SHARE_OF_UNLIKENESS = 0.5, 0.25

Image = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Nearest:
    """The training image that a generated one comes nearest to, in two ways, and whether that is too near."""

    case: str
    """Nearest by features."""
    distance: float
    distance_limit: float
    """Below it is too near."""
    place: int
    """Of that image among the training images."""
    similar_case: str
    """Of the highest MS-SSIM."""
    ms_ssim: float
    ms_ssim_limit: float
    """Above it is too near."""
    similar_place: int
    reasons: tuple[str, ...]
    """Why it is flagged, in words; empty: it is not."""

    @property
    def flagged(self) -> bool:
        return bool(self.reasons)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a manifest."""
        return {
            "nearest_case": self.case,
            "feature_distance": round(self.distance, 6),
            "feature_distance_limit": round(self.distance_limit, 6),
            "most_similar_case": self.similar_case,
            "ms_ssim": round(self.ms_ssim, 6),
            "ms_ssim_limit": round(self.ms_ssim_limit, 6),
            "too_close": self.flagged,
            "reasons": list(self.reasons),
        }


class LeakCheck:
    """The training images, and how near two of them come that show different patients.

    Parameters
    ----------
    images
        (rows, columns) or (slices, rows, columns) each, of one shape, −1 to 1: the images without their masks.
    cases, patients
        What each of them belongs to.

    Raises
    ------
    UserError
        Fewer than two patients, or two whose volumes are the same: then there is nothing to measure nearness by.
    """

    def __init__(self, images: Sequence[Image], cases: Sequence[str], patients: Sequence[str]) -> None:
        if len(set(patients)) < 2:
            raise UserError(
                "The training cases are of one patient.",
                "What is too near is measured by how near two patients come.",
                "Give a cohort of two patients or more.",
            )
        self._cases, self._patients = list(cases), np.array(patients)
        self._images = [small(image).astype(np.float32) for image in images]
        self._features = np.stack([coarse_features(image) for image in self._images])
        found = [self._other_patient(number) for number in range(len(images))]
        self._own = [(SHARE_OF_DISTANCE * distance, SHARE_OF_UNLIKENESS * (1 - similar)) for distance, similar in found]
        same = [case for case, (distance, _) in zip(cases, found, strict=True) if distance == 0]
        if same and images[0].ndim == 3:
            raise UserError(
                f"Different patients of the cohort have the same image: {same[0]} and another.",
                "What is too near is measured by how near two patients come.",
                "Give both cases the same `patient` in the manifest, or take one of them out.",
            )

    def nearest(self, image: Image) -> Nearest:
        """Return which training image a generated one, of the same shape and range, comes nearest to."""
        image = small(image)
        distances = self._distances(image)
        order = [int(place) for place in np.argsort(distances)[:SHORTLIST]]
        similar = self._similarities(image, order)
        best, place = int(np.argmax(similar)), order[0]
        distance_limit, ms_ssim_limit = self._own[place][0], 1 - self._own[order[best]][1]
        reasons = []
        if distances[place] < distance_limit:
            far = f"{distances[place]:.4f}, below {distance_limit:.4f}"
            reasons.append(f"Its feature distance to {self._cases[place]} is {far}.")
        if similar[best] > ms_ssim_limit:
            alike = f"{similar[best]:.4f}, above {ms_ssim_limit:.4f}"
            reasons.append(f"Its MS-SSIM with {self._cases[order[best]]} is {alike}.")
        return Nearest(
            case=self._cases[place],
            distance=float(distances[place]),
            distance_limit=distance_limit,
            place=place,
            similar_case=self._cases[order[best]],
            ms_ssim=similar[best],
            ms_ssim_limit=ms_ssim_limit,
            similar_place=order[best],
            reasons=tuple(reasons),
        )

    def picture(self, place: int) -> Image:
        """Return a training image as it was compared by MS-SSIM."""
        return self._images[place]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a manifest: of how many images the limits come, and the rule's two shares."""
        return {
            "training_images": len(self._images),
            "share_of_feature_distance": SHARE_OF_DISTANCE,
            "share_of_1_less_ms_ssim": SHARE_OF_UNLIKENESS,
        }

    def _other_patient(self, number: int) -> tuple[float, float]:
        """Return distance and MS-SSIM of a training image to the nearest ones of other patients."""
        distances = self._distances(self._images[number])
        distances[self._patients == self._patients[number]] = np.inf
        order = [int(place) for place in np.argsort(distances)[:SHORTLIST] if np.isfinite(distances[place])]
        return float(distances[order[0]]), max(self._similarities(self._images[number], order))

    def _distances(self, image: Image) -> Doubles:
        """Feature distances to all training images, of the image or its mirror image, whichever is nearer."""
        both = [np.square(self._features - coarse_features(way)).mean(axis=1) for way in (image, image[..., ::-1])]
        distances: Doubles = np.sqrt(np.minimum(*both))
        return distances

    def _similarities(self, image: Image, places: Sequence[int]) -> list[float]:
        """MS-SSIM with some training images, of the image or its mirror image, whichever is more alike."""
        ways = [pyramid(small(way)) for way in (image, image[..., ::-1])]
        others = [pyramid(self._images[place]) for place in places]
        return [max(ms_ssim(way, other) for way in ways) for other in others]


def coarse_features(image: Image) -> Doubles:
    """Return the means of `BLOCKS` blocks along each axis (of a shorter one its voxels), as one row."""
    means = np.asarray(image, np.float64)
    for axis, side in enumerate(image.shape):
        edges = np.linspace(0, side, min(BLOCKS, side) + 1).round().astype(int)
        sums = np.add.reduceat(means, edges[:-1], axis=axis)
        means = sums / np.diff(edges).reshape([-1 if at == axis else 1 for at in range(image.ndim)])
    return means.ravel()
