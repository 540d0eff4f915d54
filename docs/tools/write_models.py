"""Generator of docs/reference/models.md from the catalog: `make docs`. With --check, only compares it."""

from __future__ import annotations

from pathlib import Path

from generated import write_or_compare
from models_forms import FORMS, SINGLE_FILES, UNTRIED

from imagemill.models.catalog.entries import Entry, Family, read_catalog
from imagemill.models.catalog.scorers.entries import ScorerEntry
from imagemill.models.catalog.tried import IN_MEMORY, LARGE, OWN_SIZES, SAVED, TRIED, WITH_CONTROLNET, WITH_IP_ADAPTER

PAGE = Path(__file__).parents[1] / "reference/models.md"

HEAD = """# Models

A recipe names a model of the catalog (`models/catalog/catalog.yaml`) by its key, a local folder with
`model_index.json`, or an `org/name` repository whose pipeline belongs to one of the families below. Add your own
models in a YAML file that `recipe.models_file` or `IMAGEMILL_MODELS` names. `make docs` writes this page from the
catalog.

## The catalog

Size in pixels, steps and guidance are the defaults for a recipe that does not set them. Memory is that of the weights
in the entry's dtype, computed from the published parameter counts, not measured. For a gated repository, accept its
licence on its page and put a token of that account into `HF_TOKEN`. The last column sums up the licence's terms for
generated images; this is not legal advice.

HiDream-I1's repository lacks its fourth text encoder, a Llama 3.1, which is gated. It is downloaded from Meta's
repository when the model is first loaded (not by `imagemill models pull`), at a commit that is recorded and part of
the images' keys. The pipeline scales every requested size to a megapixel, so sizes other than its own are refused.

"""

SCORERS = """
## Scorers

Models that judge images, for a recipe's `scorers`; `imagemill models pull KEY` downloads one ahead of a build. Beside
these, `similarity` and `head` take any folder or repository of an encoder that transformers' AutoModel loads with
`get_image_features` or a pooled output (CLIP, SigLIP, DINO), and `classify` any that
AutoModelForImageClassification loads: safetensors alone, no code of the model. All are loaded in float32 unless the
recipe sets another dtype, and prepare images with Pillow. Add your scorers to the YAML file of your models, under
`scorers`: `kinds`, `repository` or `folder`, `licence` and so on. Only the bundled one was run with its published
weights: the tests run tiny ones of the same classes.

A head is a chain of linear layers in one safetensors file, on the image's unit vector, such as
`ttj/sac-logos-ava1-l14-linearMSE` on `clip-vit-large-patch14`. The file's
metadata can name the function between the layers as `activation`, and the last one as `output`: none, relu, gelu,
sigmoid or tanh.

"""

NAMES = """
## Names and folders

Capitals do not matter in a key, in the further names below, and in `org/name` of the entry's repository. A dataset that
was begun by a version without these names keeps its family's defaults for `org/name`; new datasets have the entry's.

"""

FOLDERS = """
A folder needs `model_index.json`, and each part safetensors under the usual names, in one file or in shards. Where a
part has only a variant, such as `model.fp16.safetensors`, the model is loaded in it. A part that has only pickled
weights (`.bin`, `.ckpt`) is refused, with the command that converts it. No code of a model runs: custom pipelines and
parts are refused. A folder that exists is never looked up on the Hub.

The hashes of files of over a megabyte are cached in `~/.cache/imagemill/hashes/files.json` (or below `XDG_CACHE_HOME`),
so that a plan reads no weights again. A file whose path, size, inode or times changed is read again. After deleting the
cache, the next plan reads all files once.
"""

MEMORY = """
## Quantization and offload

`memory.quantization` takes the transformer or UNet, and every other part of over half a billion weights (a gigabyte in
16 bits) but the autoencoder: the language models of FLUX.2, Qwen-Image, Z-Image, SANA and HiDream, and T5 in FLUX.1 and
Stable Diffusion 3. The ChatGLM of Kolors, a class that is neither diffusers' nor transformers', stays in `dtype`.
bitsandbytes needs an NVIDIA GPU, torchao does not. Parts whose files are quantized already stay as they are.

`float8_storage` takes the transformer or UNet alone, and needs no package: its weights lie in eight bits (e4m3) in
memory, and each layer is widened to `dtype` while it computes (diffusers' layerwise casting; norms and embeddings stay
wide). The weights of a plain fp8 file are so kept as they are in the file. They are made small on the host, so that the
transformer has to fit there once in `dtype`. Run here with tiny random FLUX.1, Qwen-Image, Z-Image, Stable Diffusion 3
and XL, on a CPU; with `speed.compile` and with offload it was not run. It excludes `lora` and `ip_adapter`.

| offload | bitsandbytes_8bit | bitsandbytes_4bit | torchao | float8_storage |
|---|---|---|---|---|
| none, model | yes | yes | yes | yes |
| sequential | yes | refused: a 4-bit weight cannot be put back layer by layer | yes | refused |
| group | refused: 8-bit layers cannot be moved in groups | yes | yes | yes |

The pairs with sequential were tested layer by layer on a CPU; the others follow from the sources of diffusers 0.42 and
accelerate 1.15. Before a model is loaded, others are evicted if it needs their memory: its size is that of the loaded
files, in their dtype and quantization. An offloaded model takes no device memory between its batches, and stays loaded.
With `model`, a text is encoded once, so its encoder stays in host memory.
"""

IDENTITY = """
## Identity of a model

An image's key covers the model that generated it: with another model, its images are generated again.

- A repository is identified by its commit.
- A folder is identified by the names and contents of its `.json`, `.safetensors`, `.txt` and `.model` files, at any
  depth and behind links: to files, as in the Hub's cache, and to folders where `model_index.json` names them as parts.
  The same holds for LoRAs, ControlNets and IP-Adapters. A part that is linked to other weights, or replaced, generates
  all images again; a moved folder, new dates of files, and another readme generate none.
"""

COMBINATIONS = """
## Tested combinations

None of these models was run with its published weights. "tiny random weights" is a pipeline of the real class with the
real kinds of parts, far smaller and untrained. The tests save it, build a dataset with it, and check that an image
depends on everything in its row (prompt, negative prompt, guidance, steps, seed, source) and not on its neighbours
in the batch: with short and very long prompts beside it, its latents are the same bits in float32 and bfloat16
(`tests/models/drawing/test_neighbours.py`, which also has how far a prompt moves each tiny pipeline). "in memory": the
pipeline was not saved and loaded, but constructed in the worker. "not run": only the names of the arguments were
compared with the pipeline's signature.

Qwen-Image's prompts all have the length that it can read, 512 tokens, and a mask: its pipeline would pad them to the
longest of a batch, so that an image depended on its neighbours. Attention backends that take no mask are refused for
it.

FLUX.1 and Kontext read no negative prompt, unless the recipe gives a `true_cfg_scale` (true classifier-free guidance, a
second pass in every step): then each row is guided away from its own, or from the empty one. FLUX.1 Fill takes none.

Image-to-image and inpainting run only the last steps, a share equal to the strength. Where the default number of steps
would leave none, or would hide the source completely, more steps are run; a recipe or row that asks for too few is
refused. Qwen-Image needs two steps at least. Qwen-Image-Edit's processor needs the torchvision version that matches
torch: `pip install torchvision`. So does Qwen-Image 2.1's, and Kolors' tokenizer needs `pip install sentencepiece`: for
these two, a plan names the package that is missing.

Qwen-Image 2.1 generates four channels. Its transparency is put on white, as that of input images is. Rows are generated
one by one, and its guidance scale of 1 means none: with more, each step makes a second pass. Where its
`model_index.json` fixes the noise levels of all steps (`sample_sigmas`), the first batch with another number of steps
stops the build.

"""


def page() -> str:
    """The page's text."""
    catalog = read_catalog()
    models = ["| key | tasks | size | steps | guidance | negative prompts | memory | licence | gated | images |"]
    models.append("|---|---|---|---|---|---|---|---|---|---|")
    models += [_model(name, entry, catalog.families[entry.family]) for name, entry in catalog.models.items()]
    scorers = ["| key | for scorers of kind | repository | texts | memory | licence |", "|---|---|---|---|---|---|"]
    scorers += [_scorer(name, entry) for name, entry in catalog.scorers.items()]
    named = {name: ", ".join(f"`{alias}`" for alias in entry.aliases) for name, entry in catalog.models.items()}
    names = [f"- `{name}`: {aliases}" for name, aliases in named.items() if aliases]
    tried = ["| family | task | pipeline class | models of the catalog | tested with |", "|---|---|---|---|---|"]
    for name, family in catalog.families.items():
        for task, call in family.tasks.items():
            able = catalog.able(task)
            keys = [key for key, entry in catalog.models.items() if entry.family == name and key in able]
            how = _run_how(name, task)
            tried.append(f"| {name} | {task} | `{call.pipeline}` | {', '.join(keys) or 'none'} | {how} |")
            if call.controlnet:
                how = "tiny random weights, CPU" if name in WITH_CONTROLNET else "not run"
                kind = f"`{call.controlnet.pipeline}`"
                tried.append(f"| {name} | {task}, ControlNet | {kind} | {', '.join(keys) or 'none'} | {how} |")
            if call.ip_adapter:
                how = "tiny random weights, CPU" if name in WITH_IP_ADAPTER else "not run"
                kind = f"`{call.pipeline}`"
                tried.append(f"| {name} | {task}, IP-Adapter | {kind} | {', '.join(keys) or 'none'} | {how} |")
    return (
        HEAD
        + "\n".join(models)
        + "\n"
        + SCORERS
        + "\n".join(scorers)
        + "\n"
        + NAMES
        + "\n".join(names)
        + "\n"
        + FOLDERS
        + SINGLE_FILES
        + UNTRIED
        + FORMS
        + IDENTITY
        + MEMORY
        + COMBINATIONS
        + "\n".join(tried)
        + "\n"
    )


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


def _scorer(name: str, entry: ScorerEntry) -> str:
    cells = [
        f"`{name}`",
        ", ".join(entry.kinds),
        entry.repository or "ships with imagemill",
        "yes" if entry.texts and "classify" not in entry.kinds else "no",
        f"{entry.memory_gib:g} GiB" if entry.memory_gib else "unknown",
        entry.licence,
    ]
    return f"| {' | '.join(cells)} |"


def _run_how(family: str, task: str) -> str:
    how = TRIED.get(family, {}).get(task)
    details = {
        SAVED: "",
        LARGE: ", without a build",
        OWN_SIZES: ", without a build",
        IN_MEMORY: ", in memory, without a build",
    }
    return "not run" if how is None else f"tiny random weights, CPU{details[how]}"


if __name__ == "__main__":
    write_or_compare(PAGE, page())
