import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from isp_sim import recipe
from isp_sim.formats.dng import DNG
from isp_sim.formats.files import Files
from isp_sim.frame import Capture, Frame
from isp_sim.signal import RAW

PLANTED = {
    "white_balance": {"gains": torch.tensor([1.9, 1.0, 1.6]).double()},
    "colour_matrix": {"matrix": torch.tensor([[1.5, -0.4, -0.1], [-0.2, 1.4, -0.2], [0.05, -0.5, 1.45]]).double()},
    "tone_curve": {
        "points": torch.tensor([[0, 0], [0.05, 0.06], [0.15, 0.2], [0.35, 0.45], [0.65, 0.78], [1, 1]]).double()
    },
}


@pytest.fixture(scope="module")
def example() -> ModuleType:
    path = Path(__file__).parents[2] / "examples" / "fit_develop.py"
    spec = importlib.util.spec_from_file_location("fit_develop", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fit_develop"] = module
    spec.loader.exec_module(module)
    return module


def scene(size: tuple[int, int] = (24, 32)) -> Frame:
    """A RAW picture of many colours, smooth, with noise; dark enough that not much is clipped."""
    rng = np.random.default_rng(4)
    coarse = torch.from_numpy(rng.uniform(0.01, 0.45, (1, 1, size[0] // 4, size[1] // 4)))
    light = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(0.005, 0.6)
    black, white = torch.full((1, 1, 2, 2), 64.0).double(), torch.full((1, 1, 2, 2), 1023.0).double()
    pixels = torch.round(64 + 959 * (light + torch.from_numpy(rng.normal(0, 0.002, light.shape))))
    capture = Capture({"black_level": black, "white_level": white})
    return Frame(pixels, replace(RAW, layout="mosaic", cfa="RGGB", bit_depth=10), capture, ("a.dng",))


def test_the_parameters_planted_are_recovered(example: ModuleType) -> None:
    raw = scene()
    target = example.pipeline().run(raw, values=PLANTED).frame.pixels
    found, loss = example.fit(raw, target)
    assert loss < 1e-9
    with torch.no_grad():
        recovered = found.values()
    for step, name, tolerance in (
        ("white_balance", "gains", 2e-3),
        ("colour_matrix", "matrix", 5e-3),
        ("tone_curve", "points", 1e-3),
    ):
        assert (recovered[step][name] - PLANTED[step][name]).abs().max() < tolerance, name


def test_from_files_to_a_recipe_that_makes_the_picture(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = scene()
    made = example.pipeline().run(raw, values=PLANTED).frame
    (tmp_path / "a.dng").write_bytes(DNG(DNG.Params()).encode(raw))
    (tmp_path / "a.png").write_bytes(Files(Files.Params(bits=16)).encode(made))
    monkeypatch.setattr(sys, "argv", ["fit_develop", str(tmp_path / "a.dng"), str(tmp_path / "a.png")])
    example.main()
    steps, _, psnr = capsys.readouterr().out.partition("#")
    assert float(psnr.split()[1]) > 70
    text = f"version: 1\ninput: {{reader: raw}}\nstages:\n  - normalise\n{steps}  - srgb_oetf\n"
    with_demosaic = text.replace("  - colour", "  - clip\n  - demosaic: {method: bilinear}\n  - colour").replace(
        "  - tone", "  - clip\n  - tone"
    )
    again = recipe.parse(with_demosaic).pipeline.run(raw).frame.pixels
    assert (again - made.pixels).abs().max() < 2e-3


def test_pictures_of_another_size_are_refused(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = example.pipeline().run(scene(), values=PLANTED).frame
    (tmp_path / "a.dng").write_bytes(DNG(DNG.Params()).encode(scene()))
    (tmp_path / "a.png").write_bytes(Files(Files.Params()).encode(made.crop(0, 0, 10, 10)))
    monkeypatch.setattr(sys, "argv", ["fit_develop", str(tmp_path / "a.dng"), str(tmp_path / "a.png")])
    with pytest.raises(SystemExit, match="shows 24x32 pixels, the picture 10x10"):
        example.main()
