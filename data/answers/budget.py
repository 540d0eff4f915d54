"""Budget of questions: how many requests a dataset may make in all its builds, and what they may cost."""

from __future__ import annotations

from dataclasses import dataclass

from imagemill.data.answers.records import Spent
from imagemill.data.config.words.asking import Asking

_ROUNDING = 1e-9
"""Sums of prices are compared with this relative error."""


class NotAsked(Exception):
    """A question has no answer yet; the message says why it was not asked."""


class BudgetReached(NotAsked):
    """A request was not made, since it would go over a budget; the message names the setting."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of one asker. ``field``: its place in the recipe."""

    field: str
    max_requests: int | None = None
    max_cost: float | None = None
    cost_per_request: float | None = None

    @classmethod
    def of(cls, field: str, asking: Asking) -> Budget:
        """The budget of a section of the recipe."""
        return cls(field, asking.max_requests, asking.max_cost, asking.cost_per_request)

    @property
    def price(self) -> float:
        """Of one request."""
        return self.cost_per_request or 0.0

    def check(self, spent: Spent) -> None:
        """Raise BudgetReached if one more request would go over a limit. ``spent``: of this asker, ever."""
        if self.max_requests is not None and spent.requests >= self.max_requests:
            raise BudgetReached(f"{self.field}.max_requests ({self.max_requests:,}) is reached")
        if self.max_cost is not None and spent.cost + self.price > self.max_cost * (1 + _ROUNDING):
            raise BudgetReached(f"{self.field}.max_cost ({self.max_cost:g}) is reached")

    def left(self, spent: Spent) -> int | None:
        """Requests that may still be made; None: any number."""
        limits = []
        if self.max_requests is not None:
            limits.append(self.max_requests - spent.requests)
        if self.max_cost is not None and self.price:
            limits.append(int((self.max_cost * (1 + _ROUNDING) - spent.cost) / self.price))
        return max(0, min(limits)) if limits else None
