"""A training loop's clock: a learning rate that follows a time budget, a progress bar, a checkpoint now and then."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

SAVE_EVERY = 120.0  # seconds
THREADS = torch.get_num_threads()


class Threads:
    """Now and then tries one thread against all: on a busy machine, threads that wait for each other are slower."""

    def __init__(self):
        self.best, self.spent = THREADS, {1: 0.0, THREADS: 0.0}

    def choose(self, step: int, seconds: float) -> None:
        """Call it once a step with the last step's duration: 4 steps with one, 4 with all, 72 with the faster."""
        phase = step % 80
        if phase in range(1, 5):
            self.spent[1] += seconds
        elif phase in range(5, 9):
            self.spent[THREADS] += seconds
        if phase == 8:
            self.best = min(self.spent, key=self.spent.__getitem__)
            self.spent = dict.fromkeys(self.spent, 0.0)
        torch.set_num_threads(1 if phase < 4 else THREADS if phase < 8 else self.best)


class Run:
    """One stage of training that lasts `minutes` in all, over as many interrupted attempts as it takes.

    A checkpoint holds the optimisers and `modules`, which it names. The learning rate warms up over 200 steps and then
    falls with the time that is spent, along half a cosine, to 1 % of `peak`.
    """

    def __init__(self, name: str, folder: Path, minutes: float, peak: float, optimizers: list, modules: dict):
        self.name, self.path, self.limit, self.peak = name, folder / f"{name}.pt", 60 * minutes, peak
        self.optimizers = optimizers
        self.parts = modules | {f"optimizer {i}": optimizer for i, optimizer in enumerate(optimizers)}
        self.step, self.seconds = 0, 0.0
        if self.path.exists():
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            self.step, self.seconds = saved["step"], saved["seconds"]
            for key, part in self.parts.items():
                part.load_state_dict(saved[key])

    @property
    def share(self) -> float:
        """Share of the time that is spent, 0..1."""
        return self.seconds / self.limit

    def save(self) -> None:
        parts = {key: part.state_dict() for key, part in self.parts.items()}
        scratch = self.path.with_suffix(".tmp")
        torch.save({"step": self.step, "seconds": self.seconds, **parts}, scratch)
        os.replace(scratch, self.path)

    def steps(self, describe: Callable[[], str]) -> Iterator[int]:
        """The step numbers until the time is spent; the last checkpoint is written before this returns."""
        saved, before = self.seconds, time.monotonic()
        threads = Threads()
        bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with bar:
            task = bar.add_task(self.name, total=self.limit, completed=self.seconds)
            while self.seconds < self.limit:
                decay = 0.505 + 0.495 * math.cos(math.pi * self.share)
                for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
                    group["lr"] = self.peak * decay * min(1.0, (self.step + 1) / 200)
                yield self.step
                self.step += 1
                now = time.monotonic()
                threads.choose(self.step, now - before)
                self.seconds, before = self.seconds + now - before, now
                if self.step % 20 == 0:
                    label = f"{self.name} step {self.step}: {describe()}"
                    bar.update(task, completed=self.seconds, description=label)
                if self.seconds - saved > SAVE_EVERY:
                    self.save()
                    saved = self.seconds
                    if not bar.console.is_terminal:
                        print(f"{self.seconds / 60:.1f} min, {self.name} step {self.step}: {describe()}", flush=True)
        self.save()
