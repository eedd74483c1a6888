"""What is written must be true of the code."""

import re
from pathlib import Path

import pytest

from isp_sim import registry
from isp_sim.distributions import LAW_NAMES
from isp_sim.recipe import parse
from isp_sim.signal import Signal

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
KEYS = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "docs" / "BIBLIOGRAPHY.bib").read_text(), re.M))


def own(group: str) -> list[str]:
    return [name for name in registry.names(group) if registry.origin(name, group) == "isp-sim"]


@pytest.mark.parametrize("name", [*own("isp_sim.stages"), *own("isp_sim.degradations"), *own("isp_sim.demosaicers")])
def test_sources_are_in_the_bibliography(name: str) -> None:
    plugin = registry.load(name, *registry.STAGE_GROUPS, "isp_sim.demosaicers")
    source = getattr(plugin, "source", "")
    cited = re.findall(r"\[(\w+)\]", source)
    assert set(cited) <= KEYS
    assert cited or not source, "a source is cited by its key"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_recipes_on_a_page_are_valid(page: Path) -> None:
    for block in re.findall(r"```yaml\n(version: 1.*?)```", page.read_text(), re.S):
        parse(block, page.name)


def test_every_law_and_field_is_explained() -> None:
    recipes, signals = (ROOT / "docs" / "recipes.md").read_text(), (ROOT / "docs" / "signals.md").read_text()
    assert [name for name in LAW_NAMES if f"{{{name}:" not in recipes] == []
    assert [name for name in Signal().to_dict() if f"| `{name}` |" not in signals] == []


def test_every_promise_of_security_has_its_test() -> None:
    promises = re.findall(r"^\| .+ \| `(tests/[\w/.]+)(?:::(\w+))?` \|$", (ROOT / "SECURITY.md").read_text(), re.M)
    assert len(promises) > 10
    assert [(path, name) for path, name in promises if f"def {name}" not in (ROOT / path).read_text()] == []


def test_every_plugin_is_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert [name for group in registry.GROUPS[:3] for name in own(group) if f"`{name}`" not in changelog] == []
