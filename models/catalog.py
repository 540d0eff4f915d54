"""The models by name: where each lies, what it is at its best with, and what exactly it is.

Nothing here imports torch: a build that has nothing to draw, or a plan, never waits for it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from safetensors import SafetensorError, safe_open

from data.errors import RecipeError, UnknownModel
from data.identity import digest
from data.memory import Memory
from data.recipe import Edit, Generate
from data.records import ModelFacts
from data.speed import Speed

Step = Literal["generate", "edit"]

HERE = Path(__file__).parent

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_DECIDES_PIXELS = (".json", ".safetensors", ".txt", ".model")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that is known exactly, and how a step calls it. Travels to the workers."""

    name: str
    source: str
    """A local folder, or an 'org/name' repository."""
    revision: str | None
    """The commit of a repository; None for a folder."""
    files: str | None
    """The hash of a folder's files; None for a repository."""
    pipeline: str
    """Name of the diffusers class that the step calls."""
    dtype: str
    width: int
    height: int
    steps: int
    guidance_scale: float | None
    size_multiple: int
    negative_prompt: bool
    """Whether the pipeline makes use of one."""
    max_sequence_length: int | None
    licence: str
    cache_dir: str | None
    speed: Speed = field(default_factory=Speed)
    memory: Memory = field(default_factory=Memory)

    @property
    def identity(self) -> dict[str, Any]:
        """All of the model that decides pixels. Where it lies does not."""
        weights = {"files": self.files} if self.files else {"repository": self.source, "revision": self.revision}
        call = {"max_sequence_length": self.max_sequence_length} if self.max_sequence_length else {}
        speed, memory = self.speed.identity(), self.memory.identity()
        return {
            **weights,
            **call,
            "pipeline": self.pipeline,
            "dtype": self.dtype,
            **({"speed": speed} if speed else {}),
            **({"memory": memory} if memory else {}),
        }

    @property
    def weights_key(self) -> str:
        """Equal for two specs whose pipelines are made of the same loaded parts."""
        return digest(
            [self.files or [self.source, self.revision], self.dtype, self.speed.model_dump(), self.memory.model_dump()]
        )

    def facts(self) -> ModelFacts:
        """What planning needs to know."""
        return ModelFacts(
            name=self.name,
            revision=self.revision or self.files,
            identity=self.identity,
            width=self.width,
            height=self.height,
            steps=self.steps,
            guidance_scale=self.guidance_scale,
            size_multiple=self.size_multiple,
            negative_prompt=self.negative_prompt,
        )


@cache
def _catalog() -> dict[str, dict[str, Any]]:
    return yaml.safe_load((HERE / "catalog.yaml").read_text(encoding="utf-8"))


def known_models() -> list[str]:
    """The names in the catalog."""
    return list(_catalog()["models"])


def resolve(
    step: Step,
    section: Generate | Edit,
    cache_dir: str | None,
    commit_of: Callable[[str, str | None], str] | None = None,
) -> ModelSpec:
    """The exact model that a recipe section names.

    ``commit_of`` tells the commit of (repository, revision or None); by default the hub is asked. Raises UnknownModel
    and RecipeError, naming the field.
    """
    name, field = section.model, f"recipe.{step}.model"
    entry = _catalog()["models"].get(name)
    folder = HERE / entry["folder"] if entry and "folder" in entry else Path(name).expanduser()
    if entry is None and not (folder / "model_index.json").is_file() and not _REPOSITORY.fullmatch(name):
        raise UnknownModel(
            f"{field} is {name!r}, which is neither in the catalog ({', '.join(known_models())}), "
            "a local folder with model_index.json, nor an 'org/name' repository."
        )
    if (folder / "model_index.json").is_file():
        _refuse_revision(step, section)
        source, commit, files = str(folder.resolve()), None, hash_model(folder)
        index = (folder / "model_index.json").read_text(encoding="utf-8")
    elif entry and "folder" in entry:
        raise UnknownModel(f"{field} is {name!r}, but its folder {str(folder)!r} has no model_index.json.")
    else:
        source, files = (entry["repository"] if entry else name), None
        wanted = section.revision or (entry or {}).get("revision")
        commit = wanted if _COMMIT.fullmatch(wanted or "") else (commit_of or _ask(field, cache_dir))(source, wanted)
        index = None if entry else _fetch_index(field, source, commit, cache_dir)
    family_name = entry["family"] if entry else _class_name(field, name, index)
    family = _catalog()["families"].get(family_name)
    if family is None:
        raise RecipeError(
            f"{field} is {name!r}, a {family_name}, which imagemill cannot call yet. "
            f"It can call: {', '.join(_catalog()['families'])}."
        )
    settings = {**family, **(entry or {})}
    if section.dtype != "auto":
        settings["dtype"] = section.dtype
    elif entry is None and files:
        settings["dtype"] = _saved_dtype(field, folder) or settings["dtype"]
    if step not in settings:
        raise RecipeError(f"{field} is {name!r}, which cannot {step}: {_able(step)}.")
    return ModelSpec(
        name=name if entry or not files else folder.name,
        source=source,
        revision=commit,
        files=files,
        pipeline=settings[step],
        dtype=settings["dtype"],
        width=settings["width"],
        height=settings["height"],
        steps=settings["steps"],
        # A float whichever way the catalog has it: 3 and 3.0 would be two keys for the same pixels.
        guidance_scale=None if settings["guidance_scale"] is None else float(settings["guidance_scale"]),
        size_multiple=settings["size_multiple"],
        negative_prompt=settings["negative_prompt"],
        max_sequence_length=settings.get("max_sequence_length"),
        licence=settings.get("licence", "unknown"),
        cache_dir=cache_dir,
        speed=section.speed,
        memory=section.memory,
    )


def _able(step: Step) -> str:
    catalog = _catalog()
    able = [
        name for name, entry in catalog["models"].items() if step in {**catalog["families"][entry["family"]], **entry}
    ]
    return f"of the catalog these can: {', '.join(able)}"


def _refuse_revision(step: Step, section: Generate | Edit) -> None:
    if section.revision:
        raise RecipeError(
            f"recipe.{step}.revision is {section.revision!r}, but the model {section.model!r} is a local folder, "
            "which has no revisions: leave it out."
        )


def hash_model(folder: Path) -> str:
    """A hash over names and contents of the files in a model's folder that decide pixels."""
    return digest([(str(path.relative_to(folder)), _hash(path)) for path in _model_files(folder)])


def _model_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in _DECIDES_PIXELS and path.is_file() and not path.name.startswith("."):
            yield path


def _class_name(field: str, name: str, index: str | None) -> str | None:
    try:
        found = json.loads(index or "{}")
    except ValueError as error:
        raise RecipeError(f"{field} is {name!r}, whose model_index.json is not JSON: {error}.") from error
    return found.get("_class_name") if isinstance(found, dict) else None


def _saved_dtype(field: str, folder: Path) -> str | None:
    """The dtype of a folder's largest weights; None where it has none that a pipeline can be loaded in."""
    weights = sorted(folder.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    if not weights:
        return None
    try:
        with safe_open(weights[-1], framework="np") as file:
            names = list(file.keys())
            return _DTYPES.get(file.get_slice(names[0]).get_dtype()) if names else None
    except SafetensorError as error:
        # Most often the pointer that Git leaves in the place of a large file.
        raise RecipeError(
            f"{field} is {str(folder)!r}, whose {weights[-1].relative_to(folder)} is not safetensors: {error}. "
            "Copy or download the model again."
        ) from error


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ask(field: str, cache_dir: str | None) -> Callable[[str, str | None], str]:
    def commit_of(repository: str, revision: str | None) -> str:
        from models.hub import resolve_commit

        return resolve_commit(field, repository, revision, cache_dir)

    return commit_of


def _fetch_index(field: str, repository: str, commit: str, cache_dir: str | None) -> str:
    from models.hub import fetch_file

    return fetch_file(field, repository, commit, "model_index.json", cache_dir).read_text(encoding="utf-8")


def check_settings(step: Step, section: Generate | Edit, spec: ModelSpec) -> None:
    """Raises RecipeError when the section asks its model for what it cannot do."""
    if section.speed.step_cache == "first_block" and section.batch_size > 1:
        raise RecipeError(
            f"recipe.{step}.speed.step_cache is 'first_block', which decides for a whole batch at once, so that a "
            f"picture would depend on its neighbours, and recipe.{step}.batch_size is {section.batch_size}: "
            "set batch_size to 1, or take 'taylorseer' or 'magcache'."
        )
    if not isinstance(section, Generate):
        return
    for name in ("width", "height"):
        value = getattr(section, name)
        if value is not None and value % spec.size_multiple:
            near = max(1, round(value / spec.size_multiple)) * spec.size_multiple
            raise RecipeError(
                f"recipe.{step}.{name} is {value}: the model {spec.name!r} draws sizes that are multiples of "
                f"{spec.size_multiple} pixels, for instance {near}."
            )
    if section.negative_prompt and not spec.negative_prompt:
        raise RecipeError(
            f"recipe.{step}.negative_prompt is {section.negative_prompt!r}, but the model {spec.name!r} makes no use "
            "of negative prompts: leave it out."
        )


def licences(specs: Mapping[Step, ModelSpec]) -> list[str]:
    """The models' licences, in the order of the steps."""
    return [spec.licence for spec in specs.values()]
