"""DataFlow-MM's next operator reads an export: a line for each row of the prompts file, its images in lists."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

from imagemill.data.export.export import export
from tests.data.export.made import png, publish, row, schema


def lines_of(to: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (to / "dataflow.jsonl").read_text().splitlines()]


def saved_by_image_io(path: str, root: Path) -> tuple[str, str]:
    """The (sample, number) of a path, by the rule of ImageIO.write: ROOT/SAMPLE/SAMPLE_NUMBER.png.

    https://github.com/OpenDCAI/DataFlow-MM, dataflow/io/core_io/image_gen.py, read 2026-11-29. It makes "_" of what is
    no letter or digit in a sample; here "-" stays.
    """
    folder, name = Path(path).parent, Path(path).name
    assert folder.parent == root
    match = re.fullmatch(re.escape(folder.name) + r"_(\w+)\.png", name)
    assert match, name
    assert re.fullmatch(r"[0-9a-zA-Z_-]{1,120}", folder.name)
    return folder.name, match[1]


def next_operator(line: dict[str, Any], jsonl: Path, output_key: str) -> tuple[str, str] | None:
    """(image, prompt) as PromptedImageEditGenerator takes them; None for a row that has its output already.

    https://github.com/OpenDCAI/DataFlow-MM, read 2026-11-29, in dataflow/operators/core_vision/generate/
    prompted_image_edit_generator.py and dataflow/serving/local_image_gen_serving.py: paths that are not absolute are
    looked up beside the JSONL, the prompt is the last message's, the image the first.
    """
    if line.get(output_key) and line[output_key][0] != "":
        return None
    paths = [path if os.path.isabs(path) else str(jsonl.parent / path) for path in line["images"]]  # noqa: PTH117
    return paths[0], line["conversations"][-1]["content"]


def test_the_next_operator_reads_over_a_thousand_rows_of_text_to_image(tmp_path: Path, monkeypatch):
    count = 1_050
    rows = [row(f"p{number}", number, edits=False, style=f"s{number}") for number in range(count)]
    publish(tmp_path / "out", rows, schema(edits=False), rows_per_file=500)
    monkeypatch.chdir(tmp_path)
    export("out", Path("to"), "dataflow")
    monkeypatch.chdir("/")
    lines = lines_of(tmp_path / "to")
    assert len(lines) == count
    for number, line in enumerate(lines):
        image, prompt = next_operator(line, tmp_path / "to" / "dataflow.jsonl", "edited") or ("", "")
        assert (Path(image).read_bytes(), prompt) == (png(number), f"prompt {number}")
        assert saved_by_image_io(image, tmp_path / "to") == (f"samplep{number}_condition0", "0")
        assert (line["id"], line["style"], line["caption"]) == (f"p{number}", f"s{number}", f"é {number}")


def test_the_images_of_one_prompt_are_one_line(tmp_path: Path):
    rows = [row("a", 1, edits=False), row("b", 9, edits=False), row("a", 2, edits=False, prompt="prompt 1", variant=1)]
    export(publish(tmp_path / "out", rows, schema(edits=False)), tmp_path / "to", "dataflow")
    first, second = lines_of(tmp_path / "to")
    assert [Path(path).read_bytes() for path in first["images"]] == [png(1), png(2)]
    assert [Path(path).name for path in first["images"]] == ["samplea_condition0_0.png", "samplea_condition0_1.png"]
    assert first["conversations"] == [{"content": "prompt 1", "role": "user"}]
    assert (first["variant"], first["style"], second["id"]) == ([0, 1], "ink", "b")


def test_the_messages_of_one_row_are_one_line_on_demand(tmp_path: Path):
    ids = ["chat-0", "chat-1", "chat-2", "other", "alone-0"]
    rows = [row(one, number, edits=False) for number, one in enumerate(ids)]
    output = publish(tmp_path / "out", rows, schema(edits=False))
    export(output, tmp_path / "each", "dataflow")
    assert len(lines_of(tmp_path / "each")) == 5
    export(output, tmp_path / "to", "dataflow", messages=True)
    chat, other, alone = lines_of(tmp_path / "to")
    assert [message["content"] for message in chat["conversations"]] == ["prompt 0", "prompt 1", "prompt 2"]
    samples = [saved_by_image_io(path, tmp_path / "to") for path in chat["images"]]
    assert samples == [(f"samplechat_condition{number}", "0") for number in range(3)]
    assert (len(other["images"]), alone["id"]) == (1, "alone-0")


def test_the_turns_of_a_conversation_are_one_line_in_order(tmp_path: Path):
    made = schema(has_turns=True, references=True)
    reference = [{"bytes": png(77), "path": "r.png"}]
    turns = [row("a", number, turn_index=number, input_images=reference) for number in (1, 0, 2)]
    export(publish(tmp_path / "out", turns, made), tmp_path / "to", "dataflow")
    (line,) = lines_of(tmp_path / "to")
    assert [message["content"] for message in line["conversations"]] == ["edit 0", "edit 1", "edit 2"]
    assert [Path(path).read_bytes() for path in line["output_image"]] == [png(1), png(3), png(5)]
    assert [Path(path).read_bytes() for path in line["images"]] == [png(0), png(77)]
    assert next_operator(line, tmp_path / "to" / "dataflow.jsonl", "output_image") is None
    counts = Counter(saved_by_image_io(path, tmp_path / "to")[0] for path in line["output_image"])
    assert counts == {"sample_a": 3}


def test_samples_whose_ids_differ_in_capitals_or_look_like_variants_are_apart(tmp_path: Path):
    rows = [row("Fox", 1), row("fox", 2), row("fox-v1", 3), row("fox", 4, variant=1), row("../a", 5)]
    export(publish(tmp_path / "out", rows, schema()), tmp_path / "to", "dataflow")
    samples = [saved_by_image_io(line["output_image"][0], tmp_path / "to")[0] for line in lines_of(tmp_path / "to")]
    assert len({sample.casefold() for sample in samples}) == 5


def test_a_column_called_like_a_field_of_dataflow_is_renamed(tmp_path: Path):
    from imagemill.data.dataset.schema import DatasetSchema
    from imagemill.data.images.codec import Encoding

    made = DatasetSchema(False, False, Encoding("png"), {"conversations": "str", "images": "str"})
    rows = [{**row("a", 1, edits=False), "conversations": "mine", "images": "mine too"}]
    export(publish(tmp_path / "out", rows, made), tmp_path / "to", "dataflow")
    (line,) = lines_of(tmp_path / "to")
    assert (line["source_conversations"], line["source_images"], len(line["images"])) == ("mine", "mine too", 1)
