"""Notes of a plan: what its user may not have meant, although it can be built."""

from __future__ import annotations

from collections.abc import Iterator

from imagemill.data.messages import shown


def plan_notes(unused_negatives: int, float_ids: tuple[str, str] | None, without_inverse: int = 0) -> Iterator[str]:
    """Sentences for the log, the terminal and runs.jsonl.

    ``unused_negatives``: rows whose negative prompt their model makes no use of. ``float_ids``: two ids of which the
    second is the first as a float (data.planning.float_ids). ``without_inverse``: instructions of a recipe with inverse
    rows for which the row has no inverse one.
    """
    if unused_negatives:
        rows = f"{unused_negatives:,} row{'s have' if unused_negatives > 1 else ' has'}"
        yield f"{rows} a negative prompt, of which the model makes no use: generated without it."
    if without_inverse:
        instructions = f"{without_inverse:,} instruction{'s have' if without_inverse > 1 else ' has'}"
        yield f"{instructions} no text in the row's column inverse_edit: their edits get no inverse row."
    if float_ids:
        whole, as_float = map(shown, float_ids)
        yield (
            f"The ids {whole} and {as_float} are two: pandas writes whole numbers so where another id is missing. Read "
            "ids as text (dtype=str), or images of the one are generated again for the other."
        )
