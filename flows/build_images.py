"""Build a dataset from a few fields: the short form of build_dataset."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from imagemill.data.config.fields import Seed, Size
from imagemill.flows.build_dataset import build_recipe
from imagemill.flows.form.short_form import ShortForm
from imagemill.flows.form.short_run import keep_parameters, short_run_name
from imagemill.flows.prefect_server.form_defaults import without_null_defaults
from imagemill.flows.prefect_server.served_flow import served
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

Count = Annotated[int, Field(ge=1, le=10_000)]


# None as the default of a number is no type that Prefect's form can show (form_defaults).
# The recipe's own checks apply, and not Prefect's: an error has one sentence, whichever way the flow is started.
@without_null_defaults
@served
@flow(
    name="build-images",
    flow_run_name=short_run_name,
    task_runner=GpuTaskRunner(),
    persist_result=False,
    validate_parameters=False,
)
def build_images(
    prompts: str = "",
    model: str = "",
    width: Size = None,
    height: Size = None,
    images_per_prompt: Count = None,
    instructions: list[str] = [],  # noqa: B006 - as are the other defaults here: what the form shows; never mutated
    seed: Seed = None,
    candidates: Count = None,
    output: str = "",
    recipe: str | dict[str, Any] = "",
    overrides: dict[str, Any] = {},  # noqa: B006
) -> dict[str, Any] | State:
    """Build a dataset from a few fields, and return the run's figures (a line of runs.jsonl).

    Args:
        prompts: A file of prompts (.jsonl, .csv, .txt, .parquet, ...), a folder of such files or of images, a URL, or
            hf:org/name:config:split. A path is on the machine that builds.
        model: A name from the catalog (`imagemill models`), a folder, or an 'org/name' repository. A model that only
            edits works on the images that the rows supply. Empty: the recipe's, or the bundled model of simple shapes.
        width: Image width in pixels, a multiple of 8; empty: the model's default.
        height: Image height in pixels, a multiple of 8; empty: the model's default.
        images_per_prompt: Number of images of each prompt in the dataset; empty: the recipe's, or 1.
        instructions: Edits of each image, one row for each, such as "make it snow"; empty: the recipe's, or none.
        seed: Seed from which all others are derived; empty: the recipe's, or 0. -1: pick a random one and record it.
        candidates: Generate this many images of each prompt and keep the best, by the recipe's scorer, or by the
            similarity of image and prompt; the others go to rejected/. Empty: every image is kept.
        output: Folder for the dataset, or a URL such as s3://bucket/name; empty: out/NAME, after the prompts.
        recipe: Base recipe for everything else: the path of a YAML file, a name such as demo, or its fields. The
            fields above override it. Empty: none.
        overrides: Any other fields of the recipe, by dotted name: {"generate.steps": 28, "image_format": "webp"}.
    """
    form = ShortForm(
        prompts, model, width, height, images_per_prompt, instructions, seed, candidates, output, recipe, overrides
    )
    keep_parameters(form.given())
    return build_recipe(form.load, explain=form.explain)
