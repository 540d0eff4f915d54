"""The small model that ships with the project, its scorer, their world of shapes, and the scripts that trained both."""

from pathlib import Path

CLIP_FOLDER = Path(__file__).parent / "clip"
"""The bundled scorer: a plain `save_pretrained` folder of a CLIPModel, its tokenizer and its image processor."""
