"""Recipe sections for scorers: each gives images a number, the column score_<name>. A new kind is a class."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from imagemill.data.config.fields import BatchSize, MaybeText, Text
from imagemill.data.config.judging.chat import ChatScorer
from imagemill.data.config.judging.formula import Formula, parse
from imagemill.data.config.judging.scorer import SCORE_DECIMALS, Reads, ScorerSection


class ModelScorer(ScorerSection):
    """A scorer that is a model."""

    model: Text = Field(
        title="Model", description="A name from the catalog, a local folder, or an 'org/name' repository; safetensors."
    )
    revision: MaybeText = Field(
        None, title="Revision", description="Commit, tag or branch of the repository; empty: its default branch."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", title="Dtype", description="Data type of the model; auto: the catalog's choice, or float32."
    )
    batch_size: BatchSize = Field(
        "auto", title="Batch size", description="Images per batch; auto: as many as fit. Changes no score."
    )


class SimilarityScorer(ModelScorer):
    """Cosine similarity of embeddings, -1 to 1: of the image and its text, or of an edit and its input."""

    embeds: ClassVar[bool] = True

    kind: Literal["similarity"] = Field(title="Kind", description="similarity: a CLIP, SigLIP or DINO-like model.")
    text: MaybeText = Field(
        None,
        title="Text",
        description="Column with the text to compare with; empty: prompt for generated and given images, target_prompt "
        "for edited ones.",
    )
    against: Literal["text", "source", "direction"] = Field(
        "text",
        title="Against",
        description="Compare the image with its text, an edit with its input (source), or the change of the image with "
        "the change of the text (direction; CLIP directional similarity).",
    )

    @model_validator(mode="after")
    def _reads_its_text(self) -> SimilarityScorer:
        if self.against == "source" and self.text is not None:
            raise ValueError(
                f"against is source and text is {self.text!r}: two images are compared, and no text is read; leave out "
                "text, or set against to text or direction"
            )
        return self

    @property
    def reads(self) -> frozenset[Reads]:
        """Inputs beside the image."""
        reads: Mapping[str, frozenset[Reads]] = {
            "text": frozenset(["text"]),
            "source": frozenset(["source"]),
            "direction": frozenset(["text", "before", "source"]),
        }
        return reads[self.against]


class HeadScorer(ModelScorer):
    """A small network on a model's image embedding, such as an aesthetic predictor."""

    embeds: ClassVar[bool] = True

    kind: Literal["head"] = Field(title="Kind", description="head: a model and a head on its embedding.")
    head: Text = Field(
        title="Head", description="The head: a .safetensors file, a folder with one, or an 'org/name' repository."
    )
    head_revision: MaybeText = Field(
        None,
        title="Head revision",
        description="Commit, tag or branch of the head's repository; empty: its default branch.",
    )


class ClassifyScorer(ModelScorer):
    """Probability of a label by an image classification model, 0 to 1."""

    kind: Literal["classify"] = Field(title="Kind", description="classify: an image classification model.")
    label: Text = Field(title="Label", description="The label whose probability is the score, as the model names it.")


class PixelsScorer(ScorerSection):
    """A measure of the pixels, without a model."""

    kind: Literal["pixels"] = Field(title="Kind", description="pixels: a measure of the pixels.")
    measure: Literal["sharpness", "entropy", "ssim", "changed_share", "changed_outside_mask"] = Field(
        title="Measure",
        description="sharpness and entropy of the image; ssim and changed_share of an edit and its input; "
        "changed_outside_mask of an inpainted image and its input.",
    )

    @property
    def reads(self) -> frozenset[Reads]:
        """Inputs beside the image."""
        if self.measure in ("sharpness", "entropy"):
            return frozenset()
        return frozenset(["source", "mask"] if self.measure == "changed_outside_mask" else ["source"])


def _is_formula(text: str) -> str:
    parse(text)
    return text


class FormulaScorer(ScorerSection):
    """A formula over other scores; null where one of them is."""

    kind: Literal["formula"] = Field(title="Kind", description="formula: calculated from other scores.")
    text: Annotated[Text, AfterValidator(_is_formula)] = Field(
        title="Text",
        description="Such as sqrt(fits * keeps): numbers, scorers' names, + - * / **, sqrt, min, max, abs and "
        "parentheses.",
    )

    @property
    def formula(self) -> Formula:
        """The parsed formula."""
        return parse(self.text)


Scorer = Annotated[
    SimilarityScorer | HeadScorer | ClassifyScorer | PixelsScorer | ChatScorer | FormulaScorer,
    Field(discriminator="kind"),
]


def score_names(scorers: Mapping[str, Scorer]) -> tuple[str, ...]:
    """Names of all scores that these scorers give, in order."""
    return tuple(score for name, scorer in scorers.items() for score in scorer.scores(name))


def scorer_of(scorers: Mapping[str, Scorer], score: str) -> str | None:
    """Name of the scorer that gives a score; None if there is none."""
    return next((name for name, scorer in scorers.items() if score in scorer.scores(name)), None)


def formulas_in_order(scorers: Mapping[str, Scorer]) -> dict[str, Formula]:
    """Name -> formula, each after the formulas that it reads. Raises ValueError if one reads itself."""
    formulas = {name: scorer.formula for name, scorer in scorers.items() if isinstance(scorer, FormulaScorer)}
    graph = {name: sorted(formula.names & formulas.keys()) for name, formula in formulas.items()}
    try:
        return {name: formulas[name] for name in TopologicalSorter(graph).static_order()}
    except CycleError as error:
        raise ValueError(
            f"scorers: the formulas {' -> '.join(error.args[1])} read each other in a circle: let one of them read "
            "other scores"
        ) from error


def apply_formulas(formulas: Mapping[str, Formula], scores: Mapping[str, float | None]) -> dict[str, float | None]:
    """The scores, with those of the formulas (in the order of formulas_in_order) added, rounded as scores are."""
    known = dict(scores)
    for name, formula in formulas.items():
        value = formula.value(known)
        known[name] = None if value is None else round(value, SCORE_DECIMALS)
    return known
