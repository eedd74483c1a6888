"""A camera profile as YAML text."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from isp_sim.cameras import profile


def to_yaml(document: Mapping[str, Any], name: str = "profile") -> str:
    """A profile's document as YAML, checked: the file can be read again.

    Raises
    ------
    ProfileFault
        If it is no valid profile.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # lists of plain values on one line
    yaml.width = 118
    yaml.sort_base_mapping_type_on_output = False
    buffer = io.StringIO()
    yaml.dump(_plain(document), buffer)
    text = buffer.getvalue()
    profile.parse(text.encode(), name)
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
