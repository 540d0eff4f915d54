"""Dispatch of jobs: to the cluster's workers, or, for a model behind an API, to an event loop in this process."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from prefect.blocks.system import Secret
from prefect.context import FlowRunContext

from imagemill.data.config.server_api import ServerApi
from imagemill.data.errors import BuildFailed, RecipeError
from imagemill.data.messages import shown
from imagemill.data.records import StepReport
from imagemill.data.scores.records import ScoreReport
from imagemill.models.catalog.api_key import HOSTS, check_key, may_get_key, origin_in_messages
from imagemill.models.catalog.api_spec import ApiSpec
from imagemill.models.job import Job
from imagemill.models.score_job import ScoreJob
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner, Listener
from imagemill.tasks.runner.job_message import WorkerJob

if TYPE_CHECKING:
    from imagemill.data.config.words.chat_api import ChatApi
    from imagemill.models.api.chat import ChatClient
    from imagemill.models.api.client import ImagesApi

Result = TypeVar("Result")

DEFAULT_KEY_ENV = "OPENAI_API_KEY"
"""Environment variable of the key if the recipe names none."""


def draw_job(job: Job) -> StepReport:
    """Generate a job from inside a task. Raises ImagemillError if a retry would not help."""
    if not isinstance(job.spec, ApiSpec):
        return gpu_runner().draw(job)
    key, key_from = find_key(job.spec.api)
    runner = FlowRunContext.get().task_runner
    return runner.shared_resource(ApiThread).draw(job, key, key_from, runner.listener)


def score_job(job: ScoreJob) -> ScoreReport:
    """Score a job's images from inside a task. Raises ImagemillError if a retry would not help."""
    return gpu_runner().score(job)


def wait_for_worker(job: WorkerJob) -> None:
    """Submit a job and return once a worker has it; at once if an API generates.

    The task's draw_job or score_job then takes it.
    """
    if isinstance(job, Job) and isinstance(job.spec, ApiSpec):
        return
    # The task meets an error of the disk again, and is retried.
    with suppress(OSError):
        gpu_runner().wait_for_worker(job)


def gpu_runner() -> GpuTaskRunner:
    """The runner of the current flow, whose workers generate. Raises RuntimeError if it has another one."""
    context = FlowRunContext.get()
    runner = context and context.task_runner
    if not isinstance(runner, GpuTaskRunner):
        raise RuntimeError(
            f"the flow's task runner is {type(runner).__name__}, and GPU tasks need GpuTaskRunner: "
            "@flow(task_runner=GpuTaskRunner())."
        )
    return runner


def find_key(api: ServerApi) -> tuple[str | None, str]:
    """The API's key, if there is one, and its source. Raises RecipeError if the recipe's source has none."""
    # Again: the machine that builds decides, and may be another than the one that planned.
    check_key("api", api)
    if api.key_block:
        source = f"the Prefect Secret block {shown(api.key_block)}"
        try:
            key = Secret.load(api.key_block).get()
        except ValueError as error:
            raise RecipeError(
                f"api.key_block is {shown(api.key_block)}, but this server has no Secret block of that name: create "
                "one "
                "(prefect block create secret), or name the environment variable in api.key_env."
            ) from error
    else:
        name = api.key_env or DEFAULT_KEY_ENV
        source = f"the environment variable {name}"
        key = os.environ.get(name, "")
        if key.strip() and not may_get_key(api):
            # The default variable: the recipe asks for no key, and many servers need none.
            return None, f"none: {name} is not sent to {origin_in_messages(api)}, which {HOSTS} does not list"
        if api.key_env and not key.strip():
            raise RecipeError(
                f"api.key_env is {_variable(name)}, but that environment variable is not set where the build runs."
            )
    key = str(key).strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise RecipeError(f"the key in {source} contains spaces or non-ASCII characters: set it again.")
    return (key, source) if key else (None, f"none, as {source} is not set")


def _variable(name: str) -> str:
    """The variable's name; one that looks like the key itself is not repeated."""
    return shown(name) if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", name) else f"a name of {len(name)} characters"


class ApiThread:
    """Thread with the event loop for all of a flow's API requests."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="images-api", daemon=True)
        self._thread.start()
        self._apis: dict[tuple[str, str | None], ImagesApi] = {}
        self._chats: dict[tuple[str, str | None], ChatClient] = {}

    def draw(self, job: Job, key: str | None, key_from: str, listener: Listener | None) -> StepReport:
        """Generate a job and wait for it."""
        future: Future[StepReport] = asyncio.run_coroutine_threadsafe(
            self._draw(job, key, key_from, listener or _ignore), self._loop
        )
        try:
            return future.result()
        except CancelledError as error:
            raise BuildFailed("the build was stopped while it waited for the images API.") from error

    async def _draw(self, job: Job, key: str | None, key_from: str, listener: Listener) -> StepReport:
        # Imported here, since most builds use no API.
        from imagemill.models.api.client import ImagesApi
        from imagemill.models.drawing.api import draw_with_api

        assert isinstance(job.spec, ApiSpec), "draw_job gives no other job to an API"
        name = (job.spec.api.model_dump_json(), key)
        if name not in self._apis:
            self._apis[name] = ImagesApi(job.spec.api, key, key_from, job.allow_hosts)
        return await draw_with_api(job, self._apis[name], listener)

    def start(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Begin work in the event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def chat(self, api: ChatApi, key: str | None, key_from: str) -> ChatClient:
        """The client of a chat API: one for all that ask the same, so that its concurrency is theirs together."""
        from imagemill.models.api.chat import ChatClient

        name = (api.model_dump_json(), key)
        if name not in self._chats:
            self._chats[name] = ChatClient(api, key, key_from)
        return self._chats[name]

    def close(self) -> None:
        """Cancel all requests in flight."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for api in self._apis.values():
            await api.close()
        for chat in self._chats.values():
            await chat.close()


def _ignore(event: dict[str, Any]) -> None:
    """Discard an event."""
