"""Cache of finished steps: a step that an earlier run of the build has finished is Cached on the dashboard.

Prefect's own cache is not used. It keeps results as pickles, and a result's file names the serializer, or with JSON the
classes, that read it: a dataset's folder from someone else could run code. Here a result is checked data
(data.staging.step_results), and the step's images count, not the file.
"""

from __future__ import annotations

from pathlib import Path

from prefect.client.schemas.objects import State
from prefect.states import Completed

from imagemill.data.identity import digest
from imagemill.data.records import StepReport
from imagemill.data.staging.step_results import StepResults
from imagemill.data.staging.store import Staging
from imagemill.data.storage.disk_errors import explain_disk_errors
from imagemill.models.drawing.measure_registry import registry
from imagemill.models.job import Job
from imagemill.tasks.runner.dispatch import draw_job


def run_step(step: str, job: Job, results: Path, refresh: bool) -> StepReport | State[StepReport]:
    """Generate and stage a step's images; a state named Cached if an earlier run did. ``refresh``: never from there."""
    if not refresh and (report := finished_before(step, job, results)) is not None:
        return Completed(name="Cached", message="An earlier run generated these images.", data=report)
    report = draw_job(job)
    with explain_disk_errors(results.parent):
        StepResults(results).put(step_key(step, job), report)
    return report


def finished_before(step: str, job: Job, results: Path) -> StepReport | None:
    """The report of an earlier run that generated a step's images, if they are all there still."""
    report = StepResults(results).find(step_key(step, job), [drawing.key for drawing in job.drawings])
    return report if report is not None and _is_staged(job, report) else None


def step_key(step: str, job: Job) -> str:
    """The key of a step: equal for two jobs that would stage the same images in the same encodings.

    Image keys cover all that decides pixels; batch size does not count.
    """
    staged = [(drawing.key, [encoding.name for encoding in job.encodings[drawing.key]]) for drawing in job.drawings]
    # A measure that is new measures staged images too, so that the step must run again.
    measured = [item for item in sorted(job.measures.items()) if not registry()[item[0]].needs_pipeline]
    return f"{step}-{digest([*staged, *measured])}"


def _is_staged(job: Job, report: StepReport) -> bool:
    """True if every image that did not fail is there: a result is only a reference to them."""
    staging = Staging(Path(job.staging))
    return all(
        drawing.key in report.failed
        or all(staging.find(drawing.key, encoding.name) is not None for encoding in job.encodings[drawing.key])
        for drawing in job.drawings
    )
