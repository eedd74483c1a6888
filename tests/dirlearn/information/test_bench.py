"""The bench: what it writes, that it repeats, and that it does not keep a command line waiting."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from dirlearn.information import bench
from dirlearn.information.worlds import correlated, correlation, entropy
from isp_sim import registry
from isp_sim.randomness import generator

SHORT = {"steps": 6, "levels": (2.0, 4.0), "dimensions": 3, "batch": 16, "progress": False}


def test_every_estimator_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "SAMPLES", 100)
    outcome = bench.run(tmp_path, critics=["separable"], worlds=["cubic"], **SHORT)
    assert {row.estimator for row in outcome.rows} == set(registry.names("dirlearn.estimators"))
    written = json.loads((tmp_path / "mi_bench.json").read_text())
    assert len(written["rows"]) == len(outcome.rows)
    assert written["settings"]["levels"] == [2.0, 4.0]
    assert written["environment"]["torch"] == torch.__version__
    for row in written["rows"]:
        assert row["mse"] == pytest.approx(row["bias"] ** 2 + row["variance"])
        assert row["bias"] == pytest.approx(row["mean"] - row["truth"])
        assert (row["truth"] == row["information"]) == (row["unit"] == "nats")
    assert (tmp_path / "mi_bench.png").read_bytes().startswith(b"\x89PNG")


def test_it_repeats_and_leaves_the_generators(tmp_path, tools):
    before = tools.global_generators()
    first, again, other = (
        bench.run(tmp_path, estimators=["jsd"], critics=["separable"], worlds=["cubic"], seed=seed, **SHORT)
        for seed in (1, 1, 2)
    )
    key = ("jsd", "separable", "cubic")
    np.testing.assert_array_equal(first.curves[key], again.curves[key])
    assert (first.curves[key] != other.curves[key]).any()
    assert tools.global_generators() == before


def test_it_learns(tmp_path):
    levels = (1.0,)
    outcome = bench.run(
        tmp_path, estimators=["infonce"], critics=["separable"], worlds=["gaussian"], **SHORT | {"steps": 1}
    )
    start = outcome.rows[0].mean
    options = SHORT | {"steps": 250, "levels": levels, "batch": 64, "dimensions": 2}
    outcome = bench.run(tmp_path, estimators=["infonce"], critics=["separable"], worlds=["gaussian"], **options)
    assert start < 0.2 < 0.5 < outcome.rows[0].mean < 1.1


def test_the_truth_in_units_of_jsd(tmp_path):
    options = SHORT | {"dimensions": 20, "steps": 1, "levels": (2.0, 8.0)}
    rows = bench.run(tmp_path, estimators=["jsd"], critics=["separable"], worlds=["gaussian"], **options).rows
    assert [row.truth for row in rows] == pytest.approx([-0.684, -0.067], abs=4e-3)


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown world 'cubical'"):
        bench.run(tmp_path, worlds=["cubical"], **SHORT)
    with pytest.raises(ValueError, match="critic 'local' is for maps"):
        bench.run(tmp_path, critics=["local"], **SHORT)
    with pytest.raises(registry.UnknownPlugin, match="did you mean 'infonce'"):
        bench.run(tmp_path, estimators=["infonse"], **SHORT)


def test_help_does_not_wait_for_torch():
    code = "import sys, dirlearn.information.bench; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_command(tmp_path):
    import typer
    from typer.testing import CliRunner

    app = typer.Typer()
    app.command()(bench.mi_bench)
    arguments = ["-o", str(tmp_path), "--estimator", "jsd", "--critic", "separable", "--world", "gaussian"]
    result = CliRunner().invoke(app, [*arguments, "--steps", "2", "--batch", "4"])
    assert result.exit_code == 0, result.output
    assert "mi_bench.json" in result.output
    assert (tmp_path / "mi_bench.png").exists()


def test_the_world():
    rho = correlation(3, 4)
    x, y = correlated(generator(0, "", 0, "test", "world"), 100_000, 4, rho)
    assert x.dtype == y.dtype == torch.float32
    found = (x * y).mean(0)
    torch.testing.assert_close(found, torch.full((4,), rho), atol=0.02, rtol=0)
    torch.testing.assert_close(y.var(0), torch.ones(4), atol=0.03, rtol=0)
    _, cubed = correlated(generator(0, "", 0, "test", "world"), 100_000, 4, rho, "cubic")
    torch.testing.assert_close(cubed, y**3, rtol=1e-5, atol=1e-9)


def test_entropy_of_the_cubic_world():
    """-E log p(y^3), with p(y^3) = p(y) / (3 y^2)."""
    y = np.random.default_rng(0).normal(size=400_000)
    terms = 0.5 * y**2 + 0.5 * np.log(2 * np.pi) + np.log(3 * y**2)
    assert entropy(3, "cubic") == pytest.approx(3 * terms.mean(), abs=4 * 3 * terms.std() / np.sqrt(y.size))
