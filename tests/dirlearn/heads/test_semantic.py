"""Heads for semantic segmentation: any size, any labels, gradients to the picture, weights from a folder."""

import pytest
import torch
from torch.nn import functional as F

from dirlearn.heads.head import build_head
from dirlearn.heads.semantic import cross_entropy
from dirlearn.targets import IGNORE, SemanticMap, TaskFault

SMALL = {
    "segmentation_light": {"classes": 3, "width": 4, "levels": 2},
    "segformer": {"classes": 3},
    "upernet": {"classes": 3, "width": 16},
}
NAMES = list(SMALL)


def head(name: str, **more):
    if name != "segmentation_light":
        pytest.importorskip("transformers")
    torch.manual_seed(0)
    return build_head({name: {**SMALL[name], **more}})


@pytest.mark.parametrize("name", NAMES)
def test_scores_have_the_size_of_the_picture_and_gradients_reach_it(name: str) -> None:
    made = head(name).train()
    for size in ((33, 50), (64, 32)):
        picture = torch.rand(2, 3, *size, requires_grad=True)
        maps = torch.randint(0, 3, (2, *size))
        maps[0, :4] = IGNORE
        loss = made.loss(picture, [SemanticMap(m) for m in maps])
        loss.backward()
        assert picture.grad.abs().sum() > 0
        assert made.logits(picture).shape == (2, 3, *size)
    assert all(p.grad is not None for p in made.parameters()), "every parameter learns"


@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_classes_of_every_pixel(name: str) -> None:
    made = head(name).eval()
    with torch.no_grad():
        found = made.predict(torch.rand(2, 3, 37, 41))
    assert [f.classes.shape for f in found] == [(37, 41)] * 2
    assert all(int(f.classes.max()) < 3 for f in found)


def test_the_loss_is_the_mean_over_all_pixels_of_what_counts() -> None:
    logits, maps = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    torch.testing.assert_close(cross_entropy(logits, maps), F.cross_entropy(logits, maps))
    maps[:, :2] = IGNORE
    expected = F.cross_entropy(logits[:, :, 2:], maps[:, 2:]) / 2
    torch.testing.assert_close(cross_entropy(logits, maps), expected)
    halves = [cross_entropy(logits[i : i + 1], maps[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(sum(halves) / 2, expected)


def test_a_picture_of_which_nothing_is_known_teaches_nothing() -> None:
    made = head("segmentation_light")
    loss = made.loss(torch.rand(1, 3, 16, 16), [SemanticMap(torch.full((16, 16), IGNORE))])
    loss.backward()
    assert loss == 0
    assert all(not p.grad.any() for p in made.parameters())


def test_the_light_head_learns() -> None:
    """Brighter than a half, or not: so little that a minute's training would find it, here in a second."""
    made = head("segmentation_light", classes=2)
    optimiser = torch.optim.Adam(made.parameters(), 1e-2)
    torch.manual_seed(1)
    for _ in range(60):
        picture = F.interpolate(torch.rand(4, 1, 4, 4), scale_factor=8).expand(-1, 3, -1, -1)
        loss = made.loss(picture, [SemanticMap((p[0] > 0.5).long()) for p in picture])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    picture = F.interpolate(torch.rand(4, 1, 4, 4), scale_factor=8).expand(-1, 3, -1, -1)
    found = torch.stack([f.classes for f in made.eval().predict(picture)])
    assert (found == (picture[:, 0] > 0.5)).double().mean() > 0.9


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of weights of a segformer of three classes."""
    made, folder = head("segformer"), tmp_path_factory.mktemp("weights")
    made.network.save_pretrained(folder)
    return made, folder


def test_weights_from_a_folder(saved, monkeypatch) -> None:
    made, folder = saved
    torch.manual_seed(1)
    again = build_head({"segformer": {"classes": 3, "weights": str(folder)}})
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), again.parameters(), strict=True))
    monkeypatch.setenv("DIRLEARN_DATA", str(folder.parent))
    build_head({"segformer": {"classes": 3, "weights": folder.name}})
    other = build_head({"segformer": {"classes": 3, "weights": str(folder)}}, pretrained=False)
    assert not torch.equal(next(made.parameters()), next(other.parameters()))


def test_other_classes_start_the_decoder_anew_and_say_so(saved) -> None:
    made, folder = saved
    with pytest.warns(UserWarning, match="decode_head start at random"):
        again = build_head({"segformer": {"classes": 5, "weights": str(folder)}})
    assert again.network.decode_head.classifier.out_channels == 5
    assert torch.equal(next(made.parameters()), next(again.parameters()))


def test_weights_of_another_size_are_refused(saved) -> None:
    with pytest.raises(TaskFault, match=r"are of another network: .*take the `size`"):
        build_head({"segformer": {"classes": 3, "size": "b1", "weights": str(saved[1])}})


def test_weights_that_are_not_there(tmp_path, monkeypatch) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(TaskFault, match="neither a folder, here or in DIRLEARN_DATA, nor a name"):
        build_head({"segformer": {"classes": 3, "weights": "/no/such/folder"}})
    with pytest.raises(TaskFault, match="can't be loaded: "):
        build_head({"segformer": {"classes": 3, "weights": str(tmp_path)}})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TaskFault, match="may be out of reach from here"):
        build_head({"segformer": {"classes": 3, "weights": "nobody/nothing-of-this-name"}})


def test_a_missing_package_is_named(monkeypatch) -> None:
    monkeypatch.setattr("dirlearn.targets.find_spec", lambda name: None)
    with pytest.raises(TaskFault, match=r"head segformer needs transformers: pip install 'isp-sim\[tasks\]'"):
        build_head({"segformer": {"classes": 3}})
