import json
import os
from pathlib import Path

import pytest

from isp_sim.cameras import profile
from isp_sim.cameras.document import to_yaml
from isp_sim.cameras.loaders import LoaderFault, read

DATA = os.environ.get("ISP_SIM_DATA")


@pytest.fixture
def table(tmp_path):
    def entry(iso, a, b, **more):
        return {"name": f"x iso {iso}", "iso": iso, "a": [a, a / 2, a], "b": [b, b, b], **more}

    entries = [entry(200, 2e-5, 1e-7), entry(100, 1e-5, -1e-8), entry(100, 3e-5, 3e-8), entry(400, 1.0, 0.0, skip=True)]
    models = [{"model": "One", "profiles": entries}, {"model": "Two", "profiles": [entry(100, 1e-4, 0.0)]}]
    path = tmp_path / "noiseprofiles.json"
    path.write_text(json.dumps({"version": 0, "noiseprofiles": [{"maker": "Maker", "models": models}]}))
    return path


def test_a_and_b_are_the_noise_profile(table):
    document = read("darktable", table, "maker one")
    law = profile.parse(to_yaml(document).encode(), "x").noise
    assert law.at(200).gain == pytest.approx((2e-5, 1e-5, 2e-5))
    assert law.at(100).gain[0] == pytest.approx(2e-5)  # the mean of both measurements
    assert law.at(100).read[0] ** 2 == pytest.approx(1.5e-8)  # of which one is negative, taken as 0
    assert "negative" in document["description"]
    assert law.speeds == (100, 200)


def test_which_camera(table):
    with pytest.raises(LoaderFault, match="2 cameras; name one"):
        read("darktable", table)
    with pytest.raises(LoaderFault, match="did you mean 'Maker Two'"):
        read("darktable", table, "Maker Tow")


@pytest.mark.parametrize(
    "text", ["[]", "{}", "nothing", '{"noiseprofiles": [3]}', '{"noiseprofiles": {}}', "[" * 100_000]
)
def test_other_files(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(LoaderFault):
        read("darktable", path, "a")
    with pytest.raises(LoaderFault, match="can't read"):
        read("darktable", tmp_path / "none.json", "a")


@pytest.mark.skipif(not DATA, reason="needs ISP_SIM_DATA, a folder of test data")
def test_the_real_table():
    found = list(Path(str(DATA)).rglob("noiseprofiles.json"))
    if not found:
        pytest.skip("the test data hold no noiseprofiles.json")
    document = read("darktable", found[0], "Nikon D850")
    law = profile.parse(to_yaml(document).encode(), "x").noise
    low, high = law.speeds
    assert low <= 100 < 6400 <= high
    # another party's measurement of the same camera, after demosaicing: a constant share of the noise of the mosaic
    own = profile.load("eld_nikon_d850").noise
    share = [law.at(iso).gain[1] / (own.at(iso).gain[0] / own.dn) for iso in (200.0, 800.0, 3200.0, 6400.0)]
    assert max(share) / min(share) < 1.25
    assert 0.05 < min(share) < 0.15
