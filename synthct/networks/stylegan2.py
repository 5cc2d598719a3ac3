"""StyleGAN2: Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN" (REFERENCE C7).

Written from the paper, its configuration F: section 2 (modulation and demodulation of the weights in place of
instance norm), section 4 and figure 7 (skip generator, residual discriminator), appendix B (what is not said in them).
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthct.errors import UserError
from synthct.networks.batch_spread import batch_spread
from synthct.networks.doubling import features_at, start_and_doublings
from synthct.networks.equalised import EqualisedConv, EqualisedLinear, leaky
from synthct.networks.fir import Fir, Upsample
from synthct.networks.full_precision import full_precision

_MAPPING_RATE = 0.01
_MEAN_DECAY = 0.995
_TINY = 1e-8


class StyleGAN2Generator(nn.Module):
    """A mapping network z → w and a skip generator whose convolutions are modulated by w.

    Takes latents (N, latent) and gives (N, out_channels, rows, columns). In training mode the output is linear, and
    every pixel of every layer has noise drawn afresh from torch's global generator. In eval mode the noise is fixed
    with the network's weights, w is pulled towards its running mean by ``truncation``, and values are clamped to
    [−1, 1]: the same latent gives the same image.

    Parameters
    ----------
    latent, out_channels
        Length of z, and channels of the image: 1, or 2 for image and mask.
    size
        Rows and columns, 32 or more; the recipe's ``data.size`` where it is not given. See
        `synthct.networks.doubling.start_and_doublings` for sizes that are no power of 2.
    style
        Length of w: 512; 0: that of z.
    mapping
        Dense layers from z to w: 8.
    capacity, widest
        A layer whose shorter side is s has ``capacity`` / s features, at most ``widest``: 32768 and 512 in
        configuration F (512 up to 64², 32 at 1024²); half the capacity is configuration E.
    truncation
        ψ of eval mode: w̄ + ψ(w − w̄). 1: as drawn; less is nearer to the mean image and less varied.

    Attributes
    ----------
    latent_shape, dimensions, classes
        What every generator from noise tells: (latent,), 2 and 0 (there are no classes).
    layers
        How many styles an image takes: one for each convolution, the last to-image convolution sharing none.
    """

    dimensions = 2
    classes = 0
    mean_style: Tensor

    def __init__(
        self,
        latent: int,
        out_channels: int,
        *,
        size: list[int],
        style: int = 512,
        mapping: int = 8,
        capacity: int = 32768,
        widest: int = 512,
        truncation: float = 1.0,
    ) -> None:
        super().__init__()
        if min(latent, mapping, capacity, widest) < 1 or style < 0:
            raise UserError(
                f"StyleGAN2's generator cannot have latent {latent}, mapping {mapping}, capacity {capacity}, "
                f"widest {widest} and style {style}.",
                todo="Give 1 or more; style may be 0.",
            )
        if not 0 <= truncation <= 1:
            raise UserError(f"`truncation` cannot be {truncation:g}.", todo="Give a number between 0 and 1.")
        self.latent_shape = (latent,)
        self.truncation = truncation
        self.size = (size[0], size[-1])
        start, doublings = start_and_doublings(size)
        width = style or latent
        self.mapping = nn.ModuleList(
            EqualisedLinear(latent if number == 0 else width, width, rate=_MAPPING_RATE) for number in range(mapping)
        )
        self.register_buffer("mean_style", torch.zeros(width))

        grids = [(start[0] << level, start[1] << level) for level in range(doublings + 1)]
        widths = [features_at(4 << level, capacity, widest) for level in range(doublings + 1)]
        self.constant = nn.Parameter(torch.randn(1, widths[0], *start))
        self.first = StyledLayer(widths[0], widths[0], width, grids[0])
        self.to_image = nn.ModuleList(ToImage(features, out_channels, width) for features in widths)
        self.up = nn.ModuleList(
            StyledLayer(before, after, width, grid, doubles=True)
            for before, after, grid in zip(widths[:-1], widths[1:], grids[1:], strict=True)
        )
        self.same = nn.ModuleList(
            StyledLayer(after, after, width, grid) for after, grid in zip(widths[1:], grids[1:], strict=True)
        )
        self.upsample = Upsample()
        self.layers = 2 * doublings + 2

    def forward(self, latent: Tensor, classes: Tensor | None = None) -> Tensor:
        style = self.styles(latent)
        if self.training:
            return self.image(self.repeated(style))
        style = torch.lerp(self.mean_style.to(style), style, self.truncation)
        return self.image(self.repeated(style)).clamp(-1, 1)

    def styles(self, latent: Tensor) -> Tensor:
        """Return w (N, style) of z (N, latent)."""
        features = latent * (latent.square().mean(dim=1, keepdim=True) + _TINY).rsqrt()
        for layer in self.mapping:
            features = leaky(layer(features))
        return features

    def repeated(self, style: Tensor) -> Tensor:
        """Return (N, layers, style): the same w (N, style) for every layer."""
        return style[:, None].expand(-1, self.layers, -1)

    @torch.no_grad()
    def track(self, style: Tensor) -> None:
        """Take w (style,), the mean of a batch, into the running mean, whose decay is 0.995."""
        self.mean_style.lerp_(style.to(self.mean_style), 1 - _MEAN_DECAY)

    def image(self, styles: Tensor) -> Tensor:
        """Return the image (N, out_channels, rows, columns) of ``styles`` (N, layers, style); its output is linear."""
        by_layer = iter(styles.unbind(dim=1))
        style = next(by_layer)
        features = self.first(self.constant.expand(len(styles), -1, -1, -1), style)
        style = next(by_layer)
        image = self.to_image[0](features, style)
        for up, same, to_image in zip(self.up, self.same, list(self.to_image)[1:], strict=True):
            # A to-image convolution has the style of the convolution that comes after it.
            features = same(up(features, style), next(by_layer))
            style = next(by_layer)
            image = self.upsample(image) + to_image(features, style)
        top, left = ((whole - side) // 2 for whole, side in zip(image.shape[-2:], self.size, strict=True))
        return image[..., top : top + self.size[0], left : left + self.size[1]]


class ModulatedConv(nn.Module):
    """A convolution whose weights are scaled by a style: input features by s, then outputs to unit variance.

    Equations 1 and 3 of the paper: w′ = s_i · w, w″ = w′ / √(Σ w′² + ε), s = A(w). As the convolution is linear,
    scaling its input by s and its output by the demodulation is the same as scaling the weights of each sample,
    and needs no weights of their own for each.

    Parameters
    ----------
    before, after, style
        Features in and out; length of w.
    demodulate
        Whether outputs are brought to unit variance; not before an image.
    doubles
        Rows and columns are doubled: transposed convolution of stride 2, then the low-pass filter.
    """

    def __init__(
        self, before: int, after: int, style: int, kernel: int, demodulate: bool = True, doubles: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel))
        self.scale = 1 / math.sqrt(before * kernel**2)
        self.affine = EqualisedLinear(style, before, bias=1.0)
        self.demodulate = demodulate
        self.blur = Fir((1, 1), gain=4) if doubles else None

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        weight = self.weight * self.scale
        scales = self.affine(style)
        features = features * scales[:, :, None, None]
        if self.blur is None:
            output = functional.conv2d(features, weight, padding=weight.shape[-1] // 2)
        else:
            output = self.blur(functional.conv_transpose2d(features, weight.transpose(0, 1), stride=2))
        if self.demodulate:
            with full_precision(features.device):
                energy = functional.linear(scales.to(weight.dtype).square(), weight.square().sum(dim=(2, 3)))
                output = output * (energy + _TINY).rsqrt().to(output.dtype)[:, :, None, None]
        return output


class StyledLayer(nn.Module):
    """A modulated 3×3 convolution, noise, bias and leaky ReLU: (N, before, r, c) → (N, after, rows, columns).

    Noise is one value per pixel, the same for all features, times a learned strength that begins as 0.
    """

    noise: Tensor

    def __init__(self, before: int, after: int, style: int, grid: tuple[int, int], doubles: bool = False) -> None:
        super().__init__()
        self.convolution = ModulatedConv(before, after, style, 3, doubles=doubles)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(after))
        self.register_buffer("noise", torch.randn(1, 1, *grid))

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        output = self.convolution(features, style)
        if self.training:
            noise = torch.randn((len(output), 1, *output.shape[-2:]), dtype=output.dtype, device=output.device)
        else:
            noise = self.noise.to(output)
        return leaky(output + self.strength * noise + self.bias.to(output.dtype)[:, None, None])


class ToImage(nn.Module):
    """A modulated 1×1 convolution to the image, never in 16 bit: HU need more."""

    def __init__(self, before: int, channels: int, style: int) -> None:
        super().__init__()
        self.convolution = ModulatedConv(before, channels, style, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        kind = self.bias.dtype
        with full_precision(features.device):
            image: Tensor = self.convolution(features.to(kind), style.to(kind)) + self.bias[:, None, None]
        return image


class StyleGAN2Discriminator(nn.Module):
    """Residual blocks that halve rows and columns, then two dense layers: one logit per image.

    Takes (N, in_channels, rows, columns), returns (N, out_channels).

    Parameters
    ----------
    in_channels, out_channels
        Channels of the image, and judgements: 1.
    size
        Rows and columns, 32 or more; the recipe's ``data.size`` where it is not given.
    capacity, widest
        As the generator's.
    group
        Images whose common standard deviation becomes a feature of each (Karras et al. 2018, section 3): 4. Where a
        batch cannot be divided into such groups, the largest that divides it.
    """

    dimensions = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 1,
        *,
        size: list[int],
        capacity: int = 32768,
        widest: int = 512,
        group: int = 4,
    ) -> None:
        super().__init__()
        if min(capacity, widest, group) < 1:
            raise UserError(
                f"StyleGAN2's discriminator cannot have capacity {capacity}, widest {widest} and group {group}.",
                todo="Give 1 or more.",
            )
        _, halvings = start_and_doublings(size)
        widths = [features_at(4 << level, capacity, widest) for level in range(halvings, -1, -1)]
        self.from_image = EqualisedConv(in_channels, widths[0], 1)
        self.blocks = nn.ModuleList(ResidualHalving(before, after) for before, after in itertools.pairwise(widths))
        self.group = group
        self.last = EqualisedConv(widths[-1] + 1, widths[-1], 3)
        rows, columns = (side >> halvings for side in size)
        self.dense = EqualisedLinear(widths[-1] * rows * columns, widths[-1])
        self.judge = EqualisedLinear(widths[-1], out_channels)

    def forward(self, image: Tensor) -> Tensor:
        features = leaky(self.from_image(image))
        for block in self.blocks:
            features = block(features)
        features = leaky(self.last(torch.cat([features, batch_spread(features, self.group)], dim=1)))
        output: Tensor = self.judge(leaky(self.dense(features.flatten(1))))
        return output


class ResidualHalving(nn.Module):
    """Two 3×3 convolutions, the second halving, plus a halving 1×1 convolution, over √2."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = EqualisedConv(before, before, 3)
        self.blur = Fir((2, 2))
        self.second = EqualisedConv(before, after, 3, stride=2)
        self.blur_skip = Fir((1, 1))
        self.skip = EqualisedConv(before, after, 1, stride=2, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        along = leaky(self.second(self.blur(leaky(self.first(features)))))
        return (along + self.skip(self.blur_skip(features))) / math.sqrt(2)
