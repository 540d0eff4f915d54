"""Write docs/models.md from the catalog and the tests: `make docs`. With --check, only say whether it is current."""

from __future__ import annotations

import sys
from pathlib import Path

# Run as a file, Python would look beside this file alone.
sys.path.insert(0, str(Path(__file__).parent.parent))

from imagemill.models.catalog.entries import Entry, Family, read_catalog
from tests.models.families import DRAWN, IN_MEMORY, LARGE, OWN_SIZES, SAVED, WITH_CONTROLNET, WITH_IP_ADAPTER

PAGE = Path(__file__).parent / "models.md"

HEAD = """# Models

A recipe names a model of the catalog (`models/catalog.yaml`) by its key, a local folder with `model_index.json`, or
an `org/name` repository whose pipeline is of one of the families below. Models of your own are entries in a YAML file
that `recipe.models_file` or `IMAGEMILL_MODELS` names. This page is made from the catalog and the tests by `make
docs`.

## The catalog

Size in pixels, steps and guidance are what a recipe gets that leaves them open. Memory is the weights alone in the
entry's dtype, from the published parameter counts, not measured. A gated repository asks you to accept its licence on
its page, and for a token of that account in `HF_TOKEN`. What a licence says of the images is no advice of a lawyer.

HiDream-I1's repository lacks its fourth text encoder, a Llama 3.1, which is gated. It is fetched from Meta's when the
model is first loaded (`imagemill models pull` leaves it to that), at a commit that is recorded and part of the
images' keys. Its pipeline scales whatever is asked for to a megapixel, so other sizes than its own are refused.

"""

TRIED = """
## Which were run

The published weights of these models were not run: none were at hand when this was written. "tiny random weights" is
a pipeline of the true class, with the true kinds of parts, far smaller and untrained. The tests save it, build a
dataset with it, and see that a row's image depends on all that the row asks for (prompt, negative prompt, guidance,
steps, seed, source) and on nothing of its neighbours in the batch. "in memory" is one that was not saved and loaded,
but made where it generates. "not run" means that only the names of the arguments were held against the pipeline's.

Image-to-image and inpainting draw only the last part of the steps, as much as the strength says. Where the default
steps would leave none of them, or nothing of the source to be seen, more are generated; where a recipe or a row asks for
too few, it is refused. Qwen-Image-Edit's processor needs torchvision of the version that fits torch: `pip install
torchvision`.

"""


def page() -> str:
    """The page's text."""
    catalog = read_catalog()
    shelf = ["| key | tasks | size | steps | guidance | negative prompts | memory | licence | gated | images |"]
    shelf.append("|---|---|---|---|---|---|---|---|---|---|")
    shelf += [_model(name, entry, catalog.families[entry.family]) for name, entry in catalog.models.items()]
    tried = ["| family | task | pipeline class | models of the catalog | run how |", "|---|---|---|---|---|"]
    for name, family in catalog.families.items():
        for task, call in family.tasks.items():
            able = catalog.able(task)
            keys = [key for key, entry in catalog.models.items() if entry.family == name and key in able]
            how = _run_how(name, task)
            tried.append(f"| {name} | {task} | `{call.pipeline}` | {', '.join(keys) or 'none'} | {how} |")
            if call.controlnet:
                how = "tiny random weights, CPU" if name in WITH_CONTROLNET else "not run"
                steered = f"`{call.controlnet.pipeline}`"
                tried.append(f"| {name} | {task}, ControlNet | {steered} | {', '.join(keys) or 'none'} | {how} |")
            if call.ip_adapter:
                how = "tiny random weights, CPU" if name in WITH_IP_ADAPTER else "not run"
                steered = f"`{call.pipeline}`"
                tried.append(f"| {name} | {task}, IP-Adapter | {steered} | {', '.join(keys) or 'none'} | {how} |")
    return HEAD + "\n".join(shelf) + "\n" + TRIED + "\n".join(tried) + "\n"


def _model(name: str, entry: Entry, family: Family) -> str:
    settings = entry.settings(family)
    guidance = "none" if settings["guidance_scale"] is None else f"{settings['guidance_scale']:g}"
    cells = [
        f"`{name}`",
        ", ".join(entry.calls(family)),
        f"{settings['width']} x {settings['height']}",
        settings["steps"],
        guidance,
        "yes" if settings["negative_prompt"] else "no",
        f"{entry.memory_gib:g} GiB" if entry.memory_gib else "unknown",
        entry.licence,
        "yes" if entry.gated else "no",
        entry.outputs,
    ]
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _run_how(family: str, task: str) -> str:
    how = DRAWN.get(family, {}).get(task)
    ways = {
        SAVED: "",
        LARGE: ", without a build",
        OWN_SIZES: ", without a build",
        IN_MEMORY: ", in memory, without a build",
    }
    return "not run" if how is None else f"tiny random weights, CPU{ways[how]}"


if __name__ == "__main__":
    text = page()
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.exists() and PAGE.read_text() == text else "docs/models.md is not current: run `make docs`.")
    PAGE.write_text(text)
