"""Whether a generator that is fed noise makes one image for every latent, seen on fixed latents during a training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthct.evaluation.distribution.ms_ssim import mean_pairwise_ms_ssim, small

LATENTS_DIVERSITY = "samples/diversity_of_latents"
LATENTS_MS_SSIM = "samples/ms_ssim_of_latents"
CASES_MS_SSIM = "samples/ms_ssim_of_cases"


def collapse_numbers(made: NDArray[np.float32], real: NDArray[np.float32]) -> dict[str, float]:
    """Return what the curves show beside each sample picture, by name; nothing where there are fewer than two images.

    `LATENTS_MS_SSIM` and `CASES_MS_SSIM`: the mean MS-SSIM of all pairs of images among the made and among the real
    ones (`distribution.ms_ssim`, channel 0, averaged down to 64 voxels a side). `LATENTS_DIVERSITY`: 1 less the
    one, divided by 1 less the other: about 1 is right, 0 one picture for every latent, more than 1 noise. It is left
    out where the real images are all the same.

    Parameters
    ----------
    made, real
        (images, channels, ...) of the fixed latents and of samples of the cases, −1 to 1.
    """
    if min(len(made), len(real)) < 2:
        return {}
    of_made, of_real = (mean_pairwise_ms_ssim([small(image[0]) for image in images]) for images in (made, real))
    numbers = {LATENTS_MS_SSIM: of_made, CASES_MS_SSIM: of_real}
    return numbers if of_real > 1 - 1e-6 else {LATENTS_DIVERSITY: (1 - of_made) / (1 - of_real), **numbers}
