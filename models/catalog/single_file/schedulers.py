"""Scheduler of a single-file checkpoint: its family's own, for the noise levels that the file was trained with."""

from __future__ import annotations

from typing import Any

from imagemill.models.catalog.single_file.header import Header
from imagemill.models.catalog.single_file.unet import Shapes, is_sd2, is_sdxl

V_PREDICTION_SPREAD = 0.09
"""Standard deviation of one bias in Stable Diffusion 2 above which it predicts velocities: that of 2.1 is over it, that
of 2.1 base below (ComfyUI's rule)."""

_V_PREDICTION = ("v", "v_prediction")
_NOISE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}
_FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000}


def scheduler_config(header: Header, prefix: str, shapes: Shapes) -> dict[str, Any]:
    """The scheduler's config. ``prefix``: of the denoiser's tensors, ``shapes``: theirs."""
    if "joint_blocks.0.x_block.attn.qkv.weight" in shapes:
        return {**_FLOW, "shift": 3.0}
    if "double_blocks.0.img_attn.norm.key_norm.scale" in shapes:
        levels = {"base_image_seq_len": 256, "base_shift": 0.5, "max_image_seq_len": 4096, "max_shift": 1.15}
        is_guided = "guidance_in.in_layer.weight" in shapes
        # schnell, the one without guidance, was distilled to few steps at all sizes.
        return {**_FLOW, **levels, "shift": 3.0 if is_guided else 1.0, "use_dynamic_shifting": is_guided}
    prediction = {"prediction_type": "v_prediction" if _predicts_velocity(header, prefix, shapes) else "epsilon"}
    if is_sdxl(shapes):
        spacing = {"timestep_spacing": "leading"}
        if "ztsnr" in header.tensors:
            # Trained down to no signal at all, so that the first step has to begin there.
            spacing = {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True}
        return {
            "_class_name": "EulerDiscreteScheduler",
            **_NOISE,
            **prediction,
            "interpolation_type": "linear",
            "sample_max_value": 1.0,
            "use_karras_sigmas": False,
            **spacing,
        }
    return {"_class_name": "DDIMScheduler" if is_sd2(shapes) else "PNDMScheduler", **_NOISE, **prediction}


def _predicts_velocity(header: Header, prefix: str, shapes: Shapes) -> bool:
    """By the file's metadata (modelspec), or by a mark that XL's have; Stable Diffusion 2 shows it in a bias."""
    if said := header.metadata.get("modelspec.prediction_type"):
        return said in _V_PREDICTION
    if "v_pred" in header.tensors:
        return True
    if not is_sd2(shapes) or shapes["input_blocks.0.0.weight"][1] != 4:
        return False
    bias = header.values(f"{prefix}output_blocks.11.1.transformer_blocks.0.norm1.bias")
    return bias is not None and float(bias.std()) > V_PREDICTION_SPREAD
