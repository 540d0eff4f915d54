"""Train the bundled model from nothing, save it, and measure it through the saved pipeline.

python -m models.bundled.train --autoencoder-minutes 20 --minutes 75 --decoder-minutes 25  # two cores
python -m models.bundled.train --further models/bundled/model --minutes 68 --rate 3e-4 --pairs 12000 --output FOLDER
python -m models.bundled.train --batch 512 --autoencoder-batch 128 --pairs 200000  # a GPU, found by itself, in bf16

It needs no data: the scenes are drawn by models/bundled/scenes.py. Killed, it continues from its last checkpoint in
--work when it is started again; with other settings, start with another --work.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from copy import deepcopy
from pathlib import Path

import torch
from diffusers import FluxPipeline

from imagemill.models.bundled.alignment import align_encoders
from imagemill.models.bundled.architecture import make_pipeline, with_newest_words
from imagemill.models.bundled.autoencoder import train_autoencoder, train_decoder
from imagemill.models.bundled.flow import encode_edits, train_flow

SHIPPED = Path(__file__).parent / "model-2"
WORK = Path(tempfile.gettempdir()) / "imagemill-bundled"


def train(options: argparse.Namespace) -> FluxPipeline:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.further:
        teacher = FluxPipeline.from_pretrained(options.further).to(device)
        pipeline = with_newest_words(deepcopy(teacher)).to(device)
        align_encoders(pipeline, teacher, options.alignment_steps)
    else:
        pipeline = make_pipeline(options.seed).to(device)
        minutes = options.autoencoder_minutes
        train_autoencoder(pipeline.vae, options.work, minutes, options.autoencoder_batch, device=device)
    print(f"Encoding {options.pairs} edits ...", flush=True)
    edits = encode_edits(pipeline, options.pairs, options.work)
    further = options.further is not None
    train_flow(pipeline, edits, options.work, options.minutes, options.batch, options.rate, further)
    if not further:
        train_decoder(pipeline.vae, options.work, options.decoder_minutes, options.autoencoder_batch, device=device)
    return pipeline


def _leave_out_paths(folder: Path) -> None:
    """Take the folder that training began with out of the saved parts' configs."""
    for path in folder.glob("*/config.json"):
        config = json.loads(path.read_bytes())
        if config.pop("_name_or_path", None):
            path.write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=WORK, help="checkpoints go here")
    parser.add_argument("--output", type=Path, default=SHIPPED, help="the pipeline is saved here")
    parser.add_argument("--further", type=Path, help="train this pipeline's text encoders and transformer further")
    parser.add_argument("--alignment-steps", type=int, default=1200, help="of --further: encoders alone")
    parser.add_argument("--autoencoder-minutes", type=float, default=20)
    parser.add_argument("--autoencoder-batch", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=65, help="for the transformer and the text encoders")
    parser.add_argument("--decoder-minutes", type=float, default=25, help="for the autoencoder's decoder alone")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3, help="the highest learning rate of the transformer")
    parser.add_argument("--pairs", type=int, default=30_000, help="scenes and edits that are encoded beforehand")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    pipeline = train(options)
    pipeline.to("cpu")
    # Half the bytes. Not the text encoders: loaded with no dtype given, they alone would stay in half precision.
    pipeline.transformer.half()
    pipeline.vae.half()
    pipeline.save_pretrained(options.output, safe_serialization=True)
    _leave_out_paths(options.output)
    print(f"Saved to {options.output}.")
    subprocess.run([sys.executable, "-m", "benchmarks.bundled_quality", "--model", str(options.output)], check=True)


if __name__ == "__main__":
    main()
