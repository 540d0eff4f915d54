"""Offload of whole parts (`memory.offload: model`): each is in host memory but while it computes.

diffusers removes its hooks at the end of each call of a pipeline, and adds new ones. With them goes what lies over a
part's ``forward``: the cache of text encodings. And a second pipeline around the same parts knows of no hooks: its last
part stays on the device. Here the hooks stay, for all pipelines of the parts.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate.hooks import CpuOffload, add_hook_to_module

from imagemill.models.loading.memory.pinned import to_host


class PinnedOffload(CpuOffload):
    """accelerate's hook; the part waits in pinned memory."""

    def init_hook(self, module: torch.nn.Module) -> torch.nn.Module:
        """Move the part to the host. accelerate's hooks call it whenever the part is to leave the device."""
        if any(weight.is_cuda for weight in module.parameters()):
            return to_host(module)
        return super().init_hook(module)


class KeptHooks:
    """Replaces a pipeline's ``maybe_free_model_hooks``, which it calls at its end: parts leave, their hooks stay."""

    def __init__(self, pipeline: Any, hooks: list[Any]) -> None:
        self.hooks = hooks
        self._reset = pipeline.maybe_free_model_hooks

    def __call__(self) -> None:
        """Move all parts to the host, and reset what a step cache has of the call."""
        # Without hooks that it knows of, diffusers' own does nothing else.
        self._reset()
        for hook in self.hooks:
            hook.offload()


def offload_parts(pipeline: Any, device: torch.device) -> None:
    """Offload a pipeline's parts, in the order that its class names."""
    pipeline.enable_model_cpu_offload(device=device)
    hooks, pipeline._all_hooks = pipeline._all_hooks, []
    for hook in hooks:
        hook.hook = PinnedOffload(hook.hook.execution_device, hook.hook.prev_module_hook)
        add_hook_to_module(hook.model, hook.hook)
    _keep_hooks(pipeline, hooks)


def share_offload(pipeline: Any, other: Any) -> None:
    """Give a second pipeline the hooks of the first, around whose parts it is, if that one's parts are offloaded."""
    kept = pipeline.__dict__.get("maybe_free_model_hooks")
    if isinstance(kept, KeptHooks):
        _keep_hooks(other, kept.hooks)


def _keep_hooks(pipeline: Any, hooks: list[Any]) -> None:
    # Past the pipeline's own __setattr__, which takes what it is given for a part of the model.
    object.__setattr__(pipeline, "maybe_free_model_hooks", KeptHooks(pipeline, hooks))
