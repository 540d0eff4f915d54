"""Recipe sections that multiply rows: prompt templates and sweeps over settings."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from imagemill.data.config.fields import Guidance, MaybeText, Number, Section, Size, Steps, Text, as_list
from imagemill.data.config.words.placeholders import names_in
from imagemill.data.identity import MAX_SEED
from imagemill.data.messages import shown

Sample = Annotated[int, Field(ge=1, le=10_000_000), Number]
OneSeed = Annotated[int, Field(ge=0, le=MAX_SEED), Number]


def _as_texts(value: Any) -> Any:
    """Read numbers in the lists as texts. Booleans stay, and are refused: YAML reads yes and no as true and false."""
    if not isinstance(value, dict):
        return value
    return {
        name: [_as_text(choice) for choice in choices] if isinstance(choices, list) else choices
        for name, choices in value.items()
    }


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class Template(Section):
    """Prompts built from texts with placeholders in braces: every combination of their values, or a sample."""

    text: Annotated[list[Text], BeforeValidator(as_list)] = Field(
        min_length=1,
        title="Text",
        description="A prompt such as 'a {adjective} {animal}', or a list of them; write {{ and }} for literal braces.",
    )
    values: Annotated[dict[Text, list[Text]], BeforeValidator(_as_texts)] = Field(
        {},
        title="Values",
        description="Placeholder -> list of its values; other placeholders are columns of the prompts file.",
    )
    edit_prompt: MaybeText = Field(
        None, title="Edit prompt", description="A template for the row's edit instruction; empty: the row's own."
    )
    sample: Sample | None = Field(
        None,
        title="Sample",
        description="Number of combinations to take, for each row if there is a prompts file; empty: all.",
    )
    sample_seed: OneSeed = Field(0, title="Sample seed", description="Seed of the sample.")

    @model_validator(mode="after")
    def _lists_fit(self) -> Self:
        for text in self.texts:
            names_in(text)
        for name, choices in self.values.items():
            if not choices:
                raise ValueError(f"values.{name} is an empty list: add a value, or remove it")
            if len(set(choices)) < len(choices):
                raise ValueError(f"values.{name} lists {shown(_repeated(choices))} twice: list each once")
        if len(set(self.text)) < len(self.text):
            raise ValueError(f"text lists {shown(_repeated(self.text))} twice: list each once")
        unused = sorted(set(self.values) - placeholders(self))
        if unused:
            raise ValueError(f"values has {shown(unused[0])}, which no text uses: write {{{unused[0]}}}, or remove it")
        return self

    @property
    def texts(self) -> list[str]:
        """All texts with placeholders."""
        return [*self.text, *([self.edit_prompt] if self.edit_prompt else [])]


class Sweep(Section):
    """Settings to combine: every row is generated with each combination, in place of the row's and step's settings."""

    seed: list[OneSeed] = Field(
        [], title="Seeds", description="Seeds; with a single one, only the other settings differ."
    )
    steps: list[Steps] = Field([], title="Steps", description="Numbers of denoising steps (num_inference_steps).")
    guidance_scale: list[Guidance] = Field([], title="Guidance", description="How closely the prompt is followed.")
    width: list[Size] = Field([], title="Widths", description="Image widths in pixels, multiples of 8.")
    height: list[Size] = Field([], title="Heights", description="Image heights in pixels, multiples of 8.")
    negative_prompt: list[Text] = Field([], title="Negative prompts", description="What the images should not show.")
    model: list[Text] = Field(
        [],
        title="Models",
        description="Models of the first step, each with its own defaults where the step's section gives no value.",
    )

    @model_validator(mode="after")
    def _differ(self) -> Self:
        for name in type(self).model_fields:
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} lists {shown(_repeated(values))} twice: list each once")
        return self

    @property
    def settings(self) -> dict[str, list[Any]]:
        """The swept settings: name -> values."""
        settings = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: values for name, values in settings.items() if values}


def placeholders(template: Template) -> set[str]:
    """The placeholder names in a template's texts."""
    return {name for text in template.texts for name in names_in(text)}


def _repeated(values: list[Any]) -> Any:
    return next(value for value in values if values.count(value) > 1)
