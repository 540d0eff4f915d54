"""Safety checkers, which stay on the device: how much of it do they take?"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.gpu_checks.check import Answer, Setup, yes_or_no

CLIP_L = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


def run(setup: Setup) -> Iterator[Answer]:
    """One of Stable Diffusion's dimensions, in half precision."""
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig

    from imagemill.models.loading.device_memory import bytes_of

    config = CLIPConfig(
        vision_config={**(TINY if setup.tiny else CLIP_L), "patch_size": 14, "image_size": 224}, projection_dim=768
    )
    with torch.device(setup.device):
        checker = StableDiffusionSafetyChecker(config).to(torch.float16)
    total = torch.cuda.mem_get_info()[1] if setup.device.type == "cuda" else 24 * 2**30
    share = bytes_of([checker]) / total
    yield yes_or_no(
        "A safety checker that is never evicted takes under 5 % of the device?",
        share < 0.05,
        gib=bytes_of([checker]) / 2**30,
        share=share,
    )
