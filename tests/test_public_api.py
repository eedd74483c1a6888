"""What others build on neither vanishes nor appears unnoticed."""

from importlib import import_module
from inspect import isclass, isfunction

from tests import public_api

WRITE = "python tests/public_api.py --write"


def test_no_public_name_vanishes() -> None:
    now = set(public_api.names())
    gone = [name for name in public_api.listed() if name not in now]
    assert gone == [], (
        "others may use these: keep the old name beside the new one for a release, with a DeprecationWarning, or say "
        f"in CHANGELOG.md what takes its place; then {WRITE}"
    )


def test_no_name_becomes_public_unnoticed() -> None:
    known = set(public_api.listed())
    new = [name for name in public_api.names() if name not in known]
    assert new == [], f"if these are to be kept for good, {WRITE}; otherwise begin the name with an underscore"


def test_the_list_is_as_it_is_written() -> None:
    assert public_api.listed() == public_api.names(), f"sorted, each name once: {WRITE}"


def test_public_names_are_explained() -> None:
    """A class or function that is public says what it does."""
    silent = []
    for module, name in (line.split(" ")[1:] for line in public_api.listed() if line.startswith("module ")):
        found = getattr(import_module(module), name)
        if (isclass(found) or isfunction(found)) and not found.__doc__:
            silent.append(f"{module}.{name}")
    assert silent == []
