"""How long the command line takes to answer.

python benchmarks/startup.py --json FILE

Medians of several runs, each command in a process of its own, in turn.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from report import ROOT, arguments, at_most, publish

RUNS = 7
COMMANDS = {
    "isp-sim --help": ["isp-sim", "--help"],
    "isp-sim list": ["isp-sim", "list"],
    "import torch": ["python", "-c", "import torch"],
    "isp-sim validate phone_night.yaml": ["isp-sim", "validate", str(ROOT / "recipes" / "phone_night.yaml")],
}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    program = str(Path(sys.executable).with_name(command[0]))
    subprocess.run([program, *command[1:]], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> int:
    options = arguments(__doc__ or "", data=False).parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for run in range(RUNS + 1):
        for name, command in COMMANDS.items():
            took = seconds(command)
            if run:  # the first run fills the caches
                times[name].append(took)
    rows = [{"command": name, "median [s]": statistics.median(t), "slowest [s]": max(t)} for name, t in times.items()]
    median = {name: statistics.median(t) for name, t in times.items()}
    beyond = median["isp-sim validate phone_night.yaml"] - median["import torch"]
    targets = [
        at_most("isp-sim --help [s]", median["isp-sim --help"], 0.7),
        at_most("isp-sim list [s]", median["isp-sim list"], 0.7),
        at_most("validate, beyond import torch [s]", beyond, 0.5),
    ]
    return publish(rows, targets, options.json, f"Start-up, {RUNS} runs")


if __name__ == "__main__":
    sys.exit(main())
