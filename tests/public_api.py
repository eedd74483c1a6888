"""Every public name, as a list to compare with: what others' code, recipes and scripts build on.

python tests/public_api.py           prints the list
python tests/public_api.py --write   writes it to tests/public_api.txt
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

MODULES = ("isp_sim", "isp_sim.testing", "isp_sim.datasets", "dirlearn", "dirlearn.testing")
COMMANDS = {"isp-sim": "isp_sim.cli", "dirlearn": "dirlearn.cli"}
ROOT = Path(__file__).resolve().parent.parent
FILE = Path(__file__).with_suffix(".txt")


def names() -> list[str]:
    """What is public now, one name a line: of modules, of plugins, of commands and their options."""
    return [*sorted(_of_modules()), *sorted(_of_plugins()), *sorted(_of_commands())]


def listed() -> list[str]:
    """What the list says."""
    return [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]


def _of_modules() -> Iterator[str]:
    """A module says by ``__all__`` what is public; one without has nothing."""
    for name in MODULES:
        module = import_module(name)
        for public in getattr(module, "__all__", ()):
            getattr(module, public)  # raises where a name is announced and not there
            yield f"module {name} {public}"


def _of_plugins() -> Iterator[str]:
    """As pyproject.toml registers them, whatever is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for group, plugins in project["entry-points"].items():
        yield from (f"plugin {group} {name}" for name in plugins)


def _of_commands() -> Iterator[str]:
    for program, module in COMMANDS.items():
        for words, command in commands(module):
            line = " ".join(("command", program, *words))
            yield line
            for parameter in command.params:
                yield from (f"{line} {option}" for option in parameter.opts if option.startswith("--"))


def commands(module: str) -> list[tuple[tuple[str, ...], Any]]:
    """The commands of a command line, as the words that call them."""
    import typer

    found: list[tuple[tuple[str, ...], Any]] = []

    def walk(command: Any, words: tuple[str, ...]) -> None:
        found.append((words, command))
        for name, below in getattr(command, "commands", {}).items():
            walk(below, (*words, name))

    walk(typer.main.get_command(import_module(module).app), ())
    return found


def main() -> int:
    text = "# Every public name. Written by: python tests/public_api.py --write\n" + "".join(f"{n}\n" for n in names())
    if "--write" in sys.argv[1:]:
        FILE.write_text(text)
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
