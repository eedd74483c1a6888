"""Held-back scenes, cut and degraded the same way every time, and what is measured on them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dirlearn import latents
from dirlearn.datasets.dataset import Dataset, DatasetFault, Scene
from dirlearn.latents import Latents, Map, Moments, cut_scenes, look, probe, vectors_of
from dirlearn.settings import Probes
from isp_sim.randomness import generator


class Pictures(Dataset):
    """Random pictures."""

    def __init__(self, sizes: list[tuple[int, int]], seed: int = 0) -> None:
        super().__init__(None)
        self.sizes, self.seed = sizes, seed

    def __len__(self) -> int:
        return len(self.sizes)

    def read(self, index: int, epoch: int = 0) -> Scene:
        rng = generator(self.seed, str(index), 0, "test", "picture")
        return Scene(f"{index}.png", rng.integers(0, 256, (*self.sizes[index], 3), dtype=np.uint8))


class Planted:
    """An "encoder" whose latent is the noise's level, or the scene, or nothing."""

    shown = None

    def of_clean(self, clean: Tensor) -> dict[str, Map]:
        return {"r*": self.scene(clean)}

    def scene(self, x: Tensor) -> Map:
        # the sign of differences of means over quarters: no noise of these tests changes the content much
        mean = torch.nn.functional.avg_pool2d(x, 4)
        return Map(8 * (mean - mean.mean(dim=(2, 3), keepdim=True)), torch.full_like(mean, 0.01))

    def __call__(self, x: Tensor) -> dict[str, Map]:
        rough = (x[..., 1:] - x[..., :-1]).abs().mean(dim=(1, 2, 3), keepdim=True).mean(dim=1, keepdim=True)
        told = rough.expand(-1, 4, 4, 4) * torch.tensor([1.0, 2.0, -1.0, 0.5])[None, :, None, None]
        return {"tells": Map(told), "scene": self.scene(x), "nothing": Map(torch.zeros(len(x), 4, 4, 4))}


@pytest.fixture
def looked(tiny) -> Latents:
    views = tiny("views={seed: 2, stages: [{gaussian_noise: {sigma: {uniform: [0.01, 0.1]}}}]}").views
    cuts = cut_scenes({"some": Smooth()}, Probes(patches=3), 16)
    return look(Planted(), cuts, views, 8, 1)


class Smooth(Pictures):
    """Pictures with so little detail that noise can be told from it."""

    def __init__(self) -> None:
        super().__init__([(32, 48)] * 6)

    def read(self, index: int, epoch: int = 0) -> Scene:
        rng = generator(1, str(index), 0, "test", "picture")
        coarse = rng.integers(80, 176, (8, 12, 3), dtype=np.uint8)
        return Scene(f"{index}.png", coarse.repeat(4, axis=0).repeat(4, axis=1))


def test_a_told_parameter_is_found_and_an_untold_one_is_not(looked: Latents) -> None:
    found = probe(looked)
    own = found["latents"]
    target = "gaussian_noise.sigma"
    assert list(own["tells"]["r2"]) == [target]
    assert own["tells"]["r2"][target]["centred"] > 0.95
    assert own["picture"]["r2"][target]["centred"] > 0.95, "what is told stands in the picture"
    assert all(share <= 0.1 for share in own["scene"]["r2"][target].values())
    control = own["r*"]["r2"][target]
    assert all(share <= 0.1 for share in control.values()), "it sees no degradation"
    assert control["centred"] == 0
    assert own["scene"]["retrieval"]["spatial"] == 1.0
    assert own["nothing"]["collapsed"]
    assert not own["scene"]["collapsed"]
    assert own["nothing"]["retrieval"]["spatial"] == pytest.approx(found["chance"], abs=1e-4)
    assert (found["pictures"], found["scenes"], found["copies"], found["apart"]) == (6, 18, 8, "pictures")


def test_the_same_seed_gives_the_same(looked: Latents, tiny) -> None:
    views = tiny("views={seed: 2, stages: [{gaussian_noise: {sigma: {uniform: [0.01, 0.1]}}}]}").views
    again = look(Planted(), cut_scenes({"some": Smooth()}, Probes(patches=3), 16), views, 8, 1)
    assert probe(again) == probe(looked)
    other = look(Planted(), again.scenes, views, 8, 2)
    assert other.drawn[0][0] != again.drawn[0][0]


def test_copies_do_not_depend_on_how_many_there_are(looked: Latents, tiny) -> None:
    views = tiny("views={seed: 2, stages: [{gaussian_noise: {sigma: {uniform: [0.01, 0.1]}}}]}").views
    fewer = look(Planted(), looked.scenes[:2], views, 3, 1)
    assert fewer.drawn == [own[:3] for own in looked.drawn[:2]]
    assert np.array_equal(fewer.vectors["tells"]["pooled"], looked.vectors["tells"]["pooled"][:2, :3])


def test_batches_are_put_together_in_order(looked: Latents, tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents, "TOGETHER", 5)
    views = tiny("views={seed: 2, stages: [{gaussian_noise: {sigma: {uniform: [0.01, 0.1]}}}]}").views
    parted = look(Planted(), looked.scenes, views, 8, 1)
    assert parted.drawn == looked.drawn
    for name, own in looked.vectors.items():
        for features, vectors in own.items():
            assert np.allclose(parted.vectors[name][features], vectors, atol=1e-6)


def test_scenes_do_not_overlap_and_equal_pictures_count_once() -> None:
    data = Pictures([(40, 56), (33, 35), (40, 56)])
    cuts = cut_scenes({"a": data, "b": Pictures([(40, 56)])}, Probes(patches=4), 16)
    assert {cut.picture for cut in cuts} == {"a/0.png", "a/1.png", "a/2.png"}, "b/0.png is a/0.png"
    assert [cut.picture for cut in cuts[:3]] == ["a/0.png", "a/1.png", "a/2.png"], "the first of every picture first"
    for picture, index in (("a/0.png", 0), ("a/1.png", 1)):
        windows = [cut for cut in cuts if cut.picture == picture]
        covered = np.zeros(data.sizes[index], dtype=int)
        for cut in windows:
            x, y = (int(n) for n in cut.name.rpartition(" ")[2].split(","))
            covered[y : y + 16, x : x + 16] += 1
            pixels = data.read(index).pixels[y : y + 16, x : x + 16]
            assert np.array_equal(np.round(cut.pixels.permute(1, 2, 0).numpy() * 255).astype(np.uint8), pixels)
        assert covered.max() == 1
        assert len(windows) == 4
    assert len(cut_scenes({"a": data}, Probes(limit=2), 16)) == 2 * 4 + 2


def test_pictures_that_are_too_small_are_left_out() -> None:
    cuts = cut_scenes({"a": Pictures([(15, 90), (20, 20)])}, Probes(), 16)
    assert {cut.picture for cut in cuts} == {"a/1.png"}
    with pytest.raises(DatasetFault, match="no picture of a has 32x32 pixels"):
        cut_scenes({"a": Pictures([(20, 20)])}, Probes(side=32), 16)


def test_one_picture_alone_is_held_back_by_scenes() -> None:
    rows = [[{"sigma": float(k)} for k in range(3)] for _ in range(4)]
    cuts = cut_scenes({"a": Pictures([(40, 40)])}, Probes(patches=4), 16)
    maps = Map(torch.from_numpy(generator(0, "x", 0, "test", "map").standard_normal((12, 4, 4, 4))).float())
    moments = Moments()
    moments.add(maps)
    vectors = {name: found.reshape(4, 3, -1) for name, found in vectors_of(maps.mean).items()}
    found = probe(Latents(tuple(cuts), 3, {"r0": vectors}, {"r0": moments}, rows))
    assert found["apart"] == "scenes"
    alone = Latents(tuple(cuts[:1]), 3, {"r0": {n: v[:1] for n, v in vectors.items()}}, {"r0": moments}, rows[:1])
    assert "r2" not in probe(alone)["latents"]["r0"]


def test_vectors_hold_means_deviations_and_places() -> None:
    r = torch.arange(2 * 3 * 20 * 4, dtype=torch.float32).reshape(2, 3, 20, 4)
    found = vectors_of(r)
    assert found["pooled"].shape == (2, 3)
    assert np.allclose(found["statistics"][:, 3:6], r.numpy().std(axis=(2, 3)), rtol=1e-5)
    # 19 x 4 steps of 4 down, 20 x 3 steps of 1 across
    assert np.allclose(found["statistics"][:, 6:], np.sqrt((19 * 4 * 16 + 20 * 3) / (19 * 4 + 20 * 3)), rtol=1e-5)
    assert found["spatial"].shape == (2, 3 * 8 * 4)
    assert np.allclose(vectors_of(r[..., :8, :])["spatial"], r[..., :8, :].reshape(2, -1).numpy())


def test_moments_are_those_of_all_rows() -> None:
    x = torch.from_numpy(generator(0, "x", 0, "test", "map").standard_normal((6, 5, 4, 4))).float()
    moments = Moments()
    for part in (x[:2], x[2:]):
        moments.add(Map(part, torch.full_like(part, 0.5)))
    use = moments.activity()
    covariance = np.cov(x.double().movedim(1, -1).flatten(0, 2).T.numpy(), bias=True)
    assert use.rank == pytest.approx(latents.measures.effective_rank(covariance))
    assert (use.active, use.channels) == (1.0, 5)
