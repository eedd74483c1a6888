import os
from pathlib import Path

import pytest

from isp_sim.render import manifest
from isp_sim.render.atomic import PART
from isp_sim.render.job import render
from isp_sim.render.verify import verify
from isp_sim.render.worker import RenderFault
from tests.isp_sim.render.photos import tree
from tests.isp_sim.render.sets import random_pictures, recipe


def content(folder: Path) -> dict[str, bytes]:
    return {path: data for path, data in tree(folder).items() if path != manifest.RUN}


@pytest.fixture(scope="module")
def ray():
    """Ray on this machine, with no more processes than the test needs."""
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray = pytest.importorskip("ray")
    try:
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20)
    except Exception as error:  # noqa: BLE001 - a sandbox without shared memory or sockets, for instance
        pytest.skip(f"Ray does not start here: {error}")
    yield ray
    ray.shutdown()


def test_the_bytes_are_those_of_one_process(ray: object, tmp_path: Path) -> None:
    pictures = random_pictures(tmp_path / "in", 5)
    (pictures / "0003.png").write_bytes(b"no picture")
    for writer in ("files", "shards, samples: 2"):
        place = tmp_path / writer[:5]
        render(recipe(pictures, place / "one", writer=writer))
        summary = render(recipe(pictures, place / "ray", writer=writer), engine="ray", workers=2)
        assert (summary.rendered, len(summary.failed)) == (4, 1)
        assert content(place / "ray") == content(place / "one")


def test_what_a_lost_machine_left_is_removed(ray: object, tmp_path: Path) -> None:
    pictures = random_pictures(tmp_path / "in", 2)

    def progress(done: int, total: int) -> None:
        (tmp_path / "out" / f".0001.png.0a1b2c{PART}").touch()

    render(recipe(pictures, tmp_path / "out"), engine="ray", progress=progress)
    assert verify(tmp_path / "out").faults == ()


def test_a_fault_of_a_worker_is_that_of_the_run(ray: object, tmp_path: Path) -> None:
    from isp_sim.render.worker import Settings

    pictures = random_pictures(tmp_path / "in", 1)
    (pictures / "0000.png").write_bytes(b"no picture")
    with pytest.raises(RenderFault, match=r"0000\.png"):
        render(recipe(pictures, tmp_path / "out"), engine="ray", settings=Settings(strict=True))


def test_without_ray_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RenderFault, match=r"pip install 'isp-sim\[ray\]'"):
        render(recipe(random_pictures(tmp_path / "in", 1), tmp_path / "out"), engine="ray")
