"""What the conformance kit found: one line a law, and for a broken one where to look."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["passed", "failed", "not applicable"]


@dataclass(frozen=True)
class Check:
    """One law and what came of it.

    Attributes
    ----------
    name
        The law's short name.
    outcome
        ``passed``, ``failed`` or ``not applicable``.
    expected
        The law.
    found
        What was found instead; for a law that does not apply, the reason; else a remark, or nothing.
    look_for
        The mistakes that break this law most often.
    """

    name: str
    outcome: Outcome
    expected: str
    found: str = ""
    look_for: str = ""

    def __str__(self) -> str:
        head = f"{'FAILED' if self.outcome == 'failed' else self.outcome:<15} {self.name}"
        if self.outcome == "failed":
            return f"{head}\n    found     {self.found}\n    expected  {self.expected}\n    look for  {self.look_for}"
        return f"{head}: {self.found}" if self.found else head


@dataclass(frozen=True)
class Report:
    """What the kit found on one plugin. Its text lists every law, in the order in which they were tested.

    Attributes
    ----------
    plugin
        Its registered name, or that of its class.
    kind
        ``stage``, ``degradation`` or ``demosaicer``; another package's kit has kinds of its own.
    checks
        The laws.
    seconds
        How long it took [s].
    """

    plugin: str
    kind: str
    checks: tuple[Check, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether no law is broken."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The laws that are broken."""
        return tuple(check for check in self.checks if check.outcome == "failed")

    def __getitem__(self, name: str) -> Check:
        """The law of this name; KeyError if there is none."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def __str__(self) -> str:
        count = {outcome: sum(c.outcome == outcome for c in self.checks) for outcome in typing.get_args(Outcome)}
        counts = ", ".join(f"{number} {outcome}" for outcome, number in count.items())
        lines = [f"{self.kind} {self.plugin}: {counts} ({self.seconds:.1f} s)"]
        return "\n".join(lines + [f"  {line}" for check in self.checks for line in str(check).split("\n")])
