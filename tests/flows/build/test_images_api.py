"""Datasets from an images API, through the real flow: generated, edited, resumed, and with refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagemill.data.config.api import Api
from imagemill.data.errors import BuildFailed, RecipeError
from imagemill.data.images.codec import Encoding, decode_image
from imagemill.data.records import Drawing
from imagemill.models.catalog.api_spec import ApiSpec
from imagemill.models.job import Job
from tests.commands import recipe_file
from tests.conftest import command_of, wait_until, write_prompts
from tests.models.images_server import Answer, ImagesServer, hangs, right, says

PROMPTS = ["a fox", "a kite", "a ring", "a star"]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ImagesServer]:
    monkeypatch.setenv("PAINTER_KEY", "secret-1")
    with ImagesServer(key="secret-1").running() as server:
        yield server


@pytest.fixture
def recipe(api: ImagesServer, tmp_path: Path) -> dict[str, Any]:
    write_prompts(tmp_path / "prompts.jsonl", PROMPTS)
    served = {"base_url": api.address, "key_env": "PAINTER_KEY", "cost_per_image": 0.02, "concurrency": 1}
    return {
        "name": "served",
        "prompts": str(tmp_path / "prompts.jsonl"),
        "output": str(tmp_path / "out"),
        "generate": {"backend": "openai", "model": "painter", "api": served, "width": 64, "height": 64},
        "edit": {"backend": "openai", "model": "editor", "api": served, "instructions": ["make it red"]},
        "shard_size": 2,
        "max_set_aside": 1.0,
    }


def build(recipe: dict[str, Any], retry_set_aside: bool = False, **overrides: Any) -> dict[str, Any]:
    # Imported here: Prefect reads its settings on import, and by now the server runs.
    from imagemill.flows.build_dataset import build_dataset

    return build_dataset(recipe, retry_set_aside, {name.replace("__", "."): value for name, value in overrides.items()})


def rows(recipe: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for path in sorted(Path(recipe["output"], "data").iterdir()) for row in pq.read_table(path).to_pylist()]


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_what_an_api_has_generated_is_never_asked_for_again(
    api: ImagesServer, recipe: dict[str, Any], tmp_path: Path
) -> None:
    # One prompt ends the first build; what came before is kept.
    api.answers["a ring"] = [says(404, "The model `painter` does not exist.")]
    with pytest.raises(BuildFailed, match="The model `painter` does not exist"):
        build(recipe)
    assert api.prompts.pop() == "a ring"
    before = len(api.requests) - 1

    run = build(recipe)
    assert sorted(api.prompts) == sorted([*PROMPTS, "a ring", *["make it red"] * 4])
    assert run["cost"] == pytest.approx(0.02 * (8 - before))
    assert [row["prompt"] for row in rows(recipe)] == PROMPTS
    assert all(row["image_key"] and row["steps"] is None and row["width"] == 64 for row in rows(recipe))
    assert sum(line.get("cost", 0) for line in map(json.loads, (tmp_path / "out/runs.jsonl").open())) == (
        pytest.approx(0.16)
    )
    sources = {fields["image"] for fields in api.requests if "image" in fields}
    pixels = sorted(decode_image(source, "").tobytes() for source in sources)
    assert pixels == sorted(decode_image(row["input_image"]["bytes"], "").tobytes() for row in rows(recipe))
    assert "served by an images API with weights of an unknown version" in (tmp_path / "out/README.md").read_text()
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert b"secret-1" not in everything

    # Where the server is does not decide what is generated; the model's name does.
    api.requests.clear()
    with ImagesServer(key="secret-1").running() as elsewhere:
        moved = {"generate__api__base_url": elsewhere.address, "edit__api__base_url": elsewhere.address}
        assert build(recipe, **moved)["kept"] == 4
        assert (api.requests, elsewhere.requests) == ([], [])
        build(recipe, **moved, edit__model="editor-2")
        assert elsewhere.prompts == ["make it red"] * 4


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_all_images_of_a_row_go_to_the_api_with_nothing_set(api: ImagesServer, recipe: dict[str, Any], tmp_path: Path):
    for colour in ("red", "blue"):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{colour}.png")
    # As DataFlow-MM's example for its API pipeline.
    user = [{"role": "user", "content": "Make the picture more vibrant."}]
    both = [{"role": "user", "content": "Change the first picture."}, {"role": "user", "content": "Put it there."}]
    given = [{"images": "red.png", "conversations": user}, {"images": ["red.png", "blue.png"], "conversations": both}]
    write_prompts(tmp_path / "prompts.jsonl", given)
    fields = {**recipe, "generate": None, "edit": {**recipe["edit"], "instructions": []}}
    assert build(fields)["generated"] == 2
    one, two = sorted(api.requests, key=lambda request: "image[]" in request)
    assert [one["prompt"], two["prompt"]] == ["Make the picture more vibrant.", "Put it there."]
    assert decode_image(one["image"], "").getpixel((0, 0)) == (255, 0, 0)
    assert [decode_image(content, "").getpixel((0, 0)) for content in two["image[]"]] == [(255, 0, 0), (0, 0, 255)]
    assert [len(row["input_images"]) for row in rows(fields)] == [0, 1]
    assert build(fields)["generated"] == 0


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_a_refused_prompt_costs_one_row_and_may_be_tried_again(api: ImagesServer, recipe: dict[str, Any]) -> None:
    api.answers["a kite"] = [says(400, "No kites here.")]
    workers: list[str] = []
    # Children of other tests.
    before = {process.pid for process in psutil.Process().children(True)}

    def look_for_workers(server: ImagesServer, fields: dict[str, Any]) -> Answer:
        workers.extend(
            name
            for process in psutil.Process().children(True)
            if process.pid not in before
            for name in command_of(process)
            if "spawn_main" in name
        )
        return right(server, fields)

    api.always = look_for_workers
    command = [sys.executable, "-c", "import sys; from imagemill.flows.cli.app import main; main(sys.argv[1:])"]
    subprocess.run([*command, "build", recipe_file(recipe)], check=True, capture_output=True)
    assert workers == []
    fault = json.loads(Path(recipe["output"], "set_aside.jsonl").read_text())
    assert (fault["stage"], fault["line"]) == ("generate", 2)
    assert fault["reason"] == "the API refused: 400 Bad Request: No kites here."
    asked = len(api.requests)
    build(recipe)
    assert len(api.requests) == asked
    assert build(recipe, retry_set_aside=True)["rows"] == 4
    assert len(api.requests) == asked + 2


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_the_key_may_be_in_a_secret_block(
    api: ImagesServer, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.blocks.system import Secret

    monkeypatch.delenv("PAINTER_KEY")
    del recipe["edit"]
    with pytest.raises(RecipeError, match="'PAINTER_KEY', but that environment variable is not set"):
        build(recipe)
    with pytest.raises(BuildFailed, match=r"does not accept the key .its key is none, as .* OPENAI_API_KEY is not set"):
        build(recipe, generate__api__key_env=None)
    recipe["generate"]["api"] = recipe["generate"]["api"] | {"key_env": None, "key_block": "painter-key"}
    with pytest.raises(RecipeError, match="no Secret block of that name"):
        build(recipe)
    Secret(value="secret-1").save("painter-key")
    assert build(recipe)["rows"] == 4


@pytest.mark.parametrize(
    ("listed", "sent"), [("", None), ("http://2130706433:{port}", "Bearer test-key-0123")], ids=["not listed", "listed"]
)
def test_the_default_key_goes_to_listed_origins_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str, sent: str | None
) -> None:
    from imagemill.tasks.runner.dispatch import ApiThread, find_key

    authorizations: list[str | None] = []
    with ImagesServer().running() as server:
        answer = server._answer

        def note(fields: dict[str, Any], authorization: str | None) -> Answer | None:
            authorizations.append(authorization)
            return answer(fields, authorization)

        server._answer = note
        port = server.address.removesuffix("/v1").rpartition(":")[2]
        monkeypatch.setenv("OPENAI_API_KEY", "test-key-0123")
        monkeypatch.setenv("IMAGEMILL_API_HOSTS", listed.format(port=port))
        # 127.0.0.1 for the operating system, but not by its name.
        api = Api(base_url=f"http://2130706433:{port}/v1")
        fox = Drawing(key="f" * 32, prompt="a fox", seed=1, steps=None)
        spec = ApiSpec("painter", None, api, is_edit=False)
        job = Job(spec, (fox,), {fox.key: (Encoding("png"),)}, 1, frozenset(), str(tmp_path))
        thread = ApiThread()
        key, key_from = find_key(api)
        assert thread.draw(job, key, key_from, None).generated == 1
        thread.close()
    assert authorizations == [sent]
    if not sent:
        assert key_from.startswith(f"none: OPENAI_API_KEY is not sent to http://2130706433:{port}")


def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    from imagemill.tasks.runner.dispatch import find_key

    monkeypatch.setenv("PAINTER_KEY", "test\x01key")
    with pytest.raises(RecipeError, match="set it again") as caught:
        find_key(Api(base_url="http://localhost:8000/v1", key_env="PAINTER_KEY"))
    assert "test" not in str(caught.value)


def test_stopping_a_build_cancels_its_api_requests(api: ImagesServer, tmp_path: Path) -> None:
    from imagemill.tasks.runner.dispatch import ApiThread

    fox = Drawing(key="f" * 32, prompt="a fox", seed=1, steps=None)
    spec = ApiSpec("painter", None, Api(base_url=api.address), is_edit=False)
    job = Job(spec, (fox,), {fox.key: (Encoding("png"),)}, 1, frozenset(), str(tmp_path))
    api.answers["a fox"] = [hangs]
    thread = ApiThread()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(thread.draw, job, "secret-1", "the test's", None)
        wait_until(lambda: api.requests, "the request")
        thread.close()
        with pytest.raises(BuildFailed, match="stopped"):
            waiting.result(10)


def test_a_build_with_an_api_loads_no_torch(tmp_path: Path) -> None:
    modules = "tasks.runner.dispatch", "models.drawing.api", "models.api.client", "flows.build_dataset"
    imports = ", ".join(f"imagemill.{module}" for module in modules)
    code = f"import sys, {imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"backend": "openai", "model": "painter"}, "api.base_url is empty"),
        ({"backend": "openai", "api": {"base_url": "http://localhost/v1"}}, "give the name under which the API"),
        (
            {"backend": "openai", "model": "painter", "api": {"base_url": "http://localhost/v1"}, "dtype": "float16"},
            "dtype is 'float16', but recipe.generate.backend is 'openai'",
        ),
        ({"api": {"base_url": "http://localhost/v1"}}, "recipe.generate.backend is 'diffusers'"),
        ({"backend": "openai", "api": {"base_url": "localhost:8000"}}, "must begin with http:// or https://"),
        ({"backend": "openai", "api": {"extra": {"seed": 1}}}, "extra holds 'seed'"),
    ],
)
def test_a_recipe_that_an_api_cannot_serve_is_refused(tmp_path: Path, section: dict[str, Any], message: str) -> None:
    from imagemill.data.config.load import load_recipe
    from imagemill.tasks.build_context import resolve_models

    with pytest.raises(RecipeError) as error:
        resolve_models(load_recipe({"prompts": "p.txt", "output": str(tmp_path / "out"), "generate": section}))
    assert message in str(error.value)
