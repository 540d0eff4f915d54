"""A path that a recipe names may be any file of the machine: no error repeats what is in it."""

import json
from pathlib import Path

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.config.steps import Generate
from imagemill.data.errors import ImagemillError, InputError, RecipeError
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.worklist import Worklist
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.resolve import resolve

MARKER = "hunter2MARKER"

FILES = {
    "env": f"DB_PASSWORD={MARKER}\nexport OPENAI_API_KEY='{MARKER}'\n",
    "env as yaml": f"DB_PASSWORD: {MARKER}\nOTHER: [{MARKER}]\n",
    "env in braces": f"{{A={MARKER}: x}}",
    "env with comment": f"# {MARKER}\nA={MARKER} # {MARKER}\n\tB={MARKER}\n",
    "named": f"name: {MARKER} is it!\noutput: {MARKER}\npassword: {MARKER}\n",
    "aws": f"[default]\naws_access_key_id = AKIA{MARKER}\naws_secret_access_key = {MARKER}\n",
    "shadow": f"root:$6${MARKER}:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n",
    "passwd": f"{MARKER}:x:0:0:{MARKER}:/root:/bin/bash\n",
    "netrc": f"machine api.host login me password {MARKER}\nmachine b login me password {MARKER}\n",
    "pem": f"-----BEGIN PRIVATE KEY-----\n{MARKER}\n{MARKER}\n-----END PRIVATE KEY-----\n",
    "json": json.dumps({"type": "service_account", "private_key": f"-----BEGIN PRIVATE KEY-----\n{MARKER}"}),
    "json, pretty": json.dumps({"type": MARKER, "token": MARKER}, indent=2),
    "json list": json.dumps([MARKER, MARKER]),
    "docker": json.dumps({"auths": {"https://index": {"auth": MARKER}}}),
    "kubeconfig": f"apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user:\n    token: {MARKER}\n",
    "tag": f"!{MARKER} x: !!int {MARKER}\n",
    "alias": f"a: *{MARKER}\n",
    "quotes": f"a: \"it's {MARKER}\nb: '{MARKER}\n",
    "token": f"{MARKER}\n",
    "two tokens": f"{MARKER}\n{MARKER}a\n",
    "url": f"postgres://me:{MARKER}@host/db\nmysql://me:{MARKER}@host/db\n",
    "binary": b"\x00\x01\xff\xfe" + MARKER.encode() * 20,
    "utf-16": f"A={MARKER}\n".encode("utf-16"),
    "csv": f"{MARKER},{MARKER}b\n{MARKER},c\n",
    "csv, one name twice": f"{MARKER},{MARKER}\n{MARKER},c\n",
    "csv, too many fields": f"a,b\n{MARKER},{MARKER},{MARKER}\n",
    "csv, a quote": f'"a,{MARKER}\n{MARKER}\n',
    "tsv": f"{MARKER}\t{MARKER}b\n{MARKER}\tc\n",
}


@pytest.fixture(params=FILES)
def secret(request, tmp_path: Path) -> Path:
    content = FILES[request.param]
    path = tmp_path / ".secret"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_no_error_of_a_recipe_repeats_the_file(secret):
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(secret))
    assert MARKER not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("suffix", ["", ".jsonl", ".csv", ".tsv", ".parquet", ".jsonl.gz", ".csv.xz", ".txt"])
def test_no_error_of_prompts_repeats_the_file(secret, suffix, tmp_path):
    prompts = secret.rename(secret.with_name(f"prompts{suffix}"))
    # Rows of an edit need an image, so that a line of text is a bad row too.
    recipe = load_recipe({"prompts": str(prompts), "edit": {}, "output": str(tmp_path / "out")})
    with Worklist.create(tmp_path / "plan.sqlite") as worklist:
        with pytest.raises(InputError) as caught:
            load_rows(recipe, worklist)
        reasons = [str(caught.value), *(fault.reason for fault in worklist.faults())]
    assert not [reason for reason in reasons if MARKER in reason]


def test_no_error_of_a_models_file_repeats_the_file(secret):
    with pytest.raises(RecipeError) as caught:
        read_catalog(str(secret))
    assert MARKER not in str(caught.value)


def test_no_error_of_an_adapter_repeats_the_file(secret):
    with pytest.raises(ImagemillError) as caught:
        resolve("generate", Generate(model="bundled", lora=[{"source": str(secret)}]))
    assert MARKER not in str(caught.value)


def test_no_error_of_a_model_folder_repeats_its_files(secret, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    secret.rename(folder / "model_index.json")
    with pytest.raises(ImagemillError) as caught:
        resolve("generate", Generate(model=str(folder)))
    assert MARKER not in str(caught.value)


@pytest.mark.parametrize(
    ("api", "field"),
    [
        ({"key_env": f"{MARKER}-1"}, "key_env"),
        ({"base_url": f"me:{MARKER}@host"}, "base_url"),
        ({"key_block": [MARKER]}, "key_block"),
        ({"extra": MARKER}, "extra"),
        ({"key": MARKER}, "key"),
    ],
)
def test_a_key_in_the_wrong_field_is_not_repeated(api, field):
    with pytest.raises(RecipeError) as caught:
        load_recipe({"prompts": "p.jsonl", "generate": {"backend": "openai", "api": api}})
    assert str(caught.value).startswith(f"recipe.generate.api.{field}")
    assert MARKER not in str(caught.value)
