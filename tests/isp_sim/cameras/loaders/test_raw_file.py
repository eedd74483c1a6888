import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from isp_sim.cameras import profile
from isp_sim.cameras.document import to_yaml
from isp_sim.cameras.loaders import LoaderFault, read
from isp_sim.formats.dng import DNG
from isp_sim.frame import Capture, Frame
from isp_sim.signal import Signal

DATA = os.environ.get("ISP_SIM_DATA")
BAYER = Signal(layout="mosaic", cfa="GBRG", colour="camera", white_balanced=False, transfer="linear", reference="scene")


def test_a_dng_of_our_own(tmp_path):
    capture = Capture(
        {
            "wb_gains": torch.tensor([[2.0, 1.0, 1.5]]).reshape(1, 3, 1, 1),
            "ccm": torch.eye(3)[None],
            "noise_profile": torch.tensor([[[1e-3, 1e-6]]]),
        }
    )
    writer = DNG(DNG.Params(path=".", black=1024, camera="Own Camera"))
    path = tmp_path / "a.dng"
    path.write_bytes(writer.encode(Frame(torch.rand(1, 1, 32, 32), BAYER, capture)))
    document = read("raw_file", path)
    assert (document["name"], document["cfa"]) == ("Own Camera", "GBRG")
    assert (document["black_level"], document["white_level"]) == ([1024.0], 65535.0)
    assert "noise" not in document  # at no ISO speed that the file names
    found = profile.parse(to_yaml(document).encode(), "x")
    assert found.state.constants.illuminants == (6504,)


def test_noise_and_both_matrices_by_the_tags(tmp_path):
    matrix = [10000, 10000, 0, 1, 0, 1, 0, 1, 9, 10, 0, 1, 0, 1, 0, 1, 8, 10]
    tags = [
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),
        (50708, "s", 0, "Some Phone", True),
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, bytes([2, 1, 1, 0]), True),
        (50714, "H", 1, 64, True),
        (50717, "H", 1, 1023, True),
        (50721, "2i", 9, matrix, True),
        (50722, "2i", 9, matrix, True),
        (50778, "H", 1, 21, True),
        (50779, "H", 1, 17, True),
        (51041, "d", 6, (1e-3, 1e-6, 2e-3, -2e-6, 3e-3, 3e-6), True),
        (34855, "H", 1, 400, True),
    ]
    path = tmp_path / "a.dng"
    tifffile.imwrite(path, np.zeros((16, 16), np.uint16), photometric=32803, metadata=None, extratags=tags)
    found = profile.parse(to_yaml(read("raw_file", path)).encode(), "x")
    assert found.sensor.cfa == "BGGR"
    assert found.state.constants.illuminants == (2856, 6504)
    state = found.noise.at(400)
    assert state.gain == pytest.approx((1e-3, 2e-3, 3e-3))
    assert [value**2 for value in state.read] == pytest.approx([1e-6, 0, 3e-6])


@pytest.mark.parametrize("data", [b"", b"nothing", b"II*\0" + b"\0" * 40])
def test_other_files(tmp_path, data):
    path = tmp_path / "a.dng"
    path.write_bytes(data)
    with pytest.raises(LoaderFault):
        read("raw_file", path)


@pytest.mark.skipif(not DATA, reason="needs ISP_SIM_DATA, a folder of test data")
def test_a_real_dng():
    found = list(Path(str(DATA)).rglob("tinydng_colorchart.dng"))
    if not found:
        pytest.skip("the test data hold no tinydng_colorchart.dng")
    document = read("raw_file", found[0])
    assert document["cfa"] == "RGGB"
    profile.parse(to_yaml(document).encode(), "x")
