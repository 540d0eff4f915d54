"""Questions to a language model: what a step of `llm` and a chat scorer have in common."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from imagemill.data.config.fields import MaybeText, Number, Section, Text, TextOrEmpty, as_list
from imagemill.data.config.words.answer_fields import FORMS, AnswerFields, FieldForm, parse_fields
from imagemill.data.config.words.chat_api import ChatApi
from imagemill.data.config.words.placeholders import names_in
from imagemill.data.identity import MAX_SEED


def _form(value: Any) -> Any:
    """A choice that is a number is a text, as in [1, 2]. Booleans are refused: YAML reads yes and no as them."""
    if not isinstance(value, list):
        return value
    return [str(item) if isinstance(item, int | float) and not isinstance(item, bool) else item for item in value]


def _has_names(text: str) -> str:
    names_in(text)
    return text


def _are_fields(forms: dict[str, FieldForm]) -> dict[str, FieldForm]:
    parse_fields(forms)
    return forms


class Asking(Section):
    """Questions to a language model, one per row or image, and the form of its answers."""

    model: Text = Field(title="Model", description="The model's name, as its API lists it.")
    revision: MaybeText = Field(
        None,
        title="Revision",
        description="Your label for the served weights, which no API reports; a new one asks everything again.",
    )
    api: ChatApi = Field(title="API", description="The model's server.")
    sees: Annotated[list[Text], BeforeValidator(as_list)] = Field(
        [], max_length=16, title="Sees", description="Columns with images, which are sent at most 1024 pixels a side."
    )
    ask: Annotated[Text, AfterValidator(_has_names)] = Field(
        title="Ask", description="The question; names in braces are the row's columns, {{ and }} literal braces."
    )
    fields: Annotated[
        dict[Text, Annotated[FieldForm, BeforeValidator(_form)]],
        AfterValidator(_are_fields),
    ] = Field(title="Fields", description=f"Field of the answer -> its type: {FORMS}.")
    system: TextOrEmpty = Field("", title="System", description="The system text, which comes before the question.")
    temperature: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False), Number] | None = Field(
        0.0, title="Temperature", description="Randomness of the answers; null: not sent."
    )
    seed: Annotated[int, Field(ge=0, le=MAX_SEED), Number] | None = Field(
        None, title="Seed", description="Seed of the answers; empty: not sent."
    )
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000), Number] | None = Field(
        None, title="Maximum tokens", description="Longest answer, in tokens; empty: the server's limit."
    )
    max_requests: Annotated[int, Field(ge=0, le=10**12), Number] | None = Field(
        None,
        title="Maximum requests",
        description="Limit of this entry's requests for the dataset, over all builds; empty: none.",
    )
    max_cost: Annotated[float, Field(ge=0, allow_inf_nan=False), Number] | None = Field(
        None,
        title="Maximum cost",
        description="Limit of this entry's cost for the dataset, over all builds; empty: none.",
    )
    cost_per_request: Annotated[float, Field(ge=0, allow_inf_nan=False), Number] | None = Field(
        None, title="Cost per request", description="Price of one request, in any currency."
    )

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if not self.api.base_url:
            raise ValueError(
                "api.base_url is missing: give the address of the model's API, such as http://localhost:8000/v1"
            )
        if self.max_cost is not None and not self.cost_per_request:
            raise ValueError(
                f"max_cost is {self.max_cost:g}, but nothing says what a request costs: give cost_per_request, or use "
                "max_requests"
            )
        return self

    @property
    def answer_fields(self) -> AnswerFields:
        """The parsed fields."""
        return parse_fields(self.fields)

    @property
    def placeholders(self) -> frozenset[str]:
        """The columns that the question names."""
        return frozenset(names_in(self.ask))

    def identity(self) -> dict[str, Any]:
        """Settings that decide an answer, with the row's values and images: not address, budget, retries or limits."""
        settings = {
            "model": self.model,
            "revision": self.revision,
            "system": self.system,
            "ask": self.ask,
            "sees": self.sees,
            "fields": self.fields,
            "temperature": self.temperature,
            "seed": self.seed,
            "extra": self.api.extra,
        }
        return {name: value for name, value in settings.items() if value not in (None, "", [], {})}
