"""A VAE that remembers: an image that several edits start from is encoded once for all of them.

What is remembered is the distribution that an image is encoded into, before anything is generated from it: a pipeline that
takes its mode finds the same, and one that generates from it generates with its own generator as if it had been encoded anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import Any

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput

from imagemill.models.loading.row_cache import RowMemory, is_plain

REMEMBERED_BYTES = 64 * 2**20
"""What a VAE remembers at the most, on its device: 64 images of a megapixel for FLUX.1's in bfloat16. A batch's
would do, since the edits of one image are generated one after another."""


def remember_sources(pipeline: Any) -> None:
    """Give the pipeline's VAE a memory, unless it has one."""
    vae = getattr(pipeline, "vae", None)
    if isinstance(vae, torch.nn.Module) and hasattr(vae, "encode") and not isinstance(vae.encode, SourceMemory):
        vae.encode = SourceMemory(vae.encode)


class SourceMemory(RowMemory):
    """Stands in for a VAE's ``encode``, called with images: (n, 3, height, width), or (n, 3, 1, height, width)."""

    def __init__(self, encode: Callable[..., Any], size: int = REMEMBERED_BYTES) -> None:
        super().__init__(encode, size)

    def keys(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Hashable]:
        """For each image the sha256 of its values, and all else that the call says."""
        images, others = (args[0] if args else None), (*args[1:], *sorted(kwargs.items()))
        if (
            not isinstance(images, torch.Tensor)
            or images.ndim < 4
            or not all(is_plain(one) for one in (*args[1:], *kwargs.values()))
        ):
            return []
        # The batch's size and its order in memory decide the bits, too. As bytes, since numpy knows no bfloat16.
        call = tuple(images.shape), images.stride(), images.dtype, images.device, others
        rows = images.contiguous().flatten(1).view(torch.uint8).cpu().numpy()
        return [(*call, hashlib.sha256(row).digest()) for row in rows]

    def rows(self, output: Any, count: int) -> list[torch.Tensor]:
        """Each image's mean and logarithm of the variance, (1, 2 channels, ...)."""
        if type(output) is not AutoencoderKLOutput or type(output.latent_dist) is not DiagonalGaussianDistribution:
            return []
        values = output.latent_dist.parameters
        # In the order in memory that they have, as cat leaves them too: in another a convolution rounds otherwise.
        return [row.clone() for row in values.split(1)] if len(values) == count else []

    def whole(self, rows: list[torch.Tensor]) -> AutoencoderKLOutput:
        """The distribution of these."""
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(torch.cat(rows)))
