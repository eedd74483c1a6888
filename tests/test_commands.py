"""Commands in the documentation are commands that there are: words, options, values, recipes and targets of make."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer

from tests import public_api

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "plugins").glob("*/README.md")),
]
RECIPES = [*sorted((ROOT / "recipes").glob("*.yaml")), *sorted((ROOT / "plugins").glob("*/recipes/*.yaml"))]
PROGRAM = r"(?:isp-sim|dirlearn)"
UsageError: Any = typer.BadParameter.__base__
"""Of click, which some versions of typer bring along and others depend on."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))


def typed(page: str) -> Iterator[str]:
    """Lines of blocks that a reader would type."""
    for kind, block in FENCE.findall(page):
        if kind in ("console", "sh", "bash"):
            yield from re.findall(r"^\$ (.*)", block, re.M)
        elif not kind:
            yield from re.findall(rf"^{PROGRAM} .*", block, re.M)


def named(page: str) -> list[str]:
    """Commands within a sentence, which may leave out what does not matter there."""
    return [" ".join(c.split()) for c in re.findall(rf"`({PROGRAM} [^`]+)`", FENCE.sub("", page))]


@cache
def commands(program: str) -> dict[tuple[str, ...], Any]:
    return dict(public_api.commands(public_api.COMMANDS[program]))


def fault(line: str, whole: bool) -> str | None:
    """What is wrong with a command; None if nothing is, or if it is of another program."""
    words = list(takewhile(lambda word: word not in (">", "|"), shlex.split(line, comments=True)))
    while words and re.fullmatch(r"\w+=\S*", words[0]):  # variables of the environment
        words.pop(0)
    for program, module in public_api.COMMANDS.items():
        if module in words:  # torchrun ... -m dirlearn.cli
            words = [program, *words[words.index(module) + 1 :]]
    if words[0] == "make":
        return next((f"no target {word!r}" for word in words[1:] if word not in TARGETS and "=" not in word), None)
    if words[0] not in public_api.COMMANDS:
        return None
    known = commands(words[0])
    length = max(n for n in range(len(words)) if tuple(words[1 : n + 1]) in known)
    command = known[tuple(words[1 : length + 1])]
    if hasattr(command, "commands"):
        rest = [word for word in words[length + 1 :] if word not in ("--help", "--version")]
        return f"no command {rest[0]!r}" if rest else None
    if missing := [word for word in words if word.startswith("recipes/") and not (ROOT / word).exists()]:
        return f"no file {missing[0]}"
    try:
        command.make_context(" ".join(words[: length + 1]), words[length + 1 :])
    except UsageError as error:
        incomplete = type(error).__name__ == "MissingParameter"
        return error.format_message() if whole or not incomplete else None
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_commands_on_a_page_can_be_typed(page: Path) -> None:
    text = page.read_text()
    found = [(line, fault(line, whole=True)) for line in typed(text)]
    found += [(line, fault(line, whole=False)) for line in named(text)]
    assert [(line, wrong) for line, wrong in found if wrong] == []


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_first_line_of_a_recipe_runs_it(recipe: Path) -> None:
    first = recipe.read_text().splitlines()[0].removeprefix("# ")
    assert recipe.relative_to(ROOT).as_posix() in first
    assert fault(first, whole=True) is None


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_headings_that_are_linked_exist(page: Path) -> None:
    """Links within a page and to a heading of another; that the pages exist is tested beside the packages."""
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)\s]+)\)", page.read_text()):
        text = FENCE.sub("", (page.parent / target if target else page).read_text())
        assert anchor in {heading(h) for h in re.findall(r"^#+ (.*)", text, re.M)}, f"{target}#{anchor}"


def heading(title: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("isp-sim render --recipe recipes/phone_night.yaml --views two", "'--views'"),
        ("isp-sim render --recipe recipes/gone.yaml", "no file recipes/gone.yaml"),
        ("isp-sim rendre", "no command 'rendre'"),
        ("isp-sim render --recipe recipes/phone_night.yaml --vews 2", "--vews"),
        ("isp-sim render", "recipe"),
        ("DIRLEARN_DATA=data torchrun --nproc-per-node 4 -m dirlearn.cli run r.yaml --resme auto", "--resme"),
        ("make demoo", "no target 'demoo'"),
    ],
)
def test_a_wrong_command_is_found(line: str, wrong: str) -> None:
    assert wrong in (fault(line, whole=True) or "")
