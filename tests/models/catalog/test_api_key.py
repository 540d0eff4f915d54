"""A recipe names an address and a variable; the machine's owner decides which addresses get a key."""

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.api_key import HOSTS
from imagemill.tasks.build_context import resolve_models

LOOPBACK = [
    "http://localhost:8000/v1",
    "http://LOCALHOST/v1",
    "https://127.0.0.1:8000/v1",
    "http://127.9.8.7/v1",
    "http://[::1]:8000/v1",
    "http://[0:0:0:0:0:0:0:1]/v1",
]

ELSEWHERE = [
    "http://evil.example/v1",
    "http://api.openai.com/v1",
    "https://api.openai.com:8443/v1",
    "https://api.openai.com.evil.example/v1",
    "https://xapi.openai.com/v1",
    "https://api.openai.com./v1",
    "https://xn--pi-6ka.openai.com/v1",
    "http://localhost.evil.example/v1",
    "http://localhost./v1",
    "http://127.0.0.1.evil.example/v1",
    "http://127.1/v1",
    "http://127.0.0.01/v1",
    "http://2130706433/v1",
    "http://0x7f000001/v1",
    "http://017700000001/v1",
    "http://0.0.0.0/v1",
    "http://0/v1",
    "http://[::]/v1",
    "http://[::ffff:127.0.0.1]/v1",
    "http://192.168.0.1/v1",
    "http://169.254.169.254/v1",
    "http://gpu1:8001/v1",
    "https://gpu1:8000/v1",
]

NOT_VALID = [
    "http://127.0.0.1@evil.example/v1",
    "http://me:MARKER@localhost/v1",
    "https://MARKER@api.openai.com/v1",
    "http://localhost\\@evil.example/v1",
    "http://localhost\t.evil.example/v1",
    "http://localhost evil/v1",
    "http://l\u00f6calhost/v1",
    "http://%6cocalhost/v1",
    "http://[::1%25eth0]/v1",
    "http://[::1]evil.example/v1",
    "http://evil.example[::1]/v1",
    "http://localhost:99999/v1",
    "http://localhost:x/v1",
    "http:///v1",
    "http:/localhost/v1",
    "http:localhost/v1",
    "ftp://localhost/v1",
    "https://api.openai.com/v1?x=1",
    "https://api.openai.com/v1#x",
    "MARKER",
]


def resolve(base_url: str, **api: str):
    api = {"base_url": base_url, **api}
    generate = {"backend": "openai", "model": "painter", "api": api}
    return resolve_models(load_recipe({"prompts": "p.jsonl", "generate": generate}))


@pytest.fixture(autouse=True)
def no_list(monkeypatch):
    monkeypatch.delenv(HOSTS, raising=False)


@pytest.mark.parametrize("base_url", ["https://api.openai.com/v1", "HTTPS://API.OPENAI.COM:443/v1", *LOOPBACK])
@pytest.mark.parametrize("source", ["key_env", "key_block"])
def test_openai_and_this_machine_may_get_a_key(base_url, source):
    assert resolve(base_url, **{source: "PAINTER_KEY"})


@pytest.mark.parametrize("base_url", ELSEWHERE)
@pytest.mark.parametrize("source", ["key_env", "key_block"])
def test_no_other_origin_gets_a_key_and_the_error_names_the_setting(base_url, source):
    with pytest.raises(RecipeError, match=rf"recipe\.generate\.api\.{source} would send a key to .*{HOSTS}="):
        resolve(base_url, **{source: "PAINTER_KEY"})


@pytest.mark.parametrize("base_url", ELSEWHERE)
def test_without_a_key_any_address_may_be_asked(base_url):
    assert resolve(base_url)


@pytest.mark.parametrize("base_url", NOT_VALID)
def test_an_address_with_a_user_or_several_readings_is_refused_and_not_repeated(base_url):
    with pytest.raises(RecipeError, match=r"^recipe\.generate\.api\.base_url") as caught:
        resolve(base_url)
    assert "MARKER" not in str(caught.value)


@pytest.mark.parametrize(
    ("listed", "base_url", "allowed"),
    [
        ("http://gpu1:8000", "http://gpu1:8000/v1", True),
        ("http://gpu1:8000", "http://GPU1:8000/v1", True),
        ("http://GPU1:8000/", "http://gpu1:8000", True),
        ("http://gpu1:8000", "https://gpu1:8000/v1", False),
        ("http://gpu1:8000", "http://gpu1:8001/v1", False),
        ("http://gpu1:8000", "http://gpu1.evil.example:8000/v1", False),
        ("https://a.example, http://b.example:80;https://c.example", "http://b.example/v1", True),
        ("https://a.example\nhttps://c.example", "https://c.example:443/v1", True),
        ("http://[fd00::1]:8000", "http://[fd00:0::1]:8000/v1", True),
        (" ", "http://gpu1:8000/v1", False),
    ],
)
def test_the_list_names_origins_with_scheme_and_port(monkeypatch, listed, base_url, allowed):
    monkeypatch.setenv(HOSTS, listed)
    if allowed:
        assert resolve(base_url, key_env="PAINTER_KEY")
    else:
        with pytest.raises(RecipeError, match="would send a key"):
            resolve(base_url, key_env="PAINTER_KEY")


@pytest.mark.parametrize(
    "listed", ["gpu1:8000", "*", "https://*", "https://a/v1", "https://me:pw@a", "https://*.a.example"]
)
def test_a_list_that_names_no_origin_is_an_error(monkeypatch, listed):
    monkeypatch.setenv(HOSTS, listed)
    with pytest.raises(RecipeError, match=rf"^{HOSTS} holds") as caught:
        resolve("http://gpu1:8000/v1", key_env="PAINTER_KEY")
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "hf_token",
        "HUGGING_FACE_HUB_TOKEN",
        "HUGGINGFACEHUB_API_TOKEN",
        "GITHUB_TOKEN",
        "GH_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AZURE_CLIENT_SECRET",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "PREFECT_API_KEY",
        "PREFECT_API_AUTH_STRING",
        "WANDB_API_KEY",
        "DB_PASSWORD",
        "DATABASE_URL",
        "PGPASSWORD",
    ],
)
@pytest.mark.parametrize("base_url", ["https://api.openai.com/v1", "http://localhost:8000/v1", "http://gpu1:8000/v1"])
def test_what_is_no_images_apis_key_is_never_sent_whatever_is_listed(monkeypatch, name, base_url):
    monkeypatch.setenv(HOSTS, "http://gpu1:8000")
    with pytest.raises(RecipeError, match="imagemill never sends it"):
        resolve(base_url, key_env=name)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "PAINTER_KEY", "DF_API_KEY", "GOOGLE_API_KEY", "FAL_KEY"])
def test_a_key_of_an_images_api_may_be_named(name):
    assert resolve("https://api.openai.com/v1", key_env=name)
