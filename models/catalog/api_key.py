"""Rules for an API's key: which variables may hold one, and which addresses may get it.

A recipe may come from a colleague, a form or the internet. It names a variable and an address; the machine's owner
decides what leaves the machine.
"""

from __future__ import annotations

import os
import re

from imagemill.data.config.server_api import ServerApi
from imagemill.data.errors import RecipeError
from imagemill.data.messages import cut, shown
from imagemill.data.storage.origins import BadUrl, is_loopback, origin_of

HOSTS = "IMAGEMILL_API_HOSTS"
"""Environment variable of the machine that builds: further origins that may get a key."""

DEFAULT_ORIGINS = ("https://api.openai.com:443",)

_NEVER = re.compile(
    r"(HF|HUGGING_?FACE(HUB|_HUB)?|GH|GITHUB|GITLAB|CI|ACTIONS|AWS|AZURE|ARM|GOOGLE_APPLICATION|GCP|GCLOUD|CLOUDSDK"
    r"|PREFECT|IMAGEMILL|DASK|WANDB|MLFLOW|KUBE|DOCKER|NPM|PYPI|TWINE|SSH|GPG|VAULT|SLACK|PG|POSTGRES|MYSQL|DATABASE"
    r"|REDIS|SMTP|SUDO)(_.*|[A-Z]*TOKEN|CONFIG|PASSWORD)?"
    r"|.*(PASSWORD|PASSWD|PASSPHRASE|PRIVATE_KEY|SECRET_ACCESS_KEY|CONNECTION_STRING|DATABASE_URL)",
    re.IGNORECASE,
)
"""Names of variables that hold something else than an API's key: they are never sent, whatever is listed."""


def check_key(field: str, api: ServerApi) -> None:
    """Raise RecipeError, naming the field, if the recipe asks for a key to be sent where it may not go."""
    if api.key_env and _NEVER.fullmatch(api.key_env):
        raise RecipeError(
            f"{field}.key_env is {shown(api.key_env)}, which is not the key of a model's API: imagemill never sends "
            "it. Put the API's own key into another variable."
        )
    if (api.key_env or api.key_block) and not may_get_key(api):
        setting = "key_env" if api.key_env else "key_block"
        raise RecipeError(
            f"{field}.{setting} would send a key to {_plain(origin_of(api.base_url))}, and keys go only to "
            f"{_plain(DEFAULT_ORIGINS[0])}, to this machine, and to the origins in {HOSTS}. If it may have the key, "
            f"set {HOSTS}={_plain(origin_of(api.base_url))} where the build runs; otherwise leave out {setting}."
        )


def may_get_key(api: ServerApi) -> bool:
    """True if the machine's owner lets this API's origin have a key. Raises RecipeError for an invalid list."""
    return is_loopback(origin_of(api.base_url)) or is_listed(api)


def is_listed(api: ServerApi) -> bool:
    """True if the machine's owner has named this API's origin. Raises RecipeError for an invalid list."""
    return origin_of(api.base_url) in (*DEFAULT_ORIGINS, *_listed())


def origin_in_messages(api: ServerApi) -> str:
    """The API's origin, without a default port."""
    return _plain(origin_of(api.base_url))


def _listed() -> list[str]:
    origins = []
    for text in re.split(r"[\s,;]+", os.environ.get(HOSTS, "").strip(" \t\r\n,;")):
        if not text:
            continue
        try:
            origin = origin_of(text)
        except BadUrl as error:
            raise RecipeError(
                f"{HOSTS} holds {shown(text)}, which is no origin such as https://host:8000: {error}."
            ) from error
        if text.partition("://")[2].rstrip("/").count("/"):
            raise RecipeError(f"{HOSTS} holds {shown(text)}: give the origin alone, {_plain(origin)}.")
        origins.append(origin)
    return origins


def _plain(origin: str) -> str:
    return cut(re.sub(r"(?<=^http)(://.*):80$|(?<=^https)(://.*):443$", r"\1\2", origin))
