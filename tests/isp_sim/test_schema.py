"""The JSON Schema, checked by an independent validator against recipes that are right and wrong."""

from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from isp_sim import recipe as recipes
from isp_sim.render.job import resolved_text
from isp_sim.schema import recipe_schema
from tests.isp_sim.render.photos import RECIPES


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def load(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


# the others are dirlearn's
OWN = [path for path in sorted(RECIPES.glob("*.yaml")) if path.read_text().startswith("# isp-sim")]


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.stem)
def test_shipped_recipes_fit(path: Any, validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(load(path.read_text()))
    validator.validate(load(resolved_text(recipes.read(path))))


RIGHT = [
    "- jpeg",
    "- jpeg: {quality: {randint: [1, 9]}}",
    "- white_balance: {gains: [{normal: [2, 0.1]}, 1, 1]}",
    "- white_balance: {deviate: {gains.0: {factor: {normal: [1, 0.1]}}}}",
    "- jpeg: {severity: 3}",
    "- jpeg: {severity: {randint: [1, 5]}}",
    "- one_of: [[jpeg], {clip: {low: 0.1}}]",
    "- maybe: {p: 0.3, stages: [jpeg]}",
    "- {jpeg: {quality: 3}, id: first}",
]
WRONG = [
    "- jepg",
    "- jpeg: {qualty: 3}",
    "- jpeg: {quality: 101}",
    "- jpeg: {severity: 6}",
    "- srgb_eotf: {severity: 3}",
    "- white_balance: {deviate: {gains.0: 1.1}}",
    "- white_balance: {deviate: {gains.0: {times: 1.1}}}",
    "- mosaic: {cfa: {choice: [RGGB, BGGR]}}",
    "- jpeg: {quality: {randnt: [1, 2]}}",
    "- {jpeg: {}, demosaic: {}}",
]


@pytest.mark.parametrize("step", RIGHT)
def test_what_is_right_fits(step: str, validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(load(f"version: 1\nstages:\n  {step}\n"))


@pytest.mark.parametrize("step", WRONG)
def test_what_is_wrong_does_not(step: str, validator: jsonschema.Draft202012Validator) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(load(f"version: 1\nstages:\n  {step}\n"))
