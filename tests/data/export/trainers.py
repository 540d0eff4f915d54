"""What trainers make of a folder: the rule by which each pairs an image with its caption and its controls.

Written anew from their sources, as read on 2026-11-29; each function names its source. A trainer's view of a dataset is
a list of (image, caption, controls).
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import yaml

Sample = tuple[Path, str, tuple[Path, ...]]


def sd_scripts(folder: Path) -> list[Sample]:
    """https://github.com/kohya-ss/sd-scripts, library/train_util.py: glob_images, read_caption, ControlNetDataset."""
    extensions = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
    samples: list[Sample] = []
    for dataset in tomllib.loads((folder / "kohya.toml").read_text())["datasets"]:
        for subset in dataset["subsets"]:
            used = set()
            for image in (path for path in Path(subset["image_dir"]).iterdir() if path.suffix in extensions):
                lines = image.with_suffix(".txt").read_text().splitlines()
                assert lines, "caption file is empty"
                controls: tuple[Path, ...] = ()
                if "conditioning_data_dir" in subset:
                    found = [Path(subset["conditioning_data_dir"]) / (image.stem + suffix) for suffix in extensions]
                    controls = (next(path for path in found if path.is_file()),)
                    used.add(controls[0])
                samples.append((image, lines[0].strip(), controls))
            if "conditioning_data_dir" in subset:
                assert set(Path(subset["conditioning_data_dir"]).iterdir()) == used, "extra conditioning data"
    return samples


def musubi_tuner(folder: Path) -> list[Sample]:
    """https://github.com/kohya-ss/musubi-tuner, src/musubi_tuner/dataset/datasources.py: ImageJsonlDatasource."""
    samples: list[Sample] = []
    for dataset in tomllib.loads((folder / "musubi.toml").read_text())["datasets"]:
        assert dataset["cache_directory"]
        for text in Path(dataset["image_jsonl_file"]).read_text().splitlines():
            line = json.loads(text)
            if "control_path" in line:
                line["control_path_0"] = line.pop("control_path")
            keys = sorted((key for key in line if key.startswith("control_path_")), key=lambda key: int(key[13:]))
            assert keys == [f"control_path_{number}" for number in range(len(keys))]
            samples.append((Path(line["image_path"]), line["caption"], tuple(Path(line[key]) for key in keys)))
    return samples


def musubi_tuner_folders(target: Path, control: Path) -> list[Sample]:
    """The same file: ImageDirectoryDatasource, whose controls are all files that begin with the image's name."""
    extensions = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".avif")
    left = {path for path in control.iterdir() if path.suffix in extensions}
    samples: list[Sample] = []
    for image in sorted((path for path in target.iterdir() if path.suffix in extensions), key=lambda p: -len(p.name)):
        found = {path for path in left if path.name.startswith((image.stem + ".", image.stem + "_"))}
        left -= found
        assert all(path.stem == image.stem or path.stem.rsplit("_", 1)[-1].isdigit() for path in found)
        samples.append((image, image.with_suffix(".txt").read_text().strip(), tuple(sorted(found))))
    assert not left
    return samples


def ai_toolkit(folder: Path) -> list[Sample]:
    """https://github.com/ostris/ai-toolkit, toolkit/data_loader.py, dataloader_mixins.py: ControlFileItemDTOMixin."""
    extensions = (".jpg", ".jpeg", ".png", ".webp")
    samples: list[Sample] = []
    for dataset in yaml.safe_load((folder / "ai-toolkit.yaml").read_text())["config"]["process"][0]["datasets"]:
        for image in Path(dataset["folder_path"]).rglob("*"):
            if image.suffix.lower() not in extensions or image.name.startswith("."):
                continue
            caption = image.with_suffix("." + dataset["caption_ext"])
            places = [Path(place) / image.stem for place in dataset.get("control_path", [])]
            found = [
                next((Path(f"{place}{one}") for one in extensions if Path(f"{place}{one}").exists()), None)
                for place in places
            ]
            controls = tuple(path for path in found if path is not None)
            samples.append((image, caption.read_text() if caption.exists() else "", controls))
    return samples


def diffsynth_studio(folder: Path, keys: tuple[str, ...]) -> list[Sample]:
    """https://github.com/modelscope/DiffSynth-Studio, diffsynth/core/data/unified_dataset.py: UnifiedDataset."""
    samples: list[Sample] = []
    for text in (folder / "metadata.jsonl").read_text().splitlines():
        data = json.loads(text.strip())
        found = {key: data[key] if isinstance(data[key], list) else [data[key]] for key in keys if key in data}
        paths = {key: tuple(folder / name for name in names) for key, names in found.items()}
        controls = tuple(path for key in keys[1:] for path in paths.get(key, ()))
        samples.append((paths["image"][0], data["prompt"], controls))
    return samples


def simple_tuner(folder: Path) -> list[Sample]:
    """https://github.com/bghira/SimpleTuner, documentation/quickstart/FLUX_KONTEXT.md, simpletuner/helpers/prompts.py.

    The names and suffixes of a control and its image are equal, and each line of a text file is a caption.
    """
    samples: list[Sample] = []
    backends = {backend["id"]: backend for backend in json.loads((folder / "multidatabackend.json").read_text())}
    for backend in backends.values():
        if backend.get("dataset_type", "image") != "image":
            continue
        for image in Path(backend["instance_data_dir"]).glob("*.[pjw]*"):
            controls = tuple(
                Path(backends[one]["instance_data_dir"]) / image.name for one in backend.get("conditioning_data", [])
            )
            (caption,) = image.with_suffix(".txt").read_text().splitlines()
            samples.append((image, caption, controls))
    return samples


def one_trainer(folder: Path) -> list[Sample]:
    """https://github.com/Nerogar/OneTrainer, modules/dataLoader/mixin/DataLoaderText2ImageMixin.py."""
    samples: list[Sample] = []
    for concept in json.loads((folder / "concepts.json").read_text()):
        for image in Path(concept["path"]).iterdir():
            is_image = image.suffix.lower() in {".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".avif"}
            if is_image and not image.stem.endswith(("-masklabel", "-condlabel")):
                controls = (image.with_name(f"{image.stem}-condlabel.png"),)
                samples.append((image, image.with_suffix(".txt").read_text(), controls))
    return samples
