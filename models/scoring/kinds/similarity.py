"""Kind ``similarity``: cosines of embeddings, of image and text, of edit and source, or of the change of both."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from imagemill.data.errors import BadRow
from imagemill.models.catalog.scorers.spec import ScorerSpec
from imagemill.models.scoring.embeddings import Embeddings
from imagemill.models.scoring.kind import Kind, Look, Verdict
from imagemill.models.scoring.vectors import packed

MIN_CHANGE = 1e-6
"""Length of a change of unit vectors below which it has no direction."""


def score(spec: ScorerSpec, looks: Sequence[Look], embeddings: Embeddings | None) -> list[Verdict]:
    """Cosines, -1 to 1.

    Against text: of image and text (CLIPScore before its factor; Hessel et al. 2021, arXiv:2104.08718). Against source:
    of the edit and its source. Direction: of the difference of the two images' unit vectors and that of the two texts'
    (CLIP directional similarity; Gal et al. 2022, arXiv:2108.00946, as InstructPix2Pix filters by it); 0 where one of
    them does not change.
    """
    assert embeddings is not None, "this kind has a model"
    seen = [(pixels.hash, pixels.image) for look in looks for pixels in (look.image, look.source) if pixels]
    images = embeddings.images(seen)
    texts = embeddings.texts(dict.fromkeys(text for look in looks for text in _texts(look)))
    verdicts = []
    for look in looks:
        image = images[look.image.hash]
        source = images[look.source.hash] if look.source else None
        after, before = (None if text is None else texts[text] for text in (look.request.text, look.request.before))
        vector = packed(image) if spec.keeps_vector else None
        verdicts.append(Verdict(_cosine(spec.against, image, source, after, before), vector=vector))
    return verdicts


def _texts(look: Look) -> list[str]:
    return [text for text in (look.request.text, look.request.before) if text is not None]


def _cosine(
    against: str | None,
    image: torch.Tensor,
    source: torch.Tensor | None,
    after: torch.Tensor | None,
    before: torch.Tensor | None,
) -> float:
    if against == "source" and source is not None:
        return float(image @ source)
    if against == "direction" and source is not None and after is not None and before is not None:
        moved, asked = image - source, after - before
        lengths = moved.norm(), asked.norm()
        if torch.isfinite(moved).all() and min(lengths) < MIN_CHANGE:
            return 0.0
        return float(moved @ asked / (lengths[0] * lengths[1]))
    if against == "text" and after is not None:
        return float(image @ after)
    raise BadRow(f"the image lacks what it is to be compared with (against: {against})")


KIND = Kind(name="similarity", score=score, has_model=True)
