import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import isp_sim
from isp_sim.formats.images import as_frame
from isp_sim.recipe import RecipeError
from tests.isp_sim.render.photos import RECIPES, photo

NIGHT = RECIPES / "phone_night.yaml"


@pytest.fixture(scope="module")
def render() -> isp_sim.Renderer:
    return isp_sim.load(NIGHT)


def test_every_kind_of_picture_comes_back_as_its_kind(render: isp_sim.Renderer) -> None:
    image = photo("astronaut", (31, 45))
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)[None] / 255
    by_pil, by_array, by_tensor = render(image, key="a"), render(array, key="a"), render(tensor, key=["a"])
    assert isinstance(by_pil, Image.Image)
    assert by_array.dtype == np.uint8
    assert by_array.shape == array.shape
    assert by_tensor.shape == tensor.shape
    np.testing.assert_array_equal(np.asarray(by_pil), by_array)
    np.testing.assert_array_equal((by_tensor[0].permute(1, 2, 0) * 255).round().byte().numpy(), by_array)
    assert not np.array_equal(by_array, array)


def test_float64_stays_float64(render: isp_sim.Renderer) -> None:
    assert render(torch.rand(1, 3, 8, 8, dtype=torch.float64), key="a").dtype == torch.float64


def test_a_batch_is_its_pictures_one_by_one(render: isp_sim.Renderer) -> None:
    batch = torch.rand(4, 3, 16, 18, generator=torch.Generator().manual_seed(1))
    keys = ["a", "b", "c", "d"]
    together, values = render(batch, key=keys, view=3, return_params=True)
    for i, key in enumerate(keys):
        alone, drawn = render(batch[i : i + 1], key=key, view=3, return_params=True)
        assert torch.equal(alone[0], together[i])
        assert drawn == values[i]


def test_an_epoch_is_a_view(render: isp_sim.Renderer) -> None:
    image = photo("coffee", (20, 20))
    views = [np.asarray(render(image, key="a", view=v)) for v in (0, 1, 0)]
    assert np.array_equal(views[0], views[2])
    assert not np.array_equal(views[0], views[1])


def test_the_key_is_required_and_matters(render: isp_sim.Renderer) -> None:
    image = photo("coffee", (20, 20))
    with pytest.raises(TypeError, match="key"):
        render(image)  # type: ignore[call-arg]
    assert not np.array_equal(np.asarray(render(image, key="a")), np.asarray(render(image, key="b")))


@pytest.mark.parametrize(
    ("picture", "key", "message"),
    [
        (torch.zeros(3, 8, 8), "a", "must be floating"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "a", "must be floating"),
        (torch.zeros(2, 3, 8, 8), "a", "2 keys"),
        (np.zeros((8, 8), np.uint8), "a", "uint8"),
        (np.zeros((8, 8, 3), np.float32), "a", "uint8"),
        (np.zeros((8, 8, 3), np.uint8), ["a", "b"], "one key"),
        (Image.new("L", (8, 8)), "a", "mode RGB"),
    ],
)
def test_what_does_not_fit_is_refused(render: isp_sim.Renderer, picture: object, key: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render(picture, key=key)  # type: ignore[arg-type]


def test_a_path_is_no_picture(render: isp_sim.Renderer) -> None:
    with pytest.raises(TypeError, match="found str"):
        render("cat.png", key="a")


def test_a_raw_recipe_takes_frames_only() -> None:
    develop = isp_sim.load(RECIPES / "develop_raw.yaml")
    with pytest.raises(ValueError, match="pass a Frame"):
        develop(np.zeros((8, 8, 3), np.uint8), key="a")


def test_a_frame_comes_back_as_a_frame(render: isp_sim.Renderer) -> None:
    array = np.asarray(photo("coffee", (20, 20)))
    frame = render(as_frame(array, "a"), key="a")
    assert frame.signal.bit_depth == 8
    np.testing.assert_array_equal((frame.pixels[0].permute(1, 2, 0) * 255).round().byte(), render(array, key="a"))


class Photos(Dataset[torch.Tensor]):
    def __init__(self, render: isp_sim.Renderer, epoch: int) -> None:
        self.render, self.epoch = render, epoch

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        array = np.asarray(photo("astronaut", (24, 24), 10 * index))
        return torch.from_numpy(self.render(array, key=str(index), view=self.epoch).copy())


def test_data_loader_workers_change_nothing(render: isp_sim.Renderer) -> None:
    epochs = [
        torch.stack(list(DataLoader(Photos(render, 2), batch_size=None, num_workers=workers))) for workers in (0, 1, 2)
    ]
    assert torch.equal(epochs[0], epochs[1])
    assert torch.equal(epochs[0], epochs[2])


def test_a_renderer_can_be_pickled(render: isp_sim.Renderer) -> None:
    image = photo("coffee", (20, 20))
    other = isp_sim.load(NIGHT, seed=99)
    again = pickle.loads(pickle.dumps(other))
    assert again.recipe.seed == 99
    assert again.recipe.hash == other.recipe.hash
    assert np.array_equal(np.asarray(again(image, key="a")), np.asarray(other(image, key="a")))
    assert not np.array_equal(np.asarray(again(image, key="a")), np.asarray(render(image, key="a")))


def test_a_wrong_recipe_is_refused_with_its_faults(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("version: 1\nstages:\n  - jpeg: {quality: 0}\n")
    with pytest.raises(RecipeError, match=r"r\.yaml:3: .*quality"):
        isp_sim.load(path)
    with pytest.raises(RecipeError, match="can't read"):
        isp_sim.load(tmp_path / "missing.yaml")


def test_gradients_reach_the_parameters_that_are_given_as_tensors() -> None:
    render = isp_sim.load(RECIPES / "brooks2019.yaml")
    image = torch.rand(2, 3, 16, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    dimming = torch.tensor([0.7, 0.9], dtype=torch.float64, requires_grad=True)
    values = {"unprocess": {"dimming": dimming}}
    out, drawn = render(image, key=["a", "b"], values=values, return_params=True)
    assert [one["unprocess"]["dimming"] for one in drawn] == [0.7, 0.9]
    out.sum().backward()
    assert (dimming.grad != 0).all()
    with pytest.raises(ValueError, match="no stage has the id 'unproces'"):
        render(image, key=["a", "b"], values={"unproces": {}})
