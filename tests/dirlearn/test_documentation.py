"""What is written must be true of the code."""

import re
from pathlib import Path

import pytest

from dirlearn import recipe
from dirlearn.groups import GROUPS
from isp_sim import registry

ROOT = Path(__file__).parents[2]
KEYS = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "docs" / "BIBLIOGRAPHY.bib").read_text(), re.M))
PARTS = [
    (group, name) for group in GROUPS for name in registry.names(group) if registry.origin(name, group) == "isp-sim"
]


@pytest.mark.parametrize(("group", "name"), PARTS)
def test_sources_are_in_the_bibliography(group: str, name: str) -> None:
    plugin = registry.load(name, group)
    cited = re.findall(r"\[(\w+)\]", plugin.source)
    assert set(cited) <= KEYS
    assert cited or not plugin.source, "a source is cited by its key"
    assert (plugin.__doc__ or "").strip()
    assert all(field.description for field in plugin.Params.model_fields.values())


def test_every_part_is_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert [name for _, name in PARTS if f"`{name}`" not in changelog] == []


def test_the_recipe_on_the_page_is_valid() -> None:
    page = (ROOT / "docs" / "dirlearn.md").read_text()
    (block,) = re.findall(r"```yaml\n(# dirlearn run.*?)```", page, re.S)
    recipe.parse(block, base=ROOT / "recipes")


def test_keys_cited_in_the_code_and_on_the_page_exist() -> None:
    texts = [(ROOT / "docs" / "dirlearn.md").read_text(), *(p.read_text() for p in (ROOT / "dirlearn").rglob("*.py"))]
    cited = {key for text in texts for key in re.findall(r"\[([A-Z][a-z]+\d{4})\]", text)}
    assert cited - KEYS == set()
