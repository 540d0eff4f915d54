"""Names and layouts of tensors as the makers of Stable Diffusion and FLUX.1 publish them, from those of diffusers."""

from __future__ import annotations

import re

import torch

Tensors = dict[str, torch.Tensor]

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_UNET = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE = (
    (r"(\w+coder)\.mid_block\.resnets\.(\d)", lambda found: f"{found[1]}.mid.block_{int(found[2]) + 1}"),
    (r"mid_block\.attentions\.0", lambda found: "mid.attn_1"),
    (r"down_blocks\.(\d)\.resnets", r"down.\1.block"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.(\d)\.resnets", lambda found: f"up.{3 - int(found[1])}.block"),
    (r"up_blocks\.(\d)\.upsamplers\.0", lambda found: f"up.{3 - int(found[1])}.upsample"),
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"attn_1\.group_norm", "attn_1.norm"),
    (r"attn_1\.to_out\.0", "attn_1.proj_out"),
    (r"attn_1\.to_([qkv])", r"attn_1.\1"),
)


def unet_names(tensors: Tensors, layers: int) -> Tensors:
    """``layers``: residual blocks at each resolution on the way down."""
    blocks, found = layers + 1, {}
    attended = {name.split(".")[1] for name in tensors if name.startswith("up_blocks") and ".attentions." in name}
    for name, tensor in tensors.items():
        head, _, end = name.rpartition(".")
        words = name.split(".")
        if head in _UNET:
            found[f"{_UNET[head]}.{end}"] = tensor
            continue
        if words[0] == "mid_block":
            number = 1 if words[1] == "attentions" else 2 * int(words[2])
            found[f"middle_block.{number}.{_inner(words[3:])}"] = tensor
            continue
        level, kind, number = int(words[1]), words[2], int(words[3])
        is_down = words[0] == "down_blocks"
        above = "input_blocks" if is_down else "output_blocks"
        first = level * blocks + is_down
        if kind == "downsamplers":
            found[f"input_blocks.{(level + 1) * blocks}.0.op.{end}"] = tensor
        elif kind == "upsamplers":
            place = 2 if words[1] in attended else 1
            found[f"output_blocks.{first + layers}.{place}.conv.{end}"] = tensor
        else:
            found[f"{above}.{first + number}.{int(kind == 'attentions')}.{_inner(words[4:])}"] = tensor
    return found


def _inner(words: list[str]) -> str:
    return ".".join([_RESNET.get(words[0], words[0]), *words[1:]])


def vae_names(tensors: Tensors) -> Tensors:
    found = {}
    for name, tensor in tensors.items():
        changed = name
        for pattern, replacement in _VAE:
            changed = re.sub(pattern, replacement, changed)
        is_convolution = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", changed)
        found[changed] = tensor[:, :, None, None] if is_convolution else tensor
    return found


def open_clip_names(tensors: Tensors, extra_layers: int = 0) -> Tensors:
    """``extra_layers``: at the end, which the model does not read."""
    plain = {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    layers = 1 + max(int(name.split(".")[2]) for name in plain if name.startswith("encoder.layers."))
    for extra in range(extra_layers):
        last = f"encoder.layers.{layers - 1}."
        plain |= {
            name.replace(last, f"encoder.layers.{layers + extra}."): tensor + 1
            for name, tensor in plain.items()
            if name.startswith(last)
        }
    found = {
        "token_embedding.weight": plain["embeddings.token_embedding.weight"],
        "positional_embedding": plain["embeddings.position_embedding.weight"],
        "ln_final.weight": plain["final_layer_norm.weight"],
        "ln_final.bias": plain["final_layer_norm.bias"],
        "logit_scale": torch.tensor(1.0),
    }
    if "text_projection.weight" in plain:
        found["text_projection"] = plain["text_projection.weight"].T
    for layer in range(layers + extra_layers):
        mine, theirs = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for end in ("weight", "bias"):
            found[f"{theirs}.attn.in_proj_{end}"] = torch.cat(
                [plain[f"{mine}.self_attn.{it}_proj.{end}"] for it in "qkv"]
            )
            for ours, other in (
                ("self_attn.out_proj", "attn.out_proj"),
                ("layer_norm1", "ln_1"),
                ("layer_norm2", "ln_2"),
                ("mlp.fc1", "mlp.c_fc"),
                ("mlp.fc2", "mlp.c_proj"),
            ):
                found[f"{theirs}.{other}.{end}"] = plain[f"{mine}.{ours}.{end}"]
    return found


def flux_names(tensors: Tensors) -> Tensors:
    rest, found = dict(tensors), {}

    def join(target: str, *sources: str) -> None:
        for end in ("weight", "bias"):
            if f"{sources[0]}.{end}" in rest:
                found[f"{target}.{end}"] = torch.cat([rest.pop(f"{source}.{end}") for source in sources])

    def scale(target: str, source: str) -> None:
        found[f"{target}.scale"] = rest.pop(f"{source}.weight")

    embedder = "time_text_embed"
    for ours, other in (
        ("timestep_embedder", "time_in"),
        ("text_embedder", "vector_in"),
        ("guidance_embedder", "guidance_in"),
    ):
        join(f"{other}.in_layer", f"{embedder}.{ours}.linear_1")
        join(f"{other}.out_layer", f"{embedder}.{ours}.linear_2")
    join("txt_in", "context_embedder")
    join("img_in", "x_embedder")
    join("final_layer.linear", "proj_out")
    for end in ("weight", "bias"):
        first, second = rest.pop(f"norm_out.linear.{end}").chunk(2)
        found[f"final_layer.adaLN_modulation.1.{end}"] = torch.cat([second, first])
    for number in sorted({int(name.split(".")[1]) for name in tensors if name.startswith("transformer_blocks.")}):
        ours, other = f"transformer_blocks.{number}", f"double_blocks.{number}"
        join(f"{other}.img_attn.qkv", *(f"{ours}.attn.to_{it}" for it in "qkv"))
        join(f"{other}.txt_attn.qkv", *(f"{ours}.attn.add_{it}_proj" for it in "qkv"))
        join(f"{other}.img_attn.proj", f"{ours}.attn.to_out.0")
        join(f"{other}.txt_attn.proj", f"{ours}.attn.to_add_out")
        join(f"{other}.img_mod.lin", f"{ours}.norm1.linear")
        join(f"{other}.txt_mod.lin", f"{ours}.norm1_context.linear")
        for side, feed in (("img", "ff"), ("txt", "ff_context")):
            join(f"{other}.{side}_mlp.0", f"{ours}.{feed}.net.0.proj")
            join(f"{other}.{side}_mlp.2", f"{ours}.{feed}.net.2")
        for side, added in (("img", ""), ("txt", "added_")):
            scale(f"{other}.{side}_attn.norm.query_norm", f"{ours}.attn.norm_{added}q")
            scale(f"{other}.{side}_attn.norm.key_norm", f"{ours}.attn.norm_{added}k")
    for number in sorted({int(name.split(".")[1]) for name in tensors if name.startswith("single_")}):
        ours, other = f"single_transformer_blocks.{number}", f"single_blocks.{number}"
        join(f"{other}.linear1", *(f"{ours}.attn.to_{it}" for it in "qkv"), f"{ours}.proj_mlp")
        join(f"{other}.linear2", f"{ours}.proj_out")
        join(f"{other}.modulation.lin", f"{ours}.norm.linear")
        scale(f"{other}.norm.query_norm", f"{ours}.attn.norm_q")
        scale(f"{other}.norm.key_norm", f"{ours}.attn.norm_k")
    assert not rest
    return found


def sd3_names(tensors: Tensors) -> Tensors:
    rest, found = dict(tensors), {}

    def join(target: str, *sources: str) -> None:
        for end in ("weight", "bias"):
            if f"{sources[0]}.{end}" in rest:
                found[f"{target}.{end}"] = torch.cat([rest.pop(f"{source}.{end}") for source in sources])

    def swapped(target: str, source: str) -> None:
        for end in ("weight", "bias"):
            first, second = rest.pop(f"{source}.{end}").chunk(2)
            found[f"{target}.{end}"] = torch.cat([second, first])

    found["pos_embed"] = rest.pop("pos_embed.pos_embed")
    join("x_embedder.proj", "pos_embed.proj")
    join("context_embedder", "context_embedder")
    for ours, other in (("timestep_embedder", "t_embedder"), ("text_embedder", "y_embedder")):
        join(f"{other}.mlp.0", f"time_text_embed.{ours}.linear_1")
        join(f"{other}.mlp.2", f"time_text_embed.{ours}.linear_2")
    join("final_layer.linear", "proj_out")
    swapped("final_layer.adaLN_modulation.1", "norm_out.linear")
    numbers = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("transformer_blocks.")})
    for number in numbers:
        ours, other = f"transformer_blocks.{number}", f"joint_blocks.{number}"
        join(f"{other}.x_block.adaLN_modulation.1", f"{ours}.norm1.linear")
        if number == numbers[-1]:
            swapped(f"{other}.context_block.adaLN_modulation.1", f"{ours}.norm1_context.linear")
        else:
            join(f"{other}.context_block.adaLN_modulation.1", f"{ours}.norm1_context.linear")
        join(f"{other}.x_block.attn.qkv", *(f"{ours}.attn.to_{it}" for it in "qkv"))
        join(f"{other}.x_block.attn2.qkv", *(f"{ours}.attn2.to_{it}" for it in "qkv"))
        join(f"{other}.context_block.attn.qkv", *(f"{ours}.attn.add_{it}_proj" for it in "qkv"))
        join(f"{other}.x_block.attn.proj", f"{ours}.attn.to_out.0")
        join(f"{other}.x_block.attn2.proj", f"{ours}.attn2.to_out.0")
        join(f"{other}.context_block.attn.proj", f"{ours}.attn.to_add_out")
        for it in "qk":
            join(f"{other}.x_block.attn.ln_{it}", f"{ours}.attn.norm_{it}")
            join(f"{other}.x_block.attn2.ln_{it}", f"{ours}.attn2.norm_{it}")
            join(f"{other}.context_block.attn.ln_{it}", f"{ours}.attn.norm_added_{it}")
        for side, feed in (("x_block", "ff"), ("context_block", "ff_context")):
            join(f"{other}.{side}.mlp.fc1", f"{ours}.{feed}.net.0.proj")
            join(f"{other}.{side}.mlp.fc2", f"{ours}.{feed}.net.2")
    assert not rest, sorted(rest)
    return found
