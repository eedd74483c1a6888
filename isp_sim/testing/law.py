"""A law: what it says, what usually breaks it, and how it is tested."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from isp_sim.testing.report import Check

Test = Callable[[Any], str | None]
"""Takes what is under test, returns a remark or None; raises Broken or NotApplicable."""


class Broken(Exception):
    """A law does not hold; says what was found."""


class NotApplicable(Exception):
    """A law says nothing of this plugin; gives the reason."""


@dataclass(frozen=True)
class Law:
    """See `Check` for the texts.

    Attributes
    ----------
    after
        Laws without which this one tells nothing: the first fault is often the cause of the others.
    """

    name: str
    expected: str
    look_for: str
    after: tuple[str, ...]
    test: Test


RUNS: Final = ("runs", "output")
BITS: Final = (*RUNS, "repeatable", "own generators")
"""Equal bits can't be asked of a stage whose own two runs differ."""


def law(name: str, expected: str, look_for: str, after: tuple[str, ...] = ()) -> Callable[[Test], Law]:
    """Turn a test into a law."""
    return lambda test: Law(name, expected, look_for, after, test)


def tested(laws: Sequence[Law], subject: Any) -> tuple[Check, ...]:
    """Test laws one after the other, each only if those that it builds on hold."""
    checks: list[Check] = []
    doubtful: set[str] = set()
    for law in laws:
        if missing := [name for name in law.after if name in doubtful]:
            check = Check(law.name, "not applicable", law.expected, f"tells nothing until {missing[0]!r} holds")
        else:
            check = _tested(law, subject)
        if missing or check.outcome == "failed":
            doubtful.add(law.name)
        checks.append(check)
    return tuple(checks)


def _tested(law: Law, subject: Any) -> Check:
    try:
        remark = law.test(subject)
    except NotApplicable as reason:
        return Check(law.name, "not applicable", law.expected, str(reason))
    except Broken as fault:
        return Check(law.name, "failed", law.expected, str(fault), law.look_for)
    except Exception as error:  # noqa: BLE001 - whatever the plugin raises belongs into its report
        return Check(law.name, "failed", law.expected, raised(error), law.look_for)
    return Check(law.name, "passed", law.expected, remark or "")


def raised(error: BaseException) -> str:
    """The error, with the last place outside torch and this kit where it passed."""
    kit = str(Path(__file__).parent)
    places = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(kit)]
    at = next((f for f in reversed(places) if "/torch/" not in f.filename), None)
    where = f" ({Path(at.filename).name}:{at.lineno}: {at.line})" if at is not None else ""
    return f"{type(error).__name__}: {error}{where}"
