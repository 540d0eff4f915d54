"""Pipelines of every family, made from configs with random weights: small enough for seconds on a CPU, no download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from tokenizers import Regex, Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel

PAD, UNKNOWN, END = "<|endoftext|>", "<|unknown|>", "<|im_end|>"
SPECIAL = ["<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
CHARACTERS = [chr(code) for code in range(32, 127)]
VOCABULARY = [PAD, UNKNOWN, *SPECIAL, *CHARACTERS, END]
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
WIDTH = 32


def tokenizer(longest: int) -> Any:
    """One token a character, so that a text's tokens can be counted by eye."""
    model = Tokenizer(WordLevel({token: number for number, token in enumerate(VOCABULARY)}, unk_token=UNKNOWN))
    model.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    model.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, VOCABULARY.index(END))]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=SPECIAL,
        model_max_length=longest,
        chat_template=TEMPLATE,
    )


def clip(projected: bool = False, **more: Any) -> Any:
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(
        transformers.CLIPTextConfig(
            vocab_size=len(VOCABULARY),
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            projection_dim=WIDTH,
            bos_token_id=None,
            eos_token_id=len(VOCABULARY) - 1,
            **more,
        )
    )


def t5() -> Any:
    return transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=len(VOCABULARY),
            d_model=WIDTH,
            d_kv=8,
            d_ff=WIDTH,
            num_layers=1,
            num_heads=4,
            is_encoder_decoder=False,
        )
    )


def vae(channels: int) -> Any:
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=1,
        sample_size=64,
        **({"use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.0} if channels == 16 else {}),
    )


def unet(channels: int = 4, **more: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=2,
        **{"cross_attention_dim": WIDTH, "attention_head_dim": 4, **more},
    )


def flow_scheduler(**more: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**more)


def sd(channels: int = 4, kind: str = "StableDiffusionPipeline") -> Any:
    return getattr(diffusers, kind)(
        vae=vae(4),
        text_encoder=clip(),
        tokenizer=tokenizer(77),
        unet=unet(channels),
        scheduler=diffusers.PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl(channels: int = 4, kind: str = "StableDiffusionXLPipeline") -> Any:
    return getattr(diffusers, kind)(
        vae=vae(4),
        text_encoder=clip(),
        text_encoder_2=clip(projected=True),
        tokenizer=tokenizer(77),
        tokenizer_2=tokenizer(77),
        unet=unet(
            channels,
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + WIDTH,
            use_linear_projection=True,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
    )


def sd3() -> Any:
    return diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=8,
            in_channels=16,
            out_channels=16,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=32,
            pooled_projection_dim=2 * WIDTH,
        ),
        scheduler=flow_scheduler(),
        vae=vae(16),
        text_encoder=clip(projected=True),
        tokenizer=tokenizer(77),
        text_encoder_2=clip(projected=True),
        tokenizer_2=tokenizer(77),
        text_encoder_3=transformers.T5EncoderModel(
            transformers.T5Config(
                vocab_size=len(VOCABULARY), d_model=2 * WIDTH, d_kv=8, d_ff=WIDTH, num_layers=1, num_heads=4
            )
        ),
        tokenizer_3=tokenizer(512),
    )


def flux(kind: str = "FluxPipeline", channels: int = 64) -> Any:
    return getattr(diffusers, kind)(
        scheduler=flow_scheduler(use_dynamic_shifting=True),
        vae=vae(16),
        text_encoder=clip(),
        tokenizer=tokenizer(77),
        text_encoder_2=t5(),
        tokenizer_2=tokenizer(512),
        transformer=diffusers.FluxTransformer2DModel(
            in_channels=channels,
            out_channels=64,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=True,
            axes_dims_rope=(4, 4, 8),
        ),
    )


def qwen3(layers: int) -> Any:
    return transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(
            vocab_size=len(VOCABULARY),
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
        )
    )


def flux2_parts(guided: bool) -> dict[str, Any]:
    """What the pipelines of FLUX.2 have in common. ``guided``: whether guidance is an input, as in dev."""
    return {
        "scheduler": flow_scheduler(use_dynamic_shifting=True),
        "vae": diffusers.AutoencoderKLFlux2(
            block_out_channels=(8, 8, 8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=1, sample_size=64
        ),
        "transformer": diffusers.Flux2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=3 * WIDTH,
            timestep_guidance_channels=16,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=guided,
        ),
    }


def flux2_klein() -> Any:
    # The pipeline reads the 27th layer's output.
    encoder = {"text_encoder": qwen3(layers=28), "tokenizer": tokenizer(512)}
    return diffusers.Flux2KleinPipeline(**flux2_parts(guided=False), **encoder, is_distilled=True)


def flux2() -> Any:
    """FLUX.2-dev's reads its prompts with a language model that sees, of which it takes the 30th layer's output."""
    words = tokenizer(512)
    # A message's content is a list of texts; the long one of the system has no letters for the tokens of the prompt.
    words.chat_template = (
        "{% for message in messages if message['role'] == 'user' %}"
        "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endfor %}"
    )
    encoder = transformers.Mistral3ForConditionalGeneration(
        transformers.Mistral3Config(
            text_config={
                "model_type": "mistral",
                "vocab_size": len(VOCABULARY),
                "hidden_size": WIDTH,
                "intermediate_size": WIDTH,
                "num_hidden_layers": 30,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "head_dim": 16,
            },
            vision_config={
                "model_type": "pixtral",
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 32,
                "patch_size": 16,
            },
            image_token_index=VOCABULARY.index("<|image_pad|>"),
        )
    )
    return diffusers.Flux2Pipeline(**flux2_parts(guided=True), text_encoder=encoder, tokenizer=words)


def qwen_parts(halvings: int = 3) -> dict[str, Any]:
    """The autoencoder makes an image smaller by 2 to the power of ``halvings``."""
    channels = 16
    return {
        "scheduler": flow_scheduler(use_dynamic_shifting=True, shift_terminal=0.02),
        "vae": diffusers.AutoencoderKLQwenImage(
            base_dim=4,
            z_dim=channels,
            dim_mult=[1] * (halvings + 1),
            temperal_downsample=[False] * halvings,
            num_res_blocks=1,
        ),
        "text_encoder": transformers.Qwen2_5_VLForConditionalGeneration(
            transformers.Qwen2_5_VLConfig(
                text_config={
                    "hidden_size": WIDTH,
                    "intermediate_size": WIDTH,
                    "num_hidden_layers": 1,
                    "num_attention_heads": 2,
                    "num_key_value_heads": 2,
                    "vocab_size": len(VOCABULARY),
                    "rope_parameters": {
                        "mrope_section": [2, 3, 3],
                        "rope_type": "default",
                        "type": "default",
                        "rope_theta": 1e6,
                    },
                },
                vision_config={
                    "depth": 1,
                    "hidden_size": 16,
                    "intermediate_size": 16,
                    "num_heads": 2,
                    "out_hidden_size": WIDTH,
                },
                vocab_size=len(VOCABULARY),
                image_token_id=VOCABULARY.index("<|image_pad|>"),
                video_token_id=VOCABULARY.index("<|video_pad|>"),
                vision_start_token_id=VOCABULARY.index("<|vision_start|>"),
                vision_end_token_id=VOCABULARY.index("<|vision_end|>"),
            )
        ),
        "tokenizer": tokenizer(2048),
        "transformer": diffusers.QwenImageTransformer2DModel(
            in_channels=4 * channels,
            out_channels=channels,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 6, 6),
        ),
    }


class ImagesAlone(transformers.Qwen2VLProcessor):
    """Qwen's processor without its part for videos, which no pipeline here uses and which needs torchvision."""

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id, self.video_token_id = map(
            tokenizer.convert_tokens_to_ids, ("<|image_pad|>", "<|video_pad|>")
        )
        transformers.ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=TEMPLATE)


def qwen_edit(spec: Any, device: torch.device) -> Any:
    """For IMAGEMILL_PIPELINE: with this processor the pipeline cannot be saved and loaded."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    # A few image tokens only: what an image costs the text encoder grows with their number.
    processor = ImagesAlone(Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=56 * 56), tokenizer(2048))
    torch.manual_seed(0)
    # The pipelines make every source a megapixel large, which takes long unless the autoencoder shrinks it more.
    pipeline = getattr(diffusers, spec.pipeline)(**qwen_parts(halvings=5), processor=processor)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def llama() -> Any:
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(VOCABULARY),
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    )


def hidream() -> Any:
    """Its autoencoder makes an image no smaller: the pipeline then generates as many pixels as that has latents."""
    longer = {"max_position_embeddings": 128}
    flat = {"down_block_types": ("DownEncoderBlock2D",), "up_block_types": ("UpDecoderBlock2D",)}
    return diffusers.HiDreamImagePipeline(
        scheduler=flow_scheduler(),
        vae=diffusers.AutoencoderKL(
            **flat, block_out_channels=(8,), latent_channels=4, norm_num_groups=1, shift_factor=0.0
        ),
        text_encoder=clip(projected=True, **longer),
        tokenizer=tokenizer(128),
        text_encoder_2=clip(projected=True, **longer),
        tokenizer_2=tokenizer(128),
        text_encoder_3=t5(),
        tokenizer_3=tokenizer(512),
        text_encoder_4=llama(),
        tokenizer_4=tokenizer(512),
        transformer=diffusers.HiDreamImageTransformer2DModel(
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_channels=[WIDTH, WIDTH],
            text_emb_dim=2 * WIDTH,
            axes_dims_rope=(4, 2, 2),
            max_resolution=(128, 128),
            llama_layers=[0, 1],
        ),
    )


def z_image() -> Any:
    return diffusers.ZImagePipeline(
        scheduler=flow_scheduler(),
        vae=vae(16),
        text_encoder=qwen3(layers=2),
        tokenizer=tokenizer(512),
        transformer=diffusers.ZImageTransformer2DModel(
            in_channels=16,
            dim=32,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=WIDTH,
            axes_dims=[4, 6, 6],
            axes_lens=[1024, 32, 32],
        ),
    )


def sana(kind: str = "SanaPipeline", is_sprint: bool = False) -> Any:
    """Sprint's is distilled with guidance inside, and has a scheduler of its own."""
    flow = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    return getattr(diffusers, kind)(
        tokenizer=tokenizer(300),
        text_encoder=transformers.Gemma2Model(
            transformers.Gemma2Config(
                vocab_size=len(VOCABULARY),
                hidden_size=WIDTH,
                intermediate_size=WIDTH,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=16,
            )
        ),
        vae=diffusers.AutoencoderDC(
            latent_channels=4,
            attention_head_dim=2,
            encoder_block_types=("ResBlock",) * 6,
            decoder_block_types=("ResBlock",) * 6,
            encoder_block_out_channels=(8,) * 6,
            # Sprint generates a megapixel and makes it smaller.
            decoder_block_out_channels=(4 if is_sprint else 8,) * 6,
            encoder_layers_per_block=(1,) * 6,
            decoder_layers_per_block=(1,) * 6,
            encoder_qkv_multiscales=((),) * 6,
            decoder_qkv_multiscales=((),) * 6,
            decoder_norm_types="rms_norm",
        ),
        transformer=diffusers.SanaTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=4,
            num_cross_attention_heads=2,
            cross_attention_head_dim=4,
            cross_attention_dim=8,
            caption_channels=WIDTH,
            sample_size=32 if is_sprint else 16,
            guidance_embeds=is_sprint,
            qk_norm="rms_norm_across_heads" if is_sprint else None,
        ),
        scheduler=diffusers.SCMScheduler(prediction_type="trigflow", sigma_data=0.5) if is_sprint else flow,
    )


MAKERS: dict[str, Callable[[], Any]] = {
    "StableDiffusionPipeline": sd,
    "StableDiffusionInpaintPipeline": lambda: sd(9, "StableDiffusionInpaintPipeline"),
    "StableDiffusionInstructPix2PixPipeline": lambda: sd(8, "StableDiffusionInstructPix2PixPipeline"),
    "StableDiffusionXLPipeline": sdxl,
    "StableDiffusionXLInpaintPipeline": lambda: sdxl(9, "StableDiffusionXLInpaintPipeline"),
    "StableDiffusion3Pipeline": sd3,
    "FluxPipeline": flux,
    "FluxKontextPipeline": lambda: flux("FluxKontextPipeline"),
    # The source's latents and the mask come beside the noise: 64 + 64 + 256 channels.
    "FluxFillPipeline": lambda: flux("FluxFillPipeline", 384),
    "Flux2Pipeline": flux2,
    "Flux2KleinPipeline": flux2_klein,
    "QwenImagePipeline": lambda: diffusers.QwenImagePipeline(**qwen_parts()),
    "ZImagePipeline": z_image,
    "HiDreamImagePipeline": hidream,
    "SanaPipeline": sana,
    "SanaSprintPipeline": lambda: sana("SanaSprintPipeline", is_sprint=True),
}
"""Family -> what makes a small pipeline of it."""


def save_tiny(family: str, folder: Path) -> Path:
    """Save a family's small pipeline, the same at every call, and return its folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        MAKERS[family]().save_pretrained(folder / family, safe_serialization=True)
    return folder / family
