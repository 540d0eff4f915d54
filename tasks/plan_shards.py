"""Plan task: divide the rows that the dataset lacks into shards."""

from __future__ import annotations

from prefect import task

from imagemill.data.dataset.manifest import known_failures
from imagemill.data.planning.judging.plan import make_judged_plan
from imagemill.data.planning.plan import make_plan
from imagemill.data.planning.totals import Plan
from imagemill.data.planning.worklist import Worklist
from imagemill.tasks.build_context import Build


@task(name="plan shards", task_run_name="plan shards of {build.recipe.name}", persist_result=False)
def plan_shards(build: Build) -> Plan:
    """Assign every missing row to a shard and return the totals. Loads no model."""
    with Worklist.open(build.folder.plan) as worklist:
        if build.is_judged:
            judge = build.judge(worklist)
            return make_judged_plan(build.recipe, worklist, build.folder, build.schema, judge)
        failures = {} if build.retry_set_aside else known_failures(build.folder)
        return make_plan(build.recipe, worklist, build.folder, build.schema, build.facts, failures)
