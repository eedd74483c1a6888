"""JSON Schema of recipes, for editors that complete and check YAML."""

from __future__ import annotations

from typing import Any

from isp_sim import deviation, registry, severity
from isp_sim.combinators import Combinator
from isp_sim.distributions import LAW_NAMES
from isp_sim.parameters import StageParams, Static, is_marked
from isp_sim.recipe import VERSION
from isp_sim.stage import SEVERITIES

LAW = {"$ref": "#/$defs/distribution"}


def recipe_schema() -> dict[str, Any]:
    """The schema of everything that the installed plugins accept (JSON Schema 2020-12).

    It is looser than `isp-sim validate`: it knows names, types and bounds, but not the order of stages.
    """
    definitions: dict[str, Any] = {
        "distribution": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
            "properties": {name: {} for name in LAW_NAMES},
        },
        "deviations": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
                "properties": {mode: {} for mode in deviation.MODES},
            },
        },
    }
    steps, names = [], []
    for name in registry.names(*registry.STAGE_GROUPS):
        try:
            plugin = registry.load(name, *registry.STAGE_GROUPS)
        except LookupError:
            continue
        names.append(name)
        steps.append(_step(name, plugin))
    definitions["step"] = {"oneOf": [{"enum": names}, *steps]}
    definitions["chain"] = {"oneOf": [{"$ref": "#/$defs/step"}, {"type": "array", "items": {"$ref": "#/$defs/step"}}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "isp-sim recipe",
        "type": "object",
        "additionalProperties": False,
        "required": ["version", "stages"],
        "properties": {
            "version": {"const": VERSION},
            "description": {"type": "string"},
            "seed": {"type": "integer", "minimum": 0},
            "input": _one_of("reader", "isp_sim.readers", "images"),
            "stages": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}},
            "output": _one_of("writer", "isp_sim.writers", "files"),
        },
        "$defs": definitions,
    }


def _step(name: str, plugin: Any) -> dict[str, Any]:
    value: dict[str, Any]
    if issubclass(plugin, Combinator):
        chains = {"type": "array", "items": {"$ref": "#/$defs/chain"}}
        value = parameters(plugin.Params)
        value["properties"][plugin.nested] = chains
        value = {"oneOf": [value, chains]}
    else:
        value = parameters(plugin.Params)
        value["properties"].setdefault(deviation.KEY, {"$ref": "#/$defs/deviations"})
        if getattr(plugin, "severities", None):
            level = {"type": "integer", "minimum": 1, "maximum": SEVERITIES}
            value["properties"].setdefault(severity.KEY, {"anyOf": [level, LAW]})
        value = {"oneOf": [value, {"type": "null"}]}
    summary = (plugin.__doc__ or "").strip().split("\n")[0]
    return {
        "type": "object",
        "required": [name],
        "additionalProperties": False,
        "properties": {name: value | {"description": summary}, "id": {"type": "string"}},
    }


def _one_of(kind: str, group: str, default: str) -> dict[str, Any]:
    choices = []
    for name in registry.names(group):
        try:
            schema = parameters(registry.load(name, group).Params, laws=False)
        except LookupError:
            continue
        schema["properties"][kind] = {"const": name}
        if name != default:
            schema.setdefault("required", []).append(kind)
        choices.append(schema)
    return {"type": "object", "oneOf": choices}


def parameters(model: type[StageParams], *, laws: bool = True) -> dict[str, Any]:
    """The schema of a stage's parameters, with a distribution allowed wherever a recipe allows it."""
    schema = model.model_json_schema()
    properties = {
        name: _with_laws(value) if laws and not is_marked(model.model_fields[name], Static) else value
        for name, value in schema.get("properties", {}).items()
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        **({"required": schema["required"]} if "required" in schema else {}),
    }


def _with_laws(schema: dict[str, Any]) -> dict[str, Any]:
    """A law may stand for a plain value, or for a number inside a list."""
    about: dict[str, Any] = {key: schema[key] for key in ("title", "description", "default") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in about}
    if rest.get("type") == "array":
        if "prefixItems" in rest:
            rest["prefixItems"] = [_with_laws(item) for item in rest["prefixItems"]]
        if isinstance(rest.get("items"), dict):
            rest["items"] = _with_laws(rest["items"])
        return {**about, **rest}
    if "anyOf" in rest:
        return {**about, "anyOf": [_with_laws(option) for option in rest["anyOf"]]}
    return {**about, "anyOf": [rest, LAW]}
