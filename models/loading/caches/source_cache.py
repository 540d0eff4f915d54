"""Cache of a VAE's encodings: a source image of several edits is encoded once.

The cached value is the distribution that an image is encoded into, before anything is sampled from it: a pipeline that
takes its mode gets the same one, and one that samples uses its own generator as if the image had been encoded again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import Any

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput

from imagemill.models.loading.caches.row_cache import RowCache, is_plain

MAX_BYTES = 64 * 2**20
"""On the VAE's device: 64 images of a megapixel for FLUX.1's in bfloat16. A batch's would do, since the edits of one
image are generated one after another."""


def cache_sources(pipeline: Any) -> None:
    """Give the pipeline's VAE a cache, unless it has one."""
    vae = getattr(pipeline, "vae", None)
    if isinstance(vae, torch.nn.Module) and hasattr(vae, "encode") and not isinstance(vae.encode, SourceCache):
        vae.encode = SourceCache(vae.encode)


class SourceCache(RowCache):
    """Replaces a VAE's ``encode``, called with images: (n, 3, height, width), or (n, 3, 1, height, width)."""

    def __init__(self, encode: Callable[..., Any], size: int = MAX_BYTES) -> None:
        super().__init__(encode, size)

    def keys(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Hashable]:
        """For each image the sha256 of its values, with all other arguments of the call."""
        images, others = (args[0] if args else None), (*args[1:], *sorted(kwargs.items()))
        are_plain = all(map(is_plain, (*args[1:], *kwargs.values())))
        if not isinstance(images, torch.Tensor) or images.ndim < 4 or not are_plain:
            return []
        # The batch's size and memory format decide the bits, too. As bytes, since numpy has no bfloat16.
        call = tuple(images.shape), images.stride(), images.dtype, images.device, others
        rows = images.contiguous().flatten(1).view(torch.uint8).cpu().numpy()
        return [(*call, hashlib.sha256(row).digest()) for row in rows]

    def rows(self, output: Any, count: int) -> list[torch.Tensor]:
        """Mean and logarithm of the variance of each image, (1, 2 channels, ...)."""
        if type(output) is not AutoencoderKLOutput or type(output.latent_dist) is not DiagonalGaussianDistribution:
            return []
        values = output.latent_dist.parameters
        # The memory format stays, as cat keeps it too: with another one a convolution rounds differently.
        return [row.clone() for row in values.split(1)] if len(values) == count else []

    def whole(self, rows: list[torch.Tensor]) -> AutoencoderKLOutput:
        """The distribution of these rows."""
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(torch.cat(rows)))
