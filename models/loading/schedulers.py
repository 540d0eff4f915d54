"""Schedulers by name, configured like the pipeline's own."""

from __future__ import annotations

import inspect
from typing import Any

from imagemill.data.config.schedulers import SchedulerName

_KARRAS = {"use_karras_sigmas": True}
_PLAIN = {"use_karras_sigmas": False}
_FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}

_CLASSES: dict[SchedulerName, tuple[str, dict[str, Any]]] = {
    "euler": ("EulerDiscreteScheduler", _PLAIN),
    "euler a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", _PLAIN),
    "dpm2": ("KDPM2DiscreteScheduler", _PLAIN),
    "dpm2 a": ("KDPM2AncestralDiscreteScheduler", _PLAIN),
    "dpm++ 2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", **_PLAIN}),
    "dpm++ 2m karras": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", **_KARRAS}),
    "dpm++ 2m sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", **_PLAIN}),
    "dpm++ 2m sde karras": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", **_KARRAS}),
    "unipc": ("UniPCMultistepScheduler", _PLAIN),
    "deis": ("DEISMultistepScheduler", _PLAIN),
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
    "euler trailing": ("EulerDiscreteScheduler", {"timestep_spacing": "trailing", **_PLAIN}),
    "ddim trailing": ("DDIMScheduler", {"timestep_spacing": "trailing"}),
    "flow-match euler": ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": False}),
    "flow-match heun": ("FlowMatchHeunDiscreteScheduler", {}),
    "flow-match dpm++ 2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", **_FLOW}),
    "flow-match unipc": ("UniPCMultistepScheduler", _FLOW),
}
"""Name -> class of diffusers, and changes to the configuration. FlowMatchLCMScheduler is left out: pipelines of
flow-matching models pass it no generator, so no image could be generated again (models.catalog.schedulers)."""


def use_scheduler(pipeline: Any, own: Any, name: SchedulerName | None) -> None:
    """Give the pipeline the named scheduler. ``own``: the one that it was loaded with."""
    if name is None:
        pipeline.scheduler = own
        return
    import diffusers

    kind, changes = _CLASSES[name]
    config = dict(own.config)
    # One setting under two names: the shift of the noise levels.
    shift = config.get("flow_shift", config.get("shift"))
    shifted = {} if shift is None else {"flow_shift": shift, "shift": shift}
    scheduler = getattr(diffusers, kind)
    takes = inspect.signature(scheduler.__init__).parameters
    shift = {name: value for name, value in shifted.items() if name in takes}
    pipeline.scheduler = scheduler.from_config(own.config, **changes, **shift)


_SAMPLERS = {
    "DDIMScheduler": "DDIM",
    "DDPMScheduler": "DDPM",
    "DEISMultistepScheduler": "DEIS",
    "EulerAncestralDiscreteScheduler": "Euler a",
    "EulerDiscreteScheduler": "Euler",
    "FlowMatchEulerDiscreteScheduler": "Euler",
    "FlowMatchHeunDiscreteScheduler": "Heun",
    "HeunDiscreteScheduler": "Heun",
    "KDPM2AncestralDiscreteScheduler": "DPM2 a",
    "KDPM2DiscreteScheduler": "DPM2",
    "LCMScheduler": "LCM",
    "LMSDiscreteScheduler": "LMS",
    "PNDMScheduler": "PLMS",
    "TCDScheduler": "TCD",
    "UniPCMultistepScheduler": "UniPC",
}
_SOLVERS = {"dpmsolver": "DPM", "dpmsolver++": "DPM++", "sde-dpmsolver": "DPM", "sde-dpmsolver++": "DPM++"}


def sampler_name(pipeline: Any) -> str | None:
    """The name that AUTOMATIC1111's web UI has for the pipeline's scheduler; diffusers' where it has none.

    None for a pipeline without one.
    """
    scheduler = getattr(pipeline, "scheduler", None)
    if scheduler is None:
        return None
    kind, config = type(scheduler).__name__, scheduler.config
    algorithm = config.get("algorithm_type")
    if kind == "DPMSolverMultistepScheduler" and algorithm in _SOLVERS:
        name = f"{_SOLVERS[algorithm]} {config.get('solver_order', 2)}M{' SDE' * algorithm.startswith('sde-')}"
    else:
        name = _SAMPLERS.get(kind, kind.removesuffix("Scheduler"))
    return f"{name} Karras" if config.get("use_karras_sigmas") else name
