"""Two processes train as one does on the same batches."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from dirlearn.run import Runner

ROOT = Path(__file__).parents[3]


def final(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{path.parent.parent.name}/{name}": value
        for path in sorted(folder.glob("**/final/tensors.safetensors"))
        for name, value in safetensors.torch.load_file(path).items()
    }


def logged(folder: Path) -> list[dict[str, float]]:
    """Losses, terms and norms of gradients, but not speeds."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k != "steps_per_second"} for line in lines]


def test_two_processes_are_as_one(tiny, tiny_text: str, tmp_path: Path) -> None:
    """Stage I, whose negatives and prior look at the whole batch, and a refinement."""
    methods = "methods={aligned: refine}"
    one = tiny(methods, folder="one")
    runner = Runner(one)
    runner.prepare()
    runner.method(one.methods[0], runner.stage1())

    path = tmp_path / "two.yaml"
    path.write_text(tiny_text.replace("RUN", str(tmp_path / "two")))
    code = """
import sys
from dirlearn import recipe
from dirlearn.run import Runner
found = recipe.read(sys.argv[1], [sys.argv[2]])
runner = Runner(found)
runner.prepare()
runner.method(found.methods[0], runner.stage1())
"""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    about = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), methods],
            cwd=ROOT,
            env={**os.environ, **about, "RANK": str(rank), "LOCAL_RANK": str(rank), "ACCELERATE_USE_CPU": "true"},
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error.decode()
    for name in ("stage1", "methods/aligned"):
        expected, found = (logged(tmp_path / folder / name) for folder in ("one", "two"))
        assert found == [pytest.approx(values, rel=1e-3, abs=1e-5) for values in expected]
    alone, together = final(tmp_path / "one"), final(tmp_path / "two")
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        if "stems" in name and name.endswith("bias"):
            continue  # a normalisation follows, so the gradient is rounding error, of which Adam makes full steps
        torch.testing.assert_close(together[name], value, rtol=1e-3, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")
