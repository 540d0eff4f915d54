"""Plan shards: what is in the dataset already is left out, the rest is cut into shards."""

from __future__ import annotations

from prefect import task

from data.manifest import known_failures
from data.planning import make_plan
from data.records import Plan
from data.worklist import Worklist
from tasks.settings import Build


@task(name="plan shards", task_run_name="plan shards of {build.recipe.name}", persist_result=False)
def plan_shards(build: Build) -> Plan:
    """Put every missing item into a shard and return the sums. Loads no model."""
    failures = {} if build.retry_set_aside else known_failures(build.folder)
    with Worklist.open(build.folder.plan) as worklist:
        return make_plan(build.recipe, worklist, build.folder, build.layout, build.facts, failures)
