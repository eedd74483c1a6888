import io
import json
import pickle

import numpy as np
import pytest

from isp_sim.cameras import profile
from isp_sim.cameras.document import to_yaml
from isp_sim.cameras.loaders import LoaderFault, read
from isp_sim.cameras.loaders.eld import dictionary

LINE = {"slope": 0.5, "bias": 0.25, "sigma": 0.125}
PARAMETERS = {
    "Kmin": 0.1,
    "Kmax": 6.4,
    "G_shape": [0.1, 0.2, 0.0, 0.0, -0.1, -0.1],
    "color_bias": [[1.0, 2.0, 3.0, 4.0]] * 6,
    "Profile-1": {"G_scale": LINE, "g_scale": LINE, "R_scale": LINE},
}


def npy(value, **options):
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True, **options)
    return buffer.getvalue()


@pytest.fixture
def arrays():
    return {
        **PARAMETERS,
        "Kmin": np.float64(0.1),
        "G_shape": np.array(PARAMETERS["G_shape"]),
        "color_bias": [np.array(row, dtype=np.float32) for row in PARAMETERS["color_bias"]],
    }


def test_a_dictionary_in_npy_is_what_numpy_makes_of_it(tmp_path, arrays):
    path = tmp_path / "CameraX_params.npy"
    path.write_bytes(npy(arrays))
    found = dictionary(path.read_bytes(), path)
    assert found == json.loads(json.dumps(PARAMETERS))
    (tmp_path / "CameraX_params.json").write_text(json.dumps(PARAMETERS))
    from_json, from_npy = read("eld", path.with_suffix(".json")), read("eld", path)
    assert from_json["noise"] == from_npy["noise"]
    assert from_npy["name"] == "CameraX"


def test_older_pickles(tmp_path, arrays):
    """NumPy 1 named its functions otherwise, and older protocols write bytes as text."""
    header = npy(np.zeros((), dtype=object))
    start = header.index(b"\n") + 1
    for protocol in (0, 1, 2, 3, 4, 5):
        data = pickle.dumps(np.array(arrays, dtype=object), protocol=protocol)
        if protocol < 4:  # where names are lines, NumPy 1 is the same but for a letter
            data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
        assert dictionary(header[:start] + data, tmp_path)["Kmax"] == 6.4


def test_the_law(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(PARAMETERS))
    law = profile.parse(to_yaml(read("eld", path, "X")).encode(), "x").noise
    state = law.at(400)
    assert state.gain[0] == pytest.approx(0.4)
    assert state.read[0] == pytest.approx(np.exp(0.25 + 0.5 * np.log(0.4)))
    assert law.at(100).shape == pytest.approx(0.15)
    assert state.offsets == (1, 2, 3, 4)


class Trap:
    def __init__(self, module, name):
        self.target = module, name

    def __reduce__(self):
        import importlib

        return getattr(importlib.import_module(self.target[0]), self.target[1]), ("echo",)


@pytest.mark.parametrize(
    "target", [("os", "system"), ("builtins", "eval"), ("subprocess", "call"), ("builtins", "print")]
)
def test_nothing_is_executed(tmp_path, target, capfd):
    with pytest.raises(LoaderFault, match="names"):
        dictionary(npy({"Kmin": Trap(*target)}), tmp_path)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    "data", [b"", b"\x93NUMPY", npy(np.zeros(3)), npy("text"), npy({"a": {1, 2}}), npy({"a": np.array(["x"])})]
)
def test_other_files(tmp_path, data):
    with pytest.raises(LoaderFault):
        dictionary(data, tmp_path)


@pytest.mark.parametrize("change", [{"Kmin": -1}, {"Kmin": "a"}, {"G_shape": 3}, {"color_bias": []}, {"Profile-1": {}}])
def test_mistakes(tmp_path, change):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(PARAMETERS | change))
    with pytest.raises(LoaderFault):
        read("eld", path)
