"""The conformance kit: does a plugin keep the promises that the engine builds on?

``assert_conforms("my_degradation")`` in a plugin's own tests, or ``isp-sim plugin check my_degradation``, tests a
list of laws on it. Pictures, capture facts and parameters are made up from what the plugin says of itself: from
`Stage.needs`, `Stage.facts_read` and the types and bounds of its parameters. What can't be made up, the Field of a
parameter says:

- ``examples=[...]``: values to try where bounds do not tell what is valid, such as a name or the knots of a curve;
- ``json_schema_extra={"unbounded": "why"}``: the reason why a number has no bounds;
- ``json_schema_extra={"undone": False}``: an error on top of a stage, which its inverse leaves alone;
- ``json_schema_extra={"differentiable": False}``: a number that the picture depends on and no gradient flows to.

The first law that breaks is often the cause of the others, so those that then tell nothing are reported as not
applicable. The kit needs neither pytest nor hypothesis, draws everything from keyed generators, and leaves the
global generators and the number of threads as they were.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from isp_sim import registry
from isp_sim.demosaicing.demosaicer import Demosaicer
from isp_sim.parameters import Parameters
from isp_sim.stage import Degradation, Stage
from isp_sim.testing import (
    laws_bits,
    laws_declared,
    laws_demosaicers,
    laws_modes,
    laws_numbers,
    laws_runs,
    laws_severities,
    laws_warps,
)
from isp_sim.testing.law import Law, tested
from isp_sim.testing.pictures import FACTS, FactMaker
from isp_sim.testing.report import Check, Outcome, Report
from isp_sim.testing.subject import Interpolation, Subject

__all__ = [
    "Check",
    "FactMaker",
    "Outcome",
    "Report",
    "assert_conforms",
    "check",
    "check_demosaicer",
    "check_stage",
]

DEMOSAICERS: Final = "isp_sim.demosaicers"

STAGE_LAWS: Final[tuple[Law, ...]] = (
    laws_declared.docstring,
    laws_declared.class_facts,
    laws_declared.documented,
    laws_declared.bounded,
    laws_declared.recipe,
    laws_declared.values,
    laws_declared.signal,
    laws_declared.inverse_signal,
    laws_runs.runs,
    laws_runs.output,
    laws_runs.finite,
    laws_runs.ends,
    laws_runs.every_signal,
    laws_runs.sizes,
    laws_runs.codes,
    laws_runs.capture_facts,
    laws_runs.input_untouched,
    laws_bits.repeatable,
    laws_bits.own_generators,
    laws_bits.samples_apart,
    laws_bits.keyed_noise,
    laws_bits.strided,
    laws_bits.threads,
    laws_bits.tile,
    laws_bits.pickles,
    laws_numbers.precision,
    laws_numbers.gradient,
    laws_numbers.parameter_gradient,
    laws_modes.soft_twin,
    laws_warps.warp,
    laws_severities.severities,
    laws_numbers.inverse,
    laws_numbers.recovery,
    laws_numbers.cuda,
)

DEMOSAICER_LAWS: Final[tuple[Law, ...]] = (
    laws_declared.docstring,
    laws_demosaicers.algorithm_facts,
    laws_runs.runs,
    laws_runs.output,
    laws_demosaicers.smallest,
    laws_demosaicers.constants,
    laws_demosaicers.samples_kept,
    laws_demosaicers.linear,
    laws_demosaicers.flips,
    laws_runs.finite,
    laws_runs.every_signal,
    laws_runs.sizes,
    laws_runs.input_untouched,
    laws_bits.repeatable,
    laws_bits.own_generators,
    laws_bits.samples_apart,
    laws_bits.strided,
    laws_bits.threads,
    laws_bits.tile,
    laws_bits.pickles,
    laws_numbers.precision,
    laws_numbers.gradient,
    laws_numbers.cuda,
)


def assert_conforms(plugin: str | type[Stage] | type[Demosaicer], **options: Any) -> Report:
    """Raise AssertionError, with the whole list of laws, if a plugin breaks one. For a plugin's own tests.

    Takes what `check` takes, and returns its report.
    """
    report = check(plugin, **options)
    if not report.passed:
        raise AssertionError(f"\n{report}")
    return report


def check(plugin: str | type[Stage] | type[Demosaicer], **options: Any) -> Report:
    """Test a stage, a degradation or a demosaicer.

    Parameters
    ----------
    plugin
        The name that it is registered under, or its class.
    options
        Passed on to `check_stage` or `check_demosaicer`.

    Raises
    ------
    LookupError
        If no such plugin is installed, if it can't be imported, or if its name is that of a stage and of a
        demosaicer.
    TypeError
        If it is a plugin of another kind.

    Examples
    --------
    >>> check("clip")["samples apart"].outcome
    'passed'
    """
    if not isinstance(plugin, str):
        if issubclass(plugin, Demosaicer):
            return check_demosaicer(plugin, **options)
        return check_stage(plugin, **options)
    is_stage = plugin in registry.names(*registry.STAGE_GROUPS)
    is_demosaicer = plugin in registry.names(DEMOSAICERS)
    if is_stage and is_demosaicer:
        raise LookupError(f"{plugin!r} is a stage and a demosaicer: call check_stage or check_demosaicer")
    if not is_stage and not is_demosaicer:
        raise registry.UnknownPlugin(plugin, (*registry.STAGE_GROUPS, DEMOSAICERS))
    return check_demosaicer(plugin, **options) if is_demosaicer else check_stage(plugin, **options)


def check_stage(
    stage: str | type[Stage],
    *,
    parameters: Sequence[Mapping[str, Any]] = (),
    facts: Mapping[str, FactMaker] | None = None,
) -> Report:
    """Test a stage or a degradation.

    Parameters
    ----------
    stage
        The name that it is registered under, or the class.
    parameters
        Parameters to try beyond those that are made up: as a recipe would write them, without distributions.
    facts
        For capture facts that only the plugin knows: how to make one sample's value, without the batch axis.

    Raises
    ------
    LookupError
        If no such stage is installed, or if it can't be imported.
    TypeError
        If it is no stage. A combinator has no laws but those of the stages in it.
    ParameterFaults
        If `parameters` are not valid.
    """
    name, plugin = _loaded(stage, *registry.STAGE_GROUPS)
    if not (isinstance(plugin, type) and issubclass(plugin, Stage)):
        raise TypeError(f"{name} is no Stage, and the kit has laws for stages, degradations and demosaicers alone")
    for given in parameters:
        Parameters.bind(plugin.Params, given)
    subject = Subject(name, plugin, plugin, parameters, {**FACTS, **(facts or {})})
    return _report("degradation" if issubclass(plugin, Degradation) else "stage", subject, STAGE_LAWS)


def check_demosaicer(demosaicer: str | type[Demosaicer]) -> Report:
    """Test a demosaicing algorithm, by its registered name or its class. See `check_stage` for what is raised."""
    name, plugin = _loaded(demosaicer, DEMOSAICERS)
    if not (isinstance(plugin, type) and issubclass(plugin, Demosaicer)):
        raise TypeError(f"{name} is no Demosaicer")
    stage = type("Interpolation", (Interpolation,), {"algorithm": plugin, "halo": plugin.halo})
    return _report("demosaicer", Subject(name, plugin, stage, (), FACTS), DEMOSAICER_LAWS)


def _loaded(plugin: Any, *groups: str) -> tuple[str, Any]:
    if isinstance(plugin, str):
        return plugin, registry.load(plugin, *groups)
    return getattr(plugin, "__name__", repr(plugin)), plugin


def _report(kind: str, subject: Subject, laws: Sequence[Law]) -> Report:
    start = time.perf_counter()
    with laws_bits.unchanged():
        checks = tested(laws, subject)
    return Report(subject.name, kind, checks, time.perf_counter() - start)
