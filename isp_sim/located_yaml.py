"""YAML 1.2 with the line of every value. Plain data only: tags that would make objects are refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

LARGEST: Final = 1 << 18
"""Bytes of YAML that are read at the most."""
DEEPEST: Final = 40
"""Levels of nesting that are read at the most."""
MOST: Final = 100_000
"""Values that are read at the most, repeated aliases counted again."""

PLAIN: Final = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str")}
PLAIN_COLLECTIONS: Final = {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq")}


@dataclass
class Document:
    """A document as plain data, with the place of everything in it.

    Attributes
    ----------
    data
        Mappings, lists and scalars.
    lines
        The line, from 1, of the value (for a mapping's entry: of its key) at each path.
    faults
        (line, message) of everything that is wrong with the YAML itself.
    """

    name: str
    data: Any = None
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)
    faults: list[tuple[int, str]] = field(default_factory=list)

    def line(self, path: tuple[str | int, ...]) -> int:
        """The line of the nearest thing to a path that the document holds."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(path: Path) -> Document:
    """Read a file. A file that can't be read raises OSError; everything else is a fault in the document."""
    return parse(contents(path), str(path))


def contents(path: Path) -> bytes:
    """The bytes of a file, but not many more than are parsed: what lies there may have no end."""
    with path.open("rb") as file:
        return file.read(LARGEST + 1)


def parse(text: str | bytes, name: str = "<text>") -> Document:
    """Read YAML from text. Every fault that is found stands in the document, with its line."""
    document = Document(name)
    if len(text) > LARGEST:
        document.faults.append((1, f"the text holds more than the {LARGEST} bytes that are read"))
        return document
    source = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    for number, content in enumerate(source.splitlines(), 1):
        if content.startswith("%"):  # a directive may change the rules, such as what `no` means
            document.faults.append(
                (number, f"directives are not for recipes, which are YAML 1.2; found {content[:40]}")
            )
            return document
        if not content.startswith("#") and content.strip():
            break
    try:
        root = YAML(typ="safe", pure=True).compose(text.decode("utf-8") if isinstance(text, bytes) else text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.faults.append((mark.line + 1 if mark else 1, f"this is not YAML: {error.problem or error.context}"))
        return document
    except (YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        document.faults.append(
            (1, f"this is not YAML: {str(error).splitlines()[0] if str(error) else 'too deeply nested'}")
        )
        return document
    if root is not None:
        document.data = _Reader(document).value(root, (), 0)
    return document


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.constructor = SafeConstructor(loader=YAML(typ="safe", pure=True))
        self.count = 0

    def fault(self, node: Node, message: str) -> None:
        self.document.faults.append((node.start_mark.line + 1, message))

    def value(self, node: Node, path: tuple[str | int, ...], depth: int) -> Any:
        self.document.lines.setdefault(path, node.start_mark.line + 1)
        self.count += 1
        if depth > DEEPEST or self.count > MOST:
            if self.count <= MOST + 1:
                self.fault(node, f"nested deeper than {DEEPEST} levels, or more than {MOST} values")
                self.count = MOST + 2
            return None
        if isinstance(node, MappingNode | SequenceNode) and str(node.tag) not in PLAIN_COLLECTIONS:
            return self.refused(node)
        if isinstance(node, MappingNode):
            return self.mapping(node, path, depth)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, i), depth + 1) for i, item in enumerate(node.value)]
        return self.scalar(node)

    def mapping(self, node: MappingNode, path: tuple[str | int, ...], depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.fault(key_node, "a key must be a plain word")
                continue
            key = self.scalar(key_node)
            if not isinstance(key, str):
                self.fault(key_node, f"a key must be a word; found {key_node.value}")
                continue
            if key in values:
                first = self.document.lines[(*path, key)]
                self.fault(key_node, f"key {key!r} appears twice; the first is in line {first}")
                continue
            self.document.lines[(*path, key)] = key_node.start_mark.line + 1
            values[key] = self.value(value_node, (*path, key), depth + 1)
        return values

    def scalar(self, node: ScalarNode) -> Any:
        if str(node.tag) not in PLAIN:
            return self.refused(node)
        try:
            value = self.constructor.construct_object(node)
        except (YAMLError, ValueError, LookupError, OverflowError) as error:
            self.fault(node, f"{node.value!r} can't be read: {error}")
            return None
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
            self.fault(node, f"{node.value[:20]}... does not fit in 64 bits")
            return None
        return value

    def refused(self, node: Node) -> None:
        self.fault(node, f"the tag {node.tag} is not for recipes, which hold plain values only")
