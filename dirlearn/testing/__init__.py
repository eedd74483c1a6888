"""The conformance kit for parts of a training: does a plugin keep the promises that the training builds on?

``assert_conforms("my_estimator")`` in a plugin's own tests tests a list of laws on it; `check` returns the report. The
kit needs neither pytest nor hypothesis, draws everything from keyed generators, and leaves the global generators and
the number of threads as they were.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from dirlearn.testing import critics, estimators, heads, metrics, picture_metrics
from dirlearn.testing.component import Subject
from isp_sim import registry
from isp_sim.testing import Check, Outcome, Report
from isp_sim.testing.law import Law, tested
from isp_sim.testing.laws_bits import unchanged

__all__ = ["Check", "Outcome", "Report", "assert_conforms", "check"]

Suited = Callable[[str, Any, Sequence[Mapping[str, Any]]], tuple[Subject, tuple[Law, ...]]]

GROUPS: Final[Mapping[str, tuple[str, Suited]]] = {
    "dirlearn.estimators": ("estimator", estimators.suited),
    "dirlearn.critics": ("critic", critics.suited),
    "dirlearn.heads": ("head", heads.suited),
    "dirlearn.metrics": ("metric", metrics.suited),
    "dirlearn.picture_metrics": ("picture metric", picture_metrics.suited),
}
"""For each group of entry points: what one of it is called, and what finds its laws or raises TypeError."""


def assert_conforms(plugin: str | type[Any], **options: Any) -> Report:
    """Raise AssertionError, with the whole list of laws, if a plugin breaks one. For a plugin's own tests.

    Takes what `check` takes, and returns its report.
    """
    report = check(plugin, **options)
    if not report.passed:
        raise AssertionError(f"\n{report}")
    return report


def check(plugin: str | type[Any], *, group: str | None = None, parameters: Sequence[Mapping[str, Any]] = ()) -> Report:
    """Test a part of a training.

    Parameters
    ----------
    plugin
        The name that it is registered under, or the class.
    group
        Its group of entry points, such as ``dirlearn.estimators``, where a name stands in several.
    parameters
        Parameters to try beyond the defaults, as a recipe would write them; of heads, in their place.

    Raises
    ------
    LookupError
        If no such plugin is installed, if it can't be imported, or if its name stands in several groups.
    TypeError
        If the kit has no laws for it.
    ParameterFaults
        If `parameters` are not valid.
    """
    if group is not None and group not in GROUPS:
        raise TypeError(f"the kit has laws for {', '.join(GROUPS)}, not for {group!r}")
    wanted = tuple(GROUPS) if group is None else (group,)
    name = plugin if isinstance(plugin, str) else getattr(plugin, "__name__", repr(plugin))
    if isinstance(plugin, str):
        found = [g for g in wanted if plugin in registry.names(g)]
        if not found:
            raise registry.UnknownPlugin(plugin, wanted)
        if len(found) > 1:
            raise LookupError(f"{plugin!r} stands in {' and '.join(found)}: say which by group=")
        wanted = (found[0],)
        plugin = registry.load(plugin, *wanted)
    kind, subject, laws = _suited(name, plugin, wanted, parameters)
    start = time.perf_counter()
    with unchanged():
        checks = tested(laws, subject)
    return Report(name, kind, checks, time.perf_counter() - start)


def _suited(
    name: str, plugin: Any, wanted: Sequence[str], parameters: Sequence[Mapping[str, Any]]
) -> tuple[str, Subject, tuple[Law, ...]]:
    reasons = []
    for group in wanted:
        kind, suited = GROUPS[group]
        try:
            return kind, *suited(name, plugin, parameters)
        except TypeError as error:
            reasons.append(str(error))
    raise TypeError("; ".join(reasons))
