"""Paths of a dataset: its files, and those of a running build.

<output>/
  data/train-00000-3f9a2b1c.parquet ...   whole files only, named by split, place and content
  rejected/   pairs/   scores/   answers/   of a judged dataset: candidates that were not chosen, and so on
  README.md  contact_sheet.jpg  manifest.json  runs.jsonl  set_aside.jsonl
  .imagemill/                    a build's state; may be deleted between builds
    folder.json   the dataset's name, and the seeds and revisions that were pinned for it
    lock          held while a build runs
    files.jsonl   the journal: a line for each committed file; rejected.jsonl is that of rejected/
    paths.json    this machine's paths in the recipe, which manifest.json leaves out
    scores/  answers/   journals of scores and answers, until they are in files beside data/
    staged/  given/  results/  tmp/  plan.sqlite  attempts.json   of the running build; removed when it is complete
    replaced/     files that manifest.json still lists and the running build has replaced

For a URL, the files of the last line and a copy of the journal are in a work folder on this machine instead.
"""

from __future__ import annotations

from pathlib import Path

from imagemill.data.dataset.files.area import EXTRAS
from imagemill.data.storage.contents import check_contents
from imagemill.data.storage.locations import RemotePath, locate, work_folder


class FolderPaths:
    """Paths in one dataset's folder. Making the object touches nothing."""

    def __init__(self, root: str | Path) -> None:
        self.root = locate(root)
        self.is_remote = isinstance(self.root, RemotePath)
        self.manifest = self.root / "manifest.json"
        self.card = self.root / "README.md"
        self.contact_sheet = self.root / "contact_sheet.jpg"
        self.runs = self.root / "runs.jsonl"
        self.set_aside = self.root / "set_aside.jsonl"
        self.snapshot = self.root / "snapshot.json"
        self.shared = self.root / ".imagemill"
        self.about = self.shared / "folder.json"
        self.lock_file = self.shared / "lock"
        # Needed only by the machine that builds, and by its workers.
        self.state = work_folder(self.root) if isinstance(self.root, RemotePath) else self.root / ".imagemill"
        self.failures = self.state / "failures.jsonl"
        self.staged = self.state / "staged"
        self.given = self.state / "given"
        self.replaced = self.state / "replaced"
        self.results = self.state / "results"
        self.tmp = self.state / "tmp"
        self.plan = self.state / "plan.sqlite"
        self.attempts = self.state / "attempts.json"
        self.score_journal = self.state / "scores"
        self.answer_journal = self.state / "answers"
        self.shared_answers = self.shared / "answers"
        self.under_way = self.state / "run.json"
        self.paths = self.state / "paths.json"

    @property
    def disk(self) -> Path:
        """The part on this machine's disk: the folder itself, or a remote dataset's work folder."""
        return self.root if isinstance(self.root, Path) else self.state

    @property
    def is_new(self) -> bool:
        """True if there is no finished dataset yet; False for a remote one, which is not looked up."""
        return not self.is_remote and not self.manifest.exists()

    def check_contents(self, links: bool) -> None:
        """Raise OutputError for a special file, or a link (unless ``links`` may be followed), in place of its files."""
        if isinstance(self.root, Path):
            names = ("manifest.json", "README.md", "contact_sheet.jpg", "runs.jsonl", "set_aside.jsonl")
            folders = [self.root / name for name in ("data", *EXTRAS, ".imagemill")]
            check_contents([self.root / name for name in names], folders, links)
