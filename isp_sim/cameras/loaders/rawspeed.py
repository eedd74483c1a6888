"""rawspeed's ``cameras.xml``: CFA, levels and the colour matrix of a camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from isp_sim.cameras.loaders.table import LoaderFault, chosen, contents
from isp_sim.signal import cfa_name

LETTERS = {"RED": "R", "GREEN": "G", "BLUE": "B"}
D65 = 6504.0


def read(path: Path, camera: str | None = None) -> dict[str, Any]:
    """The profile of one camera, named as ``Make Model``; its first mode, with its first levels.

    The CFA is that of the sensor's full area, as the file has it.

    Raises
    ------
    LoaderFault
        If the file is not rawspeed's, or if it does not hold the camera with a CFA of red, green and blue.
    """
    root = safe_xml(contents(path), path)
    cameras: dict[str, Element] = {}
    for element in root.iter("Camera"):
        name = f"{element.get('make')} {element.get('model')}"
        cameras.setdefault(name, element)
    if not cameras:
        raise LoaderFault(f"{path} holds no Camera")
    name, element = chosen(cameras, camera, path)
    document: dict[str, Any] = {
        "name": name,
        "description": f"Sensor of {name}: CFA, levels and colour matrix, as far as they are known.",
        "source": "rawspeed cameras.xml",
        "licence": "CC-BY-SA 3.0, as the file says.",
    }
    if (cfa := _cfa(element, path)) is not None:
        document["cfa"] = cfa
    sensor = element.find("Sensor")
    if sensor is not None:
        black, white = (_whole(sensor.get(key), key, path) for key in ("black", "white"))
        document |= {"black_level": [float(black)], "white_level": float(white)}
    matrix = element.find("ColorMatrices/ColorMatrix")
    if matrix is not None:
        rows = [[int(part) / 10000 for part in (row.text or "").split()] for row in matrix.findall("ColorMatrixRow")]
        if len(rows) != 3 or any(len(row) != 3 for row in rows):
            raise LoaderFault(f"{path}: the matrix of {name} is not one of three colours")
        document |= {"xyz_to_camera": [rows], "illuminants": [D65], "temperature": D65}
    elif "cfa" not in document:
        raise LoaderFault(f"{path}: nothing that a profile could hold is known of {name}")
    return document


def _cfa(element: Element, path: Path) -> str | None:
    if (rows := element.findall("CFA2/ColorRow")) and all(set(row.text or "") <= set("RGB") for row in rows):
        return cfa_name(tuple(row.text or "" for row in rows))
    sites = element.findall("CFA/Color") or element.findall("CFA2/Color")
    if not sites:
        return None
    placed: dict[tuple[int, int], str] = {}
    for site in sites:
        if (letter := LETTERS.get((site.text or "").strip())) is None:
            return None
        placed[_whole(site.get("y"), "y", path), _whole(site.get("x"), "x", path)] = letter
    height, width = (max(place[axis] for place in placed) + 1 for axis in (0, 1))
    if height * width != len(placed):
        raise LoaderFault(f"{path}: a CFA of {height}x{width} sites has {len(placed)} colours")
    return cfa_name(tuple("".join(placed[y, x] for x in range(width)) for y in range(height)))


def _whole(text: str | None, what: str, path: Path) -> int:
    try:
        value = int(text or "")
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 24:
        raise LoaderFault(f"{path}: {what} must be a whole number from 0; found {text!r}")
    return value


def safe_xml(data: bytes, path: Path) -> Element:
    """The root of an XML file. A file that declares entities is refused: they can grow without bound, or name other
    files."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: object) -> NoReturn:
        raise LoaderFault(f"{path} declares XML entities, which no table needs; it is not read")

    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, AssertionError) as error:
        raise LoaderFault(f"{path} is not XML: {error}") from None
