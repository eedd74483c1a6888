"""The noise parameters of ELD (Wei et al.): a dictionary, as JSON or as the .npy that NumPy makes of it."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from isp_sim.cameras.loaders.table import LoaderFault, contents, json_object, number, numbers

SPAN: Final = 15583.0
"""White level less black level of the published parameters, 16383 - 800 DN."""


def read(path: Path, camera: str | None = None) -> dict[str, Any]:
    """The profile of the camera that a file describes; `camera` names it, else the file does.

    The file gives no ISO speeds. Kmax is 64 times Kmin in the published files, so they are taken as ISO 6400 and
    ISO 100. Shapes and colour biases come two for each full stop, and are taken to begin at ISO 100.

    A .npy that holds a dictionary is a pickle, which may run any code when it is loaded. Here it is read by a
    restricted reader that knows arrays of numbers and nothing else, and can call nothing.

    Raises
    ------
    LoaderFault
        If the file is no such dictionary.
    """
    data = json_object(path) if path.suffix.lower() == ".json" else dictionary(contents(path), path)
    name = camera or path.stem.removesuffix("_params")
    low, high = (number(data.get(key), key, path) for key in ("Kmin", "Kmax"))
    if not 0 < low < high:
        raise LoaderFault(f"{path}: Kmin must be positive and less than Kmax; found {low:g} and {high:g}")
    shapes = numbers(data.get("G_shape"), "G_shape", path)
    speeds = [100.0 * 2 ** (i // 2) for i in range(len(shapes))]
    bias = data.get("color_bias")
    if not isinstance(bias, list) or len(bias) != len(shapes):
        raise LoaderFault(f"{path}: color_bias must be a list of as many rows as G_shape has numbers, {len(shapes)}")
    lines = data.get("Profile-1")
    if not isinstance(lines, dict):
        raise LoaderFault(f"{path} is no parameter file of ELD: it has no 'Profile-1'")
    return {
        "name": name,
        "description": f"Noise of {name}: the complete physics-based model, log-linear in the gain.",
        "source": f"ELD, camera parameters ({path.name}), Profile-1; Wei et al. 2020, 2021.",
        "licence": "MIT, as published by the ELD authors; check the file's own.",
        "noise": {
            "law": "log_linear",
            "log_base": "e",
            "span": SPAN,
            "iso": [100.0, max(100.0 * high / low, speeds[-1])],
            "gain_at_iso_100": low,
            "read": _line(lines, "G_scale", path),
            "gaussian_read": _line(lines, "g_scale", path),
            "row": _line(lines, "R_scale", path),
            "shape": {"iso": speeds, "value": shapes},
            "colour_bias": {"iso": speeds, "value": [numbers(row, "color_bias", path, 4) for row in bias]},
        },
    }


def _line(lines: dict[str, Any], key: str, path: Path) -> dict[str, float]:
    line = lines.get(key)
    if not isinstance(line, dict):
        raise LoaderFault(f"{path}: Profile-1 has no {key!r}")
    slope, intercept, sd = (number(line.get(part), f"{key}.{part}", path) for part in ("slope", "bias", "sigma"))
    return {"slope": slope, "intercept": intercept, "sd": sd}


# -- .npy ------------------------------------------------------------------------------------------------------


def dictionary(data: bytes, path: Path) -> dict[str, Any]:
    """The dictionary in a .npy file, arrays as lists, without running anything that the file names.

    Raises
    ------
    LoaderFault
        If it holds anything but numbers, text, lists, dictionaries and arrays of numbers.
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
        if shape != () or not dtype.hasobject:
            raise LoaderFault(f"{path} holds an array and no dictionary of parameters")
        found = _plain(_Restricted(file).load())
    except LoaderFault:
        raise
    except Exception as error:  # noqa: BLE001  a malformed pickle may raise anything
        raise LoaderFault(f"{path} can't be read as a dictionary in a .npy: {error}") from None
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, dict):
        raise LoaderFault(f"{path} holds no dictionary")
    return found


class _DType:
    """Stands for numpy.dtype: its code, such as ``f8``."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in ("f4", "f8", "i4", "i8", "O8", "O"):
            raise LoaderFault(f"an array of type {code!r}, where numbers were expected")
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"

    def numbers(self, data: bytes) -> NDArray[Any]:
        return np.frombuffer(data, dtype=np.dtype(self.order + self.code))


class _Array:
    """Stands for numpy.ndarray: takes an array's state and keeps it."""

    def __init__(self, *_: object) -> None:
        self.value: Any = []

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        if isinstance(data, list):
            self.value = data
        else:
            self.value = dtype.numbers(bytes(data)).reshape(shape, order="F" if fortran else "C").tolist()


def _array(*_: object) -> _Array:
    return _Array()


def _from_buffer(data: Any, dtype: _DType, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


def _scalar(dtype: _DType, data: Any) -> Any:
    return dtype.numbers(_encoded(data)).tolist()[0]


def _encoded(text: Any, *_: object) -> bytes:
    return text.encode("latin1") if isinstance(text, str) else bytes(text)


_STAND_INS: Final[dict[tuple[str, str], Any]] = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _encoded,
    **{
        (f"numpy.{core}.multiarray", name): stand_in
        for core in ("core", "_core")
        for name, stand_in in (("_reconstruct", _array), ("scalar", _scalar))
    },
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}
"""All that a pickle may name here, and what stands in its place."""


class _Restricted(pickle.Unpickler):
    """Builds plain values and the stand-ins above; whatever else a pickle names is refused before it is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise LoaderFault(f"names {module}.{name}, which no file of parameters needs; it is not read")
        return _STAND_INS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise LoaderFault("refers to something outside of it")


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return _plain(value.value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise LoaderFault(f"holds a {type(value).__name__}")
