"""Spectral sensitivities in rawtoaces' JSON, and the colour matrices that follow from them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from isp_sim.cameras.loaders.table import LoaderFault, json_object, numbers

LIGHTS: Final = {"A": 2856.0, "D65": 6504.0}
"""CIE illuminants that matrices are computed for, and their correlated colour temperature [K]."""


def read(path: Path, camera: str | None = None) -> dict[str, Any]:
    """The profile of the camera that a file describes, with matrices under CIE illuminants A and D65.

    Needs colour-science, for illuminants, observer and reflectances: ``pip install 'isp-sim[spectra]'``.

    Raises
    ------
    LoaderFault
        If the file is no table of red, green and blue sensitivities, or if colour-science is not installed.
    """
    data = json_object(path)
    header, spectral = data.get("header"), data.get("spectral_data")
    if not isinstance(header, dict) or not isinstance(spectral, dict):
        raise LoaderFault(f"{path} is no table of rawtoaces: it has no header and spectral_data")
    table = (spectral.get("data") or {}).get("main")
    channels = (spectral.get("index") or {}).get("main")
    if not isinstance(table, dict) or channels != ["R", "G", "B"]:
        raise LoaderFault(f"{path}: spectral_data must be of R, G and B; found {channels!r}")
    try:
        rows = sorted((float(key), numbers(row, f"{key} nm", path, 3)) for key, row in table.items())
    except ValueError as error:
        raise error if isinstance(error, LoaderFault) else LoaderFault(f"{path}: {error}") from None
    if len(rows) < 10:
        raise LoaderFault(f"{path} holds {len(rows)} wavelengths; at least 10 are needed")
    wavelengths = [row[0] for row in rows]
    curves = np.array([row[1] for row in rows])
    name = camera or f"{header.get('manufacturer')} {header.get('model')}"
    return {
        "name": name,
        "description": (
            f"Colour of {name}: matrices for CIE illuminants A and D65, fitted to its spectral sensitivities over the "
            "reflectances of a ColorChecker; white is kept exactly. The light is drawn between the two."
        ),
        "source": (
            f"rawtoaces-data, camera/{path.name}, measured by {header.get('document_creator')}; matrices computed from "
            "it."
        ),
        "licence": str(header.get("license") or "none stated"),
        "illuminants": list(LIGHTS.values()),
        "temperature": {"uniform": list(LIGHTS.values())},
        "xyz_to_camera": [
            [[round(float(value), 5) for value in row] for row in matrix] for matrix in matrices(wavelengths, curves)
        ],
        "sensitivities": {
            "wavelengths": wavelengths,
            **{channel: curves[:, i].tolist() for i, channel in enumerate("rgb")},
        },
    }


def matrices(wavelengths: list[float], curves: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """CIE XYZ to camera RGB under each of the `LIGHTS`, scaled so that white gives a greatest response of 1.

    The least-squares fit over the reflectances of a ColorChecker, among the matrices that give white exactly.

    Parameters
    ----------
    wavelengths
        [nm], rising.
    curves
        (N, 3), relative sensitivities of R, G and B.
    """
    colour = _colour()
    shape = colour.SpectralShape(400, 700, 5)
    grid = shape.wavelengths
    camera = np.stack([np.interp(grid, wavelengths, curve, left=0, right=0) for curve in curves.T], axis=1)
    observer = colour.MSDS_CMFS["CIE 1931 2 Degree Standard Observer"].copy().align(shape).values
    charts = colour.SDS_COLOURCHECKERS["ColorChecker N Ohta"].values()
    reflectances = np.stack([chart.copy().align(shape).values for chart in charts])
    found = []
    for light in LIGHTS:
        illuminant = colour.SDS_ILLUMINANTS[light].copy().align(shape).values
        lit = reflectances * illuminant
        xyz, rgb = lit @ observer, lit @ camera
        white_xyz, white_rgb = illuminant @ observer, illuminant @ camera
        xyz, white_xyz = xyz / white_xyz[1], white_xyz / white_xyz[1]
        rgb, white_rgb = rgb / white_rgb.max(), white_rgb / white_rgb.max()
        found.append(_fit(xyz, rgb, white_xyz, white_rgb))
    return found


def _fit(
    xyz: NDArray[np.float64], rgb: NDArray[np.float64], white_xyz: NDArray[np.float64], white_rgb: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The matrix M with the least |M xyz - rgb| for which M white_xyz = white_rgb."""
    rank_one = np.outer(white_rgb, white_xyz) / (white_xyz @ white_xyz)
    # what is left acts on the plane orthogonal to white_xyz alone
    plane = np.linalg.svd(white_xyz[None])[2][1:]
    rest, *_ = np.linalg.lstsq(xyz @ plane.T, rgb - xyz @ rank_one.T, rcond=None)
    return np.asarray(rank_one + rest.T @ plane)


def _colour() -> Any:
    try:
        with warnings.catch_warnings():  # it speaks of what else could be installed
            warnings.simplefilter("ignore")
            import colour
    except ImportError:
        raise LoaderFault("colour matrices from spectra need colour-science: pip install 'isp-sim[spectra]'") from None
    return colour
