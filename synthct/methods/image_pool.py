"""A store of synthetic images shown to the discriminator again: Shrivastava et al. 2017, Zhu et al. 2017 (row A7)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Up to ``size`` past images; each query returns, image by image, the new one or an old one in its place.

    While the pool fills, new images are stored and returned. Then each new image is, with probability 1/2, swapped
    with a random stored one, which is returned. Draws come from torch's global CPU generator.

    Parameters
    ----------
    size
        Images kept; 0: every query returns what it was given.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """Return as many images as were given, (N, channels, rows, columns), detached."""
        images = images.detach()
        if self.size == 0:
            return images
        chosen = []
        for image in images:
            if len(self._images) < self.size:
                self._images.append(image.clone())
                chosen.append(image)
            elif torch.rand(()) < 0.5:
                place = int(torch.randint(self.size, ()))
                chosen.append(self._images[place].to(image))
                self._images[place] = image.clone()
            else:
                chosen.append(image)
        return torch.stack(chosen)

    def state_dict(self) -> dict[str, Any]:
        """Return the stored images, in order."""
        return {"images": [image.cpu() for image in self._images]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned; the images move to the device of the next query."""
        self._images = list(state["images"])
