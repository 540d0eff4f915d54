"""LoRAs, ControlNet and IP-Adapter of a recipe's section, each resolved to its files."""

from __future__ import annotations

from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown
from imagemill.models.catalog.adapters.controlnet import find_controlnet
from imagemill.models.catalog.adapters.ip_adapter import find_ip_adapter
from imagemill.models.catalog.adapters.lora import find_loras
from imagemill.models.catalog.entries import Catalog, TaskCall
from imagemill.models.catalog.source import Locator
from imagemill.models.catalog.spec import Adapters, Step


def find_adapters(step: Step, section: Generate | Edit, call: TaskCall, catalog: Catalog, locator: Locator) -> Adapters:
    """The section's LoRAs, ControlNet and IP-Adapter. Raises RecipeError where the model takes none."""
    field = f"recipe.{step}"
    for name in ("controlnet", "ip_adapter"):
        if getattr(section, name, None) is not None and not getattr(call, name):
            raise RecipeError(
                f"{field}.{name} is given, but {shown(section.model)} takes none. Of the catalog these do: "
                f"{', '.join(catalog.takes(name))}."
            )
    controlnet = ip_adapter = None
    if isinstance(section, Generate) and section.controlnet:
        controlnet = find_controlnet(f"{field}.controlnet", section.controlnet, call.controlnet.part, locator)
    if isinstance(section, Generate) and section.ip_adapter:
        if section.memory.attention_slicing:
            raise RecipeError(
                f"{field}.memory.attention_slicing is true, which excludes {field}.ip_adapter: leave one of them out."
            )
        ip_adapter = find_ip_adapter(f"{field}.ip_adapter", section.ip_adapter, locator)
    return Adapters(find_loras(f"{field}.lora", section.lora, call.pipeline, locator), controlnet, ip_adapter)
