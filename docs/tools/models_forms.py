"""Texts of docs/reference/models.md on the forms of a model: single files, replaced parts, other families."""

SINGLE_FILES = """
## Single files

`model: ponyXL.safetensors` loads a checkpoint as Civitai, kohya's scripts and ComfyUI write it, of Stable Diffusion 1.5
and 2, XL and 3, of FLUX.1, and of InstructPix2Pix and the inpainting models of these; for all tasks of its family.
The Hub is not needed: the configuration is read from the shapes of the file's tensors and the family's constants, and
the vocabularies of CLIP and T5 ship with imagemill. The file is identified by its sha256, not by its name or folder.

- The settings are those of the family: for a turbo, lightning or schnell file set `steps` and `guidance_scale`.
- Velocity prediction is detected by the file's metadata (`modelspec.prediction_type`), by the marks `v_pred` and
  `ztsnr` in files of XL, and in Stable Diffusion 2 by one bias.
- Weights of eight bits (fp8, also ComfyUI's scaled ones) are widened to `dtype` when they are loaded, by default the
  family's. Weights packed in four bits are refused.
- EMA weights in a file are ignored.
- A file that lacks a part is refused, and the error names the part; Stable Diffusion 3 works without its T5.
- `memory.quantization` applies to the same parts as in a folder.
- A file with a transformer or UNet alone, as most of FLUX.1's are, is a model if `parts` has the others.
- A file is in the host's memory while it is loaded, and its parts are not shared with other models.

## Replaced parts

```yaml
generate:
  model: sdxl
  parts:
    vae: madebyollin/sdxl-vae-fp16-fix
    unet: {source: studio/fine-tunes, file: mine.safetensors}
```

`vae`, `unet`, `transformer`, `text_encoder`, `text_encoder_2` and `text_encoder_3` can be replaced, in
`generate` and in `edit`: by a part's folder, the part of that name in a whole model's folder, a single file, or a
repository with `subfolder` or `file`. A tiny autoencoder (taesd, taesdxl, taef1) works where the pipeline takes
its latents as they are. Each is part of an image's key: a folder or file by its contents, a repository by a commit.

- A file may have the layout of diffusers or that of its makers (Civitai, ComfyUI: `sdxl_vae.safetensors`,
  `ae.safetensors`, `clip_l.safetensors`, `t5xxl_fp8_e4m3fn.safetensors`, a FLUX.1 transformer). Its configuration is
  read from its shapes; settings that shapes do not show are those of the replaced part.
- A text encoder is loaded as the class of the replaced one; a folder's VAE, UNet or transformer as the folder's class.
- A part is loaded in the step's `dtype`, and `memory.quantization` applies to it as to the replaced one.
- The replaced part of a repository is downloaded nevertheless.

A transformer may be GGUF: `parts: {transformer: flux1-dev-Q8_0.gguf}`, with `pip install 'imagemill[gguf]'`. Its
weights stay quantized in memory and are widened layer by layer, in `dtype`; the other parts are the model's.
Run here with tiny random FLUX.1 and Stable Diffusion 3 in F16, Q8_0 and Q4_0, on a CPU. A text encoder in GGUF is
refused.
"""

UNTRIED = """
## Other pipelines of diffusers

A folder or repository of a class that the catalog does not have, such as AuraFlow, CogView 4 or PixArt-alpha, is
called by its signature, if its call takes a prompt and a generator and makes images from text alone. Steps, guidance
and the length of texts are the defaults of that call, the size is 1024 x 1024 unless the call says more, sizes are
multiples of 32, and a call has one row. The class is read from the source of the installed diffusers.

Such a model has to prove itself in each worker, in up to four calls of four steps: the same row gives the same image,
another seed and another prompt another one. A model that fails is refused with the reason. One that passes is marked
"untested by imagemill" in the plan and on the dataset's card. Run here with tiny random AuraFlow and PixArt-alpha on a
CPU.

A models file (`recipe.models_file`, `IMAGEMILL_MODELS`) describes one as a family, with more tasks, other limits and
arguments that every call has. Its rows are batched unless the task has `max_batch: 1`, and the proof then also compares
a row in both places and beside a long prompt, byte by byte:

```yaml
families:
  PixArtAlphaPipeline:                   # the class in model_index.json
    tasks:
      text-to-image: {pipeline: PixArtAlphaPipeline, arguments: {use_resolution_binning: false}}
    dtype: bfloat16
    width: 1024
    height: 1024
    steps: 20
    guidance_scale: 4.5
    size_multiple: 32
    negative_prompt: true
    max_sequence_length: 120
models:
  alpha: {family: PixArtAlphaPipeline, folder: ./pixart-alpha}
```

A family of the catalog cannot be redefined. `imagemill models` lists the file's models.

"""

_FORMS: tuple[tuple[str, str, str], ...] = (
    (
        "folder with model_index.json; its parts as links, in shards, as fp16 or bf16 variants",
        "all",
        "built and run",
    ),
    (
        "repository of the Hub",
        "all",
        "a stand-in server and a cache; never the Hub",
    ),
    (
        "single file, as Civitai, kohya and ComfyUI write it",
        "Stable Diffusion 1.5, 2, XL; inpainting, InstructPix2Pix",
        "compared with the same weights in a folder: equal in every byte",
    ),
    (
        "single file, as its makers and ComfyUI write it",
        "Stable Diffusion 3, FLUX.1 dev and schnell",
        "the same",
    ),
    (
        "single file of FLUX.1 Fill",
        "FLUX.1 Fill",
        "not run",
    ),
    (
        "single file with fp8 weights, plain or scaled",
        "FLUX.1",
        "compared with the widened weights: equal; others not run",
    ),
    (
        "own VAE, UNet, transformer, text encoder: folder, whole model, file, original layout",
        "Stable Diffusion XL, FLUX.1",
        "compared with a folder put together of both: equal",
    ),
    (
        "own part in a repository: subfolder, file",
        "Stable Diffusion XL",
        "from a cache of the Hub",
    ),
    (
        "tiny autoencoder",
        "Stable Diffusion XL",
        "compared with a folder that has it: equal",
    ),
    (
        "transformer in GGUF",
        "FLUX.1, Stable Diffusion 3",
        "near the image of its weights; Qwen-Image not run",
    ),
    (
        "folder quantized with bitsandbytes, torchao or quanto",
        "all",
        "the error where the package lacks; loading not run",
    ),
    (
        "pipeline that the catalog does not have",
        "AuraFlow, PixArt-alpha",
        "by signature; PixArt-alpha also as a family in a models file",
    ),
    (
        "pickled weights (.bin, .ckpt), own code, modular pipelines",
        "",
        "refused",
    ),
)
"""Form, families, and tests."""

FORMS = (
    """
## Forms

The forms of a model, and the tests of each: always with tiny random weights on a CPU.

| form | families | tests |
|---|---|---|
"""
    + "\n".join(f"| {' | '.join(cells)} |" for cells in _FORMS)
    + "\n"
)
