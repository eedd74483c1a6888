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

from dirlearn.metrics.confusion import Confusion
from dirlearn.run import Runner
from dirlearn.targets import SemanticMap

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


def in_two(code: str, *arguments: object) -> None:
    """Run code in two processes that know of each other."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    about = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **about, "RANK": str(rank), "LOCAL_RANK": str(rank), "ACCELERATE_USE_CPU": "true"},
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error.decode()


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
    in_two(code, path, methods)
    for name in ("stage1", "methods/aligned"):
        expected, found = (logged(tmp_path / folder / name) for folder in ("one", "two"))
        assert found == [pytest.approx(values, rel=1e-3, abs=1e-5) for values in expected]
    alone, together = final(tmp_path / "one"), final(tmp_path / "two")
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        if "stems" in name and name.endswith("bias"):
            continue  # a normalisation follows, so the gradient is rounding error, of which Adam makes full steps
        torch.testing.assert_close(together[name], value, rtol=1e-3, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


def test_two_processes_train_a_head_as_one_does(tiny, tiny_text: str, tmp_path: Path) -> None:
    """Each has the loss of its own pictures, in which more or fewer pixels count; the mean is that of all."""
    overrides = ("stage2.head={segmentation_light: {classes: 4, width: 4, levels: 1}}", "methods={row: clean}")
    overrides += ("stage2.gamma1=5", "stage2.ema=0", "stage2.clip=0")
    one = tiny(*overrides, folder="one")
    runner = Runner(one)
    runner.prepare()
    runner.method(one.methods[0], None)

    path = tmp_path / "two.yaml"
    path.write_text(tiny_text.replace("RUN", str(tmp_path / "two")))
    code = """
import sys
from dirlearn import recipe
from dirlearn.run import Runner
found = recipe.read(sys.argv[1], sys.argv[2:])
runner = Runner(found)
runner.prepare()
runner.method(found.methods[0], None)
"""
    in_two(code, path, *overrides)
    expected, found = (logged(tmp_path / folder / "methods/row") for folder in ("one", "two"))
    assert expected[-1]["step"] == 4
    assert found == [pytest.approx(values, rel=1e-4, abs=1e-6) for values in expected]
    alone, both = final(tmp_path / "one"), final(tmp_path / "two")
    assert alone.keys() == both.keys()
    assert any("head." in name for name in alone)
    for name, value in alone.items():
        torch.testing.assert_close(both[name], value, rtol=1e-3, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


def test_counts_of_two_processes_are_one_matrix(tmp_path: Path) -> None:
    code = """
import os, sys
import torch
from torch import distributed
from dirlearn.metrics.confusion import Confusion
from dirlearn.targets import SemanticMap
distributed.init_process_group("gloo")
rank = distributed.get_rank()
rng = torch.Generator().manual_seed(0)
maps = torch.randint(0, 4, (5, 2, 8, 9), generator=rng)
metric = Confusion(Confusion.Params(), SemanticMap, "abcd")
for found, known in maps[rank::2]:
    metric.update(SemanticMap(found), SemanticMap(known))
metric.reduce()
torch.save(metric.counts, f"{sys.argv[1]}/{rank}.pt")
distributed.destroy_process_group()
"""
    in_two(code, tmp_path)
    maps = torch.randint(0, 4, (5, 2, 8, 9), generator=torch.Generator().manual_seed(0))
    whole = Confusion(Confusion.Params(), SemanticMap, "abcd")
    for found, known in maps:
        whole.update(SemanticMap(found), SemanticMap(known))
    for rank in range(2):
        assert torch.equal(torch.load(tmp_path / f"{rank}.pt", weights_only=True), whole.counts)
    assert int(whole.counts.sum()) == 5 * 72
