"""Row ids, seeds and image keys decide what is regenerated and what is not."""

import itertools
from dataclasses import replace

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import BadRow
from imagemill.data.identity import content_id, digest, given_seed, image_key, image_seed
from imagemill.data.planning.plan import schema_of
from imagemill.data.planning.row_planner import RowPlanner
from imagemill.data.records import ModelFacts

FACTS = ModelFacts("m", "1", {"files": "abc", "dtype": "float32"}, 64, 64, 4, 3.5, 8, True)


def keys_of(row, facts=FACTS, **generate):
    """The image keys of a row's drawings for a recipe with these fields (recipe.* ones as recipe_*)."""
    fields = {name.removeprefix("recipe_"): generate.pop(name) for name in list(generate) if name.startswith("recipe_")}
    recipe = load_recipe({"prompts": "p.jsonl", "generate": generate, **fields})
    groups = RowPlanner(recipe, {"generate": facts}, DatasetSchema.of(recipe, {})).planned_rows(row)
    return [planned.path[-1].key for group in groups for planned in group]


@pytest.fixture
def row(load):
    return load([{"prompt": "a", "id": "x"}]).row


def test_equal_rows_are_two_rows(load):
    ids = [row.id for row in load([{"prompt": "a"}, {"prompt": "b"}, {"prompt": " a "}, {"prompt": "a"}]).rows]
    assert len(set(ids)) == 4
    assert (ids[2], ids[3]) == (f"{ids[0]}-2", f"{ids[0]}-3")


def test_ids_stay_when_rows_are_reordered_or_inserted_or_carry_more(load):
    rows = [{"prompt": "a"}, {"prompt": "b", "seed": 3}, {"prompt": "c", "width": 64}]
    before = {row.prompt: row.id for row in load(rows).rows}
    more = [{"prompt": "new"}, *reversed([{**row, "note": "n"} for row in rows])]
    assert before.items() <= {row.prompt: row.id for row in load(more).rows}.items()


def test_a_row_has_one_id_in_every_format(load):
    as_json = load([{"prompt": "a", "seed": 3, "guidance_scale": 2, "negative_prompt": None}]).row
    as_csv = load("prompt,guidance_scale,seed,note\na,2.0,3,x\n", "p.csv").row
    assert as_json.id == as_csv.id


@pytest.mark.parametrize(
    "change", [{"prompt": "b"}, {"seed": 1}, {"seed": 0}, {"width": 64}, {"steps": 2}, {"guidance_scale": 0}]
)
def test_a_rows_content_decides_its_id(load, change):
    first, second = load([{"prompt": "a"}, {"prompt": "a", **change}]).rows
    assert first.id.split("-")[0] != second.id.split("-")[0]


def test_ids_and_keys_are_stable(load):
    # A change here regenerates all existing datasets: see DRAWING_VERSION.
    assert load([{"prompt": "a"}]).row.id == "db6facb96888bd63"
    assert image_key("text-to-image", {"files": "f"}, {"prompt": "é", "seed": 1}) == "000f078459bf275f9586c48c2ee942c7"
    assert image_seed(0, "row", 1) == 1784197955


def test_seeds_have_32_bits_and_differ():
    seeds = [
        image_seed(base, f"row-{row}", variant) for base, row, variant in itertools.product((0, 1), range(500), (0, 1))
    ]
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert len(set(seeds)) == len(seeds)
    assert max(seeds) > 2**31


def test_an_edit_keeps_its_seed_when_others_are_added():
    assert image_seed(0, "x", 0, "redder") == image_seed(0, "x", 0, "redder") != image_seed(0, "x", 0, "bluer")


def test_a_given_seed_counts_up_and_stays_in_32_bits(load):
    assert [given_seed(2**32 - 1, variant) for variant in range(3)] == [2**32 - 1, 0, 1]


@pytest.mark.parametrize(
    "setting", [{"batch_size": 3}, {"recipe_shard_size": 2}, {"recipe_output": "else"}, {"recipe_name": "n"}]
)
def test_settings_that_do_not_decide_pixels_leave_the_key(row, setting):
    assert keys_of(row, **setting) == keys_of(row)


@pytest.mark.parametrize(
    "setting",
    [
        {"recipe_image_format": "jpeg"},
        {"recipe_quality": 5},
        {"width": 64},
        {"steps": 4},
        {"guidance_scale": 3.5},
        {"negative_prompt": " "},
    ],
)
def test_explicit_model_defaults_leave_the_key(row, setting):
    assert keys_of(row, **setting) == keys_of(row)


@pytest.mark.parametrize(
    "setting",
    [{"seed": 1}, {"width": 72}, {"height": 72}, {"steps": 5}, {"guidance_scale": 0}, {"negative_prompt": "n"}],
)
def test_each_field_that_decides_pixels_changes_the_key(row, setting):
    assert keys_of(row, **setting) != keys_of(row)


@pytest.mark.parametrize(
    "setting",
    [
        {"prompt": "b"},
        {"seed": 1},
        {"width": 72},
        {"height": 72},
        {"steps": 5},
        {"guidance_scale": 0},
        {"negative_prompt": "n"},
    ],
)
def test_a_rows_own_settings_change_the_key(load, row, setting):
    assert keys_of(load([{"prompt": "a", "id": "x", **setting}]).row) != keys_of(row)


def test_guidance_for_a_model_without_it_sets_the_row_aside(load):
    facts = replace(FACTS, uses_guidance=False)
    with pytest.raises(BadRow, match=r"guidance_scale is 5\.0: 'm' makes no use of guidance"):
        keys_of(load([{"prompt": "a", "guidance_scale": 5}]).row, facts)
    assert keys_of(load([{"prompt": "a", "guidance_scale": FACTS.guidance_scale}]).row, facts)


def test_more_steps_than_a_model_has_set_the_row_aside(load):
    facts = replace(FACTS, max_steps=50)
    with pytest.raises(BadRow, match=r"steps is 51: 'm', as the recipe uses it, has at most 50; "):
        keys_of(load([{"prompt": "a", "steps": 51}]).row, facts)
    assert keys_of(load([{"prompt": "a", "steps": 50}]).row, facts)


def test_the_model_changes_the_key_and_its_name_does_not(row):
    named = ModelFacts("other name", "1", FACTS.identity, 64, 64, 4, 3.5, 8, True)
    other = ModelFacts("m", "1", {"files": "abd", "dtype": "float32"}, 64, 64, 4, 3.5, 8, True)
    assert keys_of(row, named) == keys_of(row) != keys_of(row, other)


def test_each_variant_is_another_image(row):
    keys = keys_of(row, images_per_prompt=3)
    assert len(set(keys)) == 3
    assert keys[:1] == keys_of(row)


def test_fields_that_are_none_do_not_count():
    assert content_id({"prompt": "a", "later": None}) == content_id({"prompt": "a"})
    assert image_key("edit", {}, {"seed": 1, "later": None}) == image_key("edit", {}, {"seed": 1})


def test_the_order_of_fields_does_not_count():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1}) != digest({"a": 1, "b": [2, 1]})


def test_the_keys_of_images_and_rows_are_stable(load):
    # A change here rewrites or regenerates all existing datasets.
    fields = {"prompt": "a", "id": "x", "note": "n"}
    edit = {"instructions": ["b"]}
    found = {}
    for name, sections in {"both": {"generate": {}, "edit": edit}, "edit": {"edit": edit}}.items():
        recipe = load_recipe({"prompts": "p.jsonl", **sections})
        row = load([fields]).row._replace(image="a.png", image_hash="ab" if name == "edit" else None)
        planner = RowPlanner(recipe, dict.fromkeys(sections, FACTS), DatasetSchema.of(recipe, {"note": "str"}))
        ((planned,),) = planner.planned_rows(row)
        row_plan = planner.row_plan(planned)
        found[name] = [*(drawing.key for drawing in row_plan.drawings), row_plan.row_key]
    assert found == {
        "both": [
            "a6ff2c409691dad83d1b6128ec5aaf30",
            "3c6834fb78431d378243d2a7e660c59f",
            "0f306d1bfe80488e7d1aa77a73848a96",
        ],
        "edit": ["16ff86862b9f81c8bbe5ca37cdc08d19", "793a7ed311b48f802b6beab77cf35552"],
    }


def test_rows_keep_their_row_keys_and_image_keys(load):
    # Changed row keys would rewrite the rows of all existing datasets, changed image keys regenerate them.
    rows = [
        {"prompt": "a fox", "label": 3},
        {"prompt": "a fox", "label": 4},
        {"prompt": "été", "id": "x", "seed": 7, "width": 72, "guidance_scale": 2, "note": ["é", 2**70]},
        {"prompt": "b", "negative_prompt": "n", "steps": 5, "aspect_ratio": "3:2", "label": None},
    ]
    found = load(rows)
    recipe = load_recipe({"prompts": "p.jsonl", "generate": {}, "edit": {"instructions": ["redder"]}})
    facts = {"generate": replace(FACTS, buckets=((64, 64), (72, 48))), "edit": FACTS}
    before = replace(found.loaded, conventions=1)
    planner = RowPlanner(recipe, facts, schema_of(recipe, before, lambda recipe: ()))
    planned_rows = [(row.id, planned) for row in found.rows for [planned] in planner.planned_rows(row)]
    assert [(row_id, planned.row_key, *(spec.key for spec in planned.path)) for row_id, planned in planned_rows] == [
        (
            "5470a2870ea0ad80",
            "a95458849ebb3732dc92747d1be3587a",
            "08250ab284afe62c462919a1efc6fc9d",
            "5d74145b1b7f84838729d539569e841c",
        ),
        (
            "5470a2870ea0ad80-2",
            "4b6c9a21720ea7723e1f9dc855ce730e",
            "4a247f7265f872c8d09f00e9d929ca18",
            "4e84515b653efc34735ddacff65b1c26",
        ),
        (
            "x",
            "9c5ca0ab179dcf37422919e3d29f48a1",
            "f9f8a15f7c636e1bd5bb0b6ed1f9f7be",
            "b0545244c3ffbd62c6a013b12643113c",
        ),
        (
            "19814a812e8807a4",
            "1476c2dadf6705b0daca7a25ae95f3ef",
            "adf398b1d19b389096e9a0415b364583",
            "1b2325f87225ccdba309e626da8d0dbc",
        ),
    ]


def test_a_swept_model_decides_keys_by_its_own_defaults(load):
    recipe = {"generate": {"model": "org/a", "width": 64}, "sweep": {"model": ["org/a", "org/b"], "seed": [1]}}
    other = replace(FACTS, identity={"files": "b"}, steps=9)
    facts = {"generate": FACTS, "generate: b": other}
    loaded = load_recipe({"prompts": "p.jsonl", **recipe})
    planner = RowPlanner(loaded, facts, DatasetSchema.of(loaded, {}))
    rows = load([{"prompt": "a", "id": "x"}], **recipe).rows
    paths = [planned.path for row in rows for group in planner.planned_rows(row) for planned in group]
    assert [(path[0].step, path[0].fields["steps"], path[0].fields["seed"]) for path in paths] == [
        ("generate", 4, 1),
        ("generate: b", 9, 1),
    ]
    assert len({path[0].key for path in paths}) == 2
