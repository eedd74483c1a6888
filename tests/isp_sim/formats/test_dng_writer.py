"""A simulated RAW written as DNG, opened by LibRaw and by our own reader."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rawpy
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import isp_sim
from isp_sim import recipe as recipes
from isp_sim.formats.dng import DNG
from isp_sim.formats.opcodes import FixVignetteRadial, GainMap, Shading
from isp_sim.formats.raw import Raw
from isp_sim.formats.reader import Item
from isp_sim.frame import Capture, Frame
from isp_sim.render.job import render
from isp_sim.signal import RAW, Signal
from isp_sim.stages.colour_matrix import ccm_from_xyz_to_camera

MATRIX = np.array([[0.6722, -0.0635, -0.0963], [-0.4287, 1.2460, 0.2028], [-0.0908, 0.2162, 0.5668]])
UNIT = Signal(layout="mosaic", cfa="RGGB", colour="camera", white_balanced=False, transfer="linear", reference="scene")


def mosaic(cfa: str = "RGGB", size: tuple[int, int] = (40, 52), **facts: Any) -> Frame:
    capture = {
        "wb_gains": torch.tensor([2.1, 1.0, 1.6]).reshape(1, 3, 1, 1),
        "ccm": torch.from_numpy(ccm_from_xyz_to_camera(MATRIX)).float()[None],
        "noise_profile": torch.tensor([[[2.5e-4, 3.1e-7]]]),
        **facts,
    }
    pixels = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(4)) * 1.1 - 0.05
    return Frame(pixels, Signal(**{**UNIT.to_dict(), "cfa": cfa}), Capture(capture), ("a",))


def written(frame: Frame, path: Path, **params: Any) -> Path:
    path.write_bytes(DNG(DNG.Params(**params)).encode(frame))
    return path


@pytest.mark.parametrize("cfa", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_libraw_reads_equal_samples_and_metadata(cfa: str, tmp_path: Path) -> None:
    frame = mosaic(cfa)
    expected = np.floor(frame.pixels[0, 0].double().numpy() * (65535 - 1024) + 1024 + 0.5).clip(0, 65535)
    with rawpy.imread(str(written(frame, tmp_path / "a.dng"))) as raw:
        np.testing.assert_array_equal(raw.raw_image_visible, expected)
        assert "".join("RGBG"[i] for i in raw.raw_colors_visible[:2, :2].flat) == cfa
        assert raw.black_level_per_channel == [1024] * 4
        assert raw.white_level == 65535
        gains = np.array(raw.camera_whitebalance[:3])
        np.testing.assert_allclose(gains / gains.min(), [2.1, 1.0, 1.6], rtol=2e-6)


def test_our_reader_gives_the_frame_back(tmp_path: Path) -> None:
    frame = mosaic()
    path = written(frame, tmp_path / "a.dng")
    again = Raw(Raw.Params()).read(Item("a.dng", str(path)))
    assert again.notes == ()
    assert again.frame.signal.cfa == "RGGB"
    torch.testing.assert_close(again.frame.capture["wb_gains"], frame.capture["wb_gains"], rtol=2e-6, atol=0)
    torch.testing.assert_close(again.frame.capture["ccm"], frame.capture["ccm"], rtol=1e-4, atol=1e-5)
    normalised = isp_sim.load(Path(__file__).parents[3] / "recipes" / "develop_raw.yaml").recipe.pipeline.steps[0]
    from isp_sim.pipeline import Pipeline

    back = Pipeline((normalised,)).run(again.frame).frame.pixels
    in_range = frame.pixels.clamp(-1024 / 64511, 1)
    torch.testing.assert_close(back, in_range, rtol=0, atol=0.51 / 64511)


def test_noise_profile_stands_in_the_file(tmp_path: Path) -> None:
    with tifffile.TiffFile(written(mosaic(), tmp_path / "a.dng")) as file:
        found = file.pages.first.tags["NoiseProfile"].value
    np.testing.assert_allclose(found, [2.5e-4, 3.1e-7], rtol=1e-6)


def test_digital_numbers_keep_their_own_levels(tmp_path: Path) -> None:
    levels = torch.tensor([[500.0, 510.0], [520.0, 530.0]]).reshape(1, 1, 2, 2)
    frame = mosaic(black_level=levels, white_level=torch.full((1, 1, 2, 2), 16000.0))
    numbers = torch.randint(0, 16001, frame.pixels.shape, generator=torch.Generator().manual_seed(1)).float()
    frame = Frame(numbers, Signal(**{**RAW.to_dict(), "cfa": "RGGB", "bit_depth": 14}), frame.capture, ("a",))
    path = written(frame, tmp_path / "a.dng")
    again = Raw(Raw.Params()).read(Item("a.dng", str(path))).frame
    assert torch.equal(again.pixels, numbers)
    assert torch.equal(again.capture["black_level"], levels)
    assert float(again.capture["white_level"].max()) == 16000


def shaded(size: tuple[int, int] = (40, 52)) -> Frame:
    """A mosaic whose capture knows a gain map for each site and a radial correction."""
    rng = np.random.default_rng(0)
    maps = [
        GainMap((y, x, *size), (0, 1), (2, 2), (0.1, 0.0), (0.3, 0.25), rng.uniform(1, 2, (3, 5, 1)).astype(np.float32))
        for y in (0, 1)
        for x in (0, 1)
    ]
    return mosaic(size=size, **Shading(maps, FixVignetteRadial((0.4, 0.1, 0.0, 0.02, 0.0), (0.45, 0.6))).facts())


def corrected(frame: Frame) -> torch.Tensor:
    """A picture of 1 after both corrections."""
    from isp_sim import registry
    from isp_sim.parameters import Parameters
    from isp_sim.pipeline import Pipeline, StageStep

    stage = registry.load("lens_shading", "isp_sim.stages")
    steps = [
        StageStep(model, "lens_shading", stage(), Parameters.bind(stage.Params, {"model": model}))
        for model in ("radial", "gain_map")
    ]
    white = Frame(torch.ones_like(frame.pixels), UNIT, frame.capture, frame.keys)
    return Pipeline(tuple(steps)).run(white).frame.pixels


@pytest.mark.parametrize("window", [None, (0, 0, 40, 50), (3, 4, 31, 41), (2, 5, 37, 47)], ids=str)
def test_lens_shading_comes_back_from_the_file(window: Any, tmp_path: Path) -> None:
    """Of a window as well, in coordinates of its own. LibRaw passes opcodes over, so samples are not touched."""
    frame = shaded() if window is None else shaded().crop(*window)
    again = Raw(Raw.Params()).read(Item("a.dng", str(written(frame, tmp_path / "a.dng"))))
    assert again.notes == ()
    assert "placement" not in again.frame.capture
    expected = corrected(frame)
    assert expected.max() > 1.5
    torch.testing.assert_close(corrected(again.frame), expected, rtol=2e-6, atol=0)
    if window is None:
        for name in ("gain_map", "gain_map_geometry", "vignette"):
            torch.testing.assert_close(again.frame.capture[name], frame.capture[name], rtol=1e-6, atol=0)


def test_shading_that_was_corrected_is_not_in_the_file(tmp_path: Path) -> None:
    frame = shaded()
    facts = frame.capture.with_facts({"shading_corrected": torch.ones(1, 2, 1, 1)})
    path = written(Frame(frame.pixels, frame.signal, facts, frame.keys), tmp_path / "a.dng")
    with tifffile.TiffFile(path) as file:
        assert not {"OpcodeList2", "OpcodeList3"} & {tag.name for tag in file.pages.first.tags}
    neutral = Raw(Raw.Params()).read(Item("a.dng", str(path))).frame
    assert bool((corrected(neutral) == 1).all())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.integers(22, 50), st.integers(22, 50), st.integers(0, 4000), st.integers(5000, 65535))
def test_any_size_and_levels(tmp_path: Path, height: int, width: int, black: int, white: int) -> None:
    frame = mosaic(size=(height, width))
    path = written(frame, tmp_path / "a.dng", black=black, white=white)
    with rawpy.imread(str(path)) as raw:
        samples = raw.raw_image_visible.astype(np.float64)
    expected = (frame.pixels[0, 0].double().numpy() * (white - black) + black).clip(0, 65535)
    assert np.abs(samples - expected).max() <= 0.5 + 1e-9


def test_what_is_no_linear_mosaic_is_refused() -> None:
    writer = DNG(DNG.Params())
    assert "mosaic" in str(writer.refuses(Signal()))
    assert writer.refuses(UNIT) is None
    assert writer.remarks(UNIT) == []
    assert "balanced" in writer.remarks(Signal(**{**UNIT.to_dict(), "white_balanced": True}))[0]
    with pytest.raises(ValueError, match="below"):
        DNG.Params(black=100, white=100)


def test_a_recipe_from_photo_to_dng_and_back(tmp_path: Path) -> None:
    """Photos as DNG files, developed again by LibRaw, look like the photos."""
    recipe = recipes.parse(
        "version: 1\ninput: {reader: samples, names: [coffee.png]}\n"
        "stages:\n  - unprocess: {develop: [white_balance, colour_matrix, srgb_oetf]}\n  - mosaic\n"
        f"output: {{writer: dng, path: {tmp_path / 'out'}}}\n"
    )
    assert render(recipe).failed == ()
    with rawpy.imread(str(tmp_path / "out" / "coffee.dng")) as raw:
        developed = raw.postprocess(
            use_camera_wb=True, no_auto_bright=True, adjust_maximum_thr=0, gamma=(2.4, 12.92), output_bps=8
        )
    import skimage.data

    photo = skimage.data.coffee()
    error = developed[8:-8, 8:-8].astype(float) - photo[8:-8, 8:-8]
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 27
    assert np.abs(error.mean(axis=(0, 1))).max() < 1  # LibRaw cuts off to 8 bits, which alone costs half a code
