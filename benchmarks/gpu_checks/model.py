"""Model folders for the checks, with random weights: python -m benchmarks.gpu_checks.model FOLDER [--tiny]

Blocks of FLUX.1-dev's true dimensions, but few: 2 of 19 double and 4 of 38 single ones, 2 of 24 layers of T5. About
3.5 GB each in bfloat16, made on the GPU in seconds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

FEW = {
    "transformer": {"num_layers": 2, "num_single_layers": 4},
    "t5": {"num_layers": 2},
    "clip": {"num_hidden_layers": 2},
}


def save_models(folder: Path, tiny: bool) -> list[Path]:
    """Save two models, of which the second has another transformer. Those that are there already are taken."""
    from benchmarks.flux_dimensions import TINY, random_pipeline

    models = [folder / "model-0", folder / "model-1"]
    if not models[1].is_dir():
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(0)
        pipeline = random_pipeline(torch.bfloat16, device, TINY if tiny else FEW)
        pipeline.save_pretrained(models[0])
        for weight in pipeline.transformer.parameters():
            weight.data.mul_(0.5)
        pipeline.save_pretrained(models[1])
    return models


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    sys.stdout.write(f"{save_models(options.folder, options.tiny)}\n")
