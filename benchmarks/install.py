"""What someone gets who installs the wheel: in a clean environment of every Python that is found here.

python benchmarks/install.py [--json FILE] [--python PATH ...] [--no-render] [--audit]

Builds the wheel once. For each interpreter: makes an environment, installs the wheel with what it depends on (a package
index is needed), and then, in a folder without the sources, asks it for its version, lists plugins, validates a recipe,
and renders the sample photos, whose pixels are compared among the interpreters; where they differ, so may versions of
packages, which are named. The PNG files may differ all the same, in how they are compressed. With --audit, what was
installed is looked up among the known vulnerabilities by pip-audit, from an environment of its own. An interpreter that
is not found is a row too.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image
from report import ROOT, Target, arguments, at_least, at_most, publish

VERSIONS = ("3.11", "3.12", "3.13")
"""Those that pyproject.toml names."""
RECIPE = ROOT / "recipes" / "quickstart.yaml"
CONSTRAINTS = ROOT / "constraints.txt"
DECIDING = ("numpy", "imagecodecs")
"""Packages without a pinned version that decide draws and compression."""
LONGEST = 1800
"""Seconds that an installation may take."""


def interpreters() -> dict[str, Path | None]:
    """One interpreter of each version: of the search path, else of pyenv."""
    return {version: next(filter(None, map(_usable, _places(version))), None) for version in VERSIONS}


def _places(version: str) -> list[Path]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    on_path = shutil.which(f"python{version}")
    return [*([Path(on_path)] if on_path else []), *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)]


def _usable(path: Path) -> Path | None:
    """None for one that does not start, such as a shim, or that can make no environment."""
    tried = subprocess.run([path, "-c", "import venv, ensurepip"], capture_output=True, check=False)
    return path if tried.returncode == 0 else None


def run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command away from the sources; what it says is kept."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {k: v for k, v in os.environ.items() if k not in hidden} | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST
    )


def build(folder: Path) -> Path:
    """The wheel of this checkout."""
    done = run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, ROOT], folder)
    if done.returncode:
        raise SystemExit(f"the wheel can't be built:\n{done.stderr}")
    (wheel,) = folder.glob("*.whl")
    return wheel


def tried(python: Path, wheel: Path, folder: Path, render: bool) -> dict[str, Any]:
    """Install and use the wheel; a row of the table. The first step that fails ends it."""
    home = folder / "environment"
    program = home / "bin" / "isp-sim"
    inside = home / "bin" / "python"
    steps: dict[str, list[str | Path]] = {
        "environment": [python, "-m", "venv", home],
        "install": [inside, "-m", "pip", "install", "--quiet", "--constraint", CONSTRAINTS, wheel],
        "requirements": [inside, "-m", "pip", "check"],
        "version": [program, "--version"],
        "list": [program, "list"],
        "validate": [program, "validate", RECIPE],
        "dirlearn": [home / "bin" / "dirlearn", "list"],
    }
    if render:
        steps["render"] = [program, "render", "-r", RECIPE, "-o", folder / "out", "--quiet"]
    row: dict[str, Any] = {"works": False, "failed": None, "message": None}
    for name, command in steps.items():
        began = time.perf_counter()
        done = run(command, folder)
        row[f"{name} [s]"] = time.perf_counter() - began
        if done.returncode:
            return row | {"failed": name, "message": (done.stderr or done.stdout)[-2000:]}
    frozen = run([inside, "-m", "pip", "freeze", "--exclude", "isp-sim"], folder).stdout.splitlines()
    row |= {"works": True, "installed": frozen}
    deciding = {name: next(one[len(name) + 2 :] for one in frozen if one.startswith(f"{name}==")) for name in DECIDING}
    if not render:
        return row | deciding
    return row | {"pixels": pixels(folder / "out"), "PNG files": files(folder / "out")} | deciding


def files(folder: Path) -> str:
    """One hash of all PNG files as they are, with their compression."""
    found = hashlib.sha256()
    for path in sorted(folder.glob("*.png")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:12]


def pixels(folder: Path) -> str:
    """One hash of all pictures. Not of their files, whose compression is that of a library's version."""
    found = hashlib.sha256()
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as picture:
            found.update(f"{path.name} {picture.mode} {picture.size}".encode() + picture.tobytes())
    return found.hexdigest()[:12]


def audited(installed: list[str], folder: Path) -> tuple[int | None, str]:
    """How many known vulnerabilities pip-audit finds, None if it could not look all up, and what it says."""
    home = folder / "audit"
    run([sys.executable, "-m", "venv", home], folder)
    done = run([home / "bin" / "python", "-m", "pip", "install", "--quiet", "pip-audit"], folder)
    if done.returncode:
        return None, f"pip-audit can't be installed: {done.stderr[-500:]}"
    listed = folder / "installed.txt"
    # a local version, such as +cpu, is unknown to the data base
    listed.write_text("".join(re.sub(r"\+\S+", "", line) + "\n" for line in installed))
    done = run([home / "bin" / "pip-audit", "--no-deps", "--disable-pip", "-r", listed], folder)
    said = done.stdout + done.stderr[-2000:]
    if "could not be audited" in said:  # an index without such data calls everything clean
        return None, said
    found = re.search(r"Found (\d+) known", done.stderr)
    clean = "No known vulnerabilities" in done.stderr
    return (int(found[1]) if found else 0 if clean else None), said


def main() -> int:
    parser = arguments(__doc__ or "", data=False)
    parser.add_argument("--python", type=Path, action="append", help="only this interpreter; may be given again")
    parser.add_argument("--no-render", action="store_true", help="stop after the recipe is valid")
    parser.add_argument("--audit", action="store_true", help="look for known vulnerabilities")
    parser.add_argument("--folder", type=Path, help="where to work; else a temporary folder")
    options = parser.parse_args()
    found = {str(p): p for p in options.python} if options.python else interpreters()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="install-", dir=options.folder) as name:
        folder = Path(name).resolve()
        (folder / "wheel").mkdir()
        wheel = build(folder / "wheel")
        for version, python in found.items():
            if python is None:
                rows.append({"python": version, "works": None, "message": "not found, so not tried"})
                continue
            place = folder / version.replace("/", "_")
            place.mkdir()
            rows.append({"python": version, **tried(python, wheel, place, not options.no_render)})
            shutil.rmtree(place)  # an environment takes 1 GB
        installed = next((row["installed"] for row in rows if "installed" in row), None)
        vulnerable, said = audited(installed, folder) if options.audit and installed else (None, "")
    for row in rows:
        if row["message"]:
            sys.stderr.write(f"{row['python']}: {row['message']}\n")
            row["message"] = row["message"].strip().splitlines()[-1]
    if said:
        sys.stderr.write(said + "\n")
    packages = {row["python"]: set(row.pop("installed")) for row in rows if "installed" in row}
    everywhere = set.intersection(*packages.values()) if packages else set()
    for version, own in packages.items():
        sys.stderr.write(f"{version} alone: {', '.join(sorted(own - everywhere)) or 'nothing'}\n")
    done = [row for row in rows if row["works"] is not None]
    targets: list[Target] = [
        at_least("interpreters found", len(done), 1),
        at_most("interpreters under which it fails", sum(not row["works"] for row in done), 0),
    ]
    if rendered := {row["pixels"] for row in done if row.get("pixels")}:
        targets.append(at_most("different pixels of the sample photos", len(rendered), 1))
    if options.audit:
        targets.append(at_most("known vulnerabilities", vulnerable, 0))
    return publish(rows, targets, options.json, "The wheel in clean environments")


if __name__ == "__main__":
    sys.exit(main())
