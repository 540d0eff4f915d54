"""Kind ``classify``: the probability of a label, by a model for image classification."""

from __future__ import annotations

from collections.abc import Sequence

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown
from imagemill.models.catalog.scorers.spec import ScorerSpec
from imagemill.models.scoring.embeddings import Embeddings
from imagemill.models.scoring.kind import Kind, Look, Verdict


def score(spec: ScorerSpec, looks: Sequence[Look], embeddings: Embeddings | None) -> list[Verdict]:
    """Probabilities, 0 to 1: softmax over the labels, or each label's sigmoid for a model of several labels at once.

    Raises RecipeError where the model has no such label.
    """
    assert embeddings is not None, "this kind has a model"
    config = embeddings.config
    labels = [config.id2label[number] for number in sorted(config.id2label)]
    if spec.label not in labels:
        raise RecipeError(
            f"recipe.scorers.{spec.name}.label is {shown(spec.label)}; the labels of {shown(spec.model)}: "
            f"{', '.join(map(shown, labels[:20]))}{', ...' if len(labels) > 20 else ''}."
        )
    position = labels.index(spec.label)
    is_several = config.problem_type == "multi_label_classification" or len(labels) == 1
    found = embeddings.logits((look.image.hash, look.image.image) for look in looks)
    logits = [found[look.image.hash] for look in looks]
    rows = [row.sigmoid() if is_several else row.softmax(dim=-1) for row in logits]
    return [Verdict(float(row[position])) for row in rows]


KIND = Kind(name="classify", score=score, has_model=True)
