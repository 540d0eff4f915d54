"""A recipe's template and sweep: how many rows come of one."""

from __future__ import annotations

import string
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from imagemill.data.config.fields import Guidance, MaybeText, Number, Section, Size, Steps, Text
from imagemill.data.identity import MAX_SEED

Sample = Annotated[int, Field(ge=1, le=10_000_000), Number]
OneSeed = Annotated[int, Field(ge=0, le=MAX_SEED), Number]


def _as_list(value: Any) -> Any:
    """One text is a list of one."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    return [value] if isinstance(value, str) else value


def _as_texts(value: Any) -> Any:
    """Numbers in a list of words are words too; yes and no are what YAML has made true and false of."""
    if not isinstance(value, dict):
        return value
    return {name: [_as_text(one) for one in some] if isinstance(some, list) else some for name, some in value.items()}


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class Template(Section):
    """Prompts made of texts with names in braces: every combination of what the names stand for, or a sample."""

    text: Annotated[list[Text], BeforeValidator(_as_list)] = Field(
        min_length=1,
        title="Text",
        description="A prompt such as 'a {adjective} {animal}', or several; {{ and }} are plain braces.",
    )
    values: Annotated[dict[Text, list[Text]], BeforeValidator(_as_texts)] = Field(
        {},
        title="Values",
        description="Name -> the list of what it stands for; other names are columns of the prompts file.",
    )
    edit_prompt: MaybeText = Field(
        None, title="Edit prompt", description="The row's edit instruction, made in the same way; empty: its own."
    )
    sample: Sample | None = Field(
        None,
        title="Sample",
        description="How many of the combinations to take, of each row's where there is a file; empty: all.",
    )
    sample_seed: OneSeed = Field(0, title="Sample seed", description="Decides which ones the sample takes.")

    @model_validator(mode="after")
    def _lists_fit(self) -> Self:
        for text in self.texts:
            _names_in(text)
        for name, some in self.values.items():
            if not some:
                raise ValueError(f"values.{name} is an empty list: give it something to stand for, or take it out")
            if len(set(some)) < len(some):
                twice = next(one for one in some if some.count(one) > 1)
                raise ValueError(f"values.{name} lists {twice!r} twice: give each once")
        if len(set(self.text)) < len(self.text):
            raise ValueError(f"text lists {max(self.text, key=self.text.count)!r} twice: give each once")
        unused = sorted(set(self.values) - placeholders(self))
        if unused:
            raise ValueError(f"values has {unused[0]!r}, which no text uses: write {{{unused[0]}}}, or take it out")
        return self

    @property
    def texts(self) -> list[str]:
        """All that is filled in."""
        return [*self.text, *([self.edit_prompt] if self.edit_prompt else [])]


class Sweep(Section):
    """Every row is generated with each combination of these settings, in place of its own and the step's."""

    seed: list[OneSeed] = Field([], title="Seeds", description="Seeds of the images; with one, only settings differ.")
    steps: list[Steps] = Field([], title="Steps", description="Numbers of denoising steps (num_inference_steps).")
    guidance_scale: list[Guidance] = Field([], title="Guidance", description="How strongly the prompt is followed.")
    width: list[Size] = Field([], title="Widths", description="Image widths in pixels, multiples of 8.")
    height: list[Size] = Field([], title="Heights", description="Image heights in pixels, multiples of 8.")
    negative_prompt: list[Text] = Field([], title="Negative prompts", description="What the images should not show.")

    @model_validator(mode="after")
    def _differ(self) -> Self:
        for name in type(self).model_fields:
            some = getattr(self, name)
            if len(set(some)) < len(some):
                raise ValueError(f"{name} lists {next(one for one in some if some.count(one) > 1)!r} twice: once each")
        return self

    @property
    def settings(self) -> dict[str, list[Any]]:
        """Name -> values, of the settings that are swept."""
        given = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: some for name, some in given.items() if some}


def placeholders(template: Template) -> set[str]:
    """The names in braces in a template's texts."""
    return {name for text in template.texts for name in _names_in(text)}


def _names_in(text: str) -> list[str]:
    try:
        parts = [*string.Formatter().parse(text)]
    except ValueError as error:
        raise ValueError(f"{text!r}: {str(error).lower()}; plain braces are written {{{{ and }}}}") from error
    for _, name, spec, conversion in parts:
        if name is not None and (not name.strip() or spec or conversion):
            raise ValueError(f"{text!r} has braces that hold no plain name; plain braces are written {{{{ and }}}}")
    return [name for _, name, _, _ in parts if name is not None]
