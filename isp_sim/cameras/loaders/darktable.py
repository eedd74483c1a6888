"""darktable's ``noiseprofiles.json``: variance a x + b of each colour, by camera and ISO speed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isp_sim.cameras.loaders.table import LoaderFault, chosen, json_object, number, numbers


def read(path: Path, camera: str | None = None) -> dict[str, Any]:
    """The profile of one camera, named as ``Maker Model``.

    a is taken as S and b as O of DNG's NoiseProfile. Where the fit has made a variance negative, it is taken as 0.
    Several measurements at one speed are averaged.

    darktable measures after its own demosaicing and for its own denoising. Of cameras that ELD has calibrated on the
    mosaic, its a is between an eighth and a half of their shot noise in red and blue, and about a tenth in green: right
    for how that camera's noise depends on the speed, too small for the mosaic.

    Raises
    ------
    LoaderFault
        If the file is none of darktable's, or if it does not hold the camera.
    """
    cameras: dict[str, Any] = {}
    for maker in _list(json_object(path), "noiseprofiles", path):
        for model in _list(maker, "models", path):
            cameras[f"{maker.get('maker')} {model.get('model')}"] = model
    name, model = chosen(cameras, camera, path)
    by_speed: dict[float, list[tuple[list[float], list[float]]]] = {}
    negative = 0
    for entry in _list(model, "profiles", path):
        if entry.get("skip"):
            continue
        iso = number(entry.get("iso"), "iso", path)
        shot, dark = (numbers(entry.get(key), f"{name}, {key}", path, 3) for key in ("a", "b"))
        if min(shot) <= 0:
            continue  # a fit without shot noise is a failed one
        negative += sum(b < 0 for b in dark)
        by_speed.setdefault(iso, []).append((shot, [max(b, 0.0) for b in dark]))
    if not by_speed:
        raise LoaderFault(f"{path} holds no usable measurement of {name}")
    points = [
        {"iso": iso, "shot": _mean([shot for shot, _ in found]), "read": _mean([dark for _, dark in found])}
        for iso, found in sorted(by_speed.items())
    ]
    note = f" {negative} negative variances in the dark were taken as 0." if negative else ""
    return {
        "name": name,
        "description": f"Noise of {name} at {len(points)} ISO speeds: variance S x + O of R, G and B, as darktable "
        f"measures it after demosaicing; on the mosaic there is more.{note}",
        "source": "darktable noiseprofiles.json",
        "licence": "As darktable's file, which comes with a program under GPL-3.0; not for redistribution here.",
        "noise": {"law": "noise_profile", "points": points},
    }


def _list(data: Any, key: str, path: Path) -> list[dict[str, Any]]:
    found = data.get(key) if isinstance(data, dict) else None
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise LoaderFault(f"{path} is no noiseprofiles.json of darktable: it has no list {key!r} where one is due")
    return found


def _mean(rows: list[list[float]]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]
