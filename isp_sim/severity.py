"""Severity: 1 to 5 as a short name for parameters of a degradation, by the table that it declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from isp_sim.distributions import Choice, Constant, Lookup, RandInt, is_law, parse_law
from isp_sim.parameters import ParameterFaults
from isp_sim.stage import SEVERITIES, Degradation, Stage

KEY: Final = "severity"
"""Under which a recipe gives it, among a stage's parameters."""


def expanded(stage: type[Stage], node: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's parameters with the severity replaced by what it stands for.

    A drawn severity becomes a choice of the table's first parameter, and the others are looked up by that.

    Raises
    ------
    ParameterFaults
        If the stage has no table, if the severity is none, or if a parameter of the table is given as well.
    """
    rest = {name: value for name, value in node.items() if name != KEY}
    table = stage.severities if issubclass(stage, Degradation) else {}
    if not table:
        raise ParameterFaults([((KEY,), f"{KEY}: the stage has no table of severities; give its parameters")])
    try:
        law = _law(node[KEY])
    except ValueError as error:
        raise ParameterFaults([((KEY,), f"{KEY}: {error}")]) from None
    if twice := [name for name in table if name in rest]:
        raise ParameterFaults(
            [
                ((name,), f"{name}: {KEY} sets it, so leave out one of them; it sets {', '.join(table)}")
                for name in twice
            ]
        )
    if isinstance(law, Constant):
        return rest | {name: values[law.value - 1] for name, values in table.items()}
    first = next(iter(table))
    keys = [table[first][level - 1] for level in law.values]
    laws = {first: Choice(tuple(keys), law.weights).to_recipe()}
    for name in list(table)[1:]:
        pairs = {level: table[name][level - 1] for level in law.values}
        once = tuple(table[first][level - 1] for level in pairs)
        laws[name] = Lookup(first, once, tuple(pairs.values())).to_recipe()
    return rest | laws


def _law(node: Any) -> Constant | Choice:
    """The law of a severity: one, or a choice."""
    law = parse_law(node) if is_law(node) else Constant(node)
    levels = tuple(range(law.low, law.high + 1)) if isinstance(law, RandInt) else law.ends({}) if _listed(law) else ()
    whole = all(isinstance(level, int) and not isinstance(level, bool) for level in levels)
    if not levels or not whole or not all(1 <= level <= SEVERITIES for level in levels):
        raise ValueError(f"it is a whole number from 1 to {SEVERITIES}, or randint or choice of such; found {node!r}")
    if isinstance(law, Constant):
        return law
    return law if isinstance(law, Choice) else Choice(levels)


def _listed(law: Any) -> bool:
    return isinstance(law, Constant | Choice)
