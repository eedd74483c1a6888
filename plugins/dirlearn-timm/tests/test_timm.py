"""The encoder on a stand-in with timm's interface, and on timm itself where it loads."""

import sys
from types import SimpleNamespace

import pytest
import torch
from dirlearn_timm.encoder import Timm
from torch import nn

from dirlearn.encoders.encoder import JointEncoder, build_encoder
from dirlearn.targets import TaskFault


class Body(nn.Module):
    """Halves twice, with batch normalisation; features at 2 and 4 pixels, of which those asked for are given."""

    def __init__(self, out_indices: tuple[int, ...]) -> None:
        super().__init__()
        layers = [nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b)) for a, b in ((3, 6), (6, 10))]
        self.layers = nn.ModuleList(layers[: max(out_indices) + 1])
        self.feature_info = SimpleNamespace(
            channels=lambda: [(6, 10)[i] for i in out_indices], reduction=lambda: [2 << i for i in out_indices]
        )
        self.out_indices = out_indices

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return [found[i] for i in self.out_indices]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """A module timm whose only network is `Body`; what was asked of it."""
    asked: list[dict[str, object]] = []

    def create_model(name: str, **options: object) -> nn.Module:
        asked.append({"name": name, **options})
        if name != "body":
            raise RuntimeError(f"Unknown model ({name})")
        return Body(options["out_indices"])

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))
    return asked


@pytest.mark.parametrize(("stage", "stride", "width"), [(0, 2, 6), (1, 4, 10)])
def test_features_of_a_stage_become_a_posterior(stand_in, stage: int, stride: int, width: int) -> None:
    e = build_encoder({"timm": {"model": "body", "stage": stage, "channels": 5}})
    assert stand_in == [{"name": "body", "pretrained": False, "features_only": True, "out_indices": (stage,)}]
    p = e(torch.rand(2, 3, 33, 18))
    assert (e.stride, e.width, e.channels) == (stride, width, 5)
    assert p.mean.shape == (2, 5, -(-33 // stride), -(-18 // stride))
    assert JointEncoder(e)(p.features, p.features).mean.shape == p.mean.shape


def test_samples_do_not_see_each_other_and_statistics_stay(stand_in) -> None:
    e = build_encoder({"timm": {"model": "body"}}).train()
    before = {name: value.clone() for name, value in e.named_buffers()}
    x = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(e(x).mean[1:2], e(x[1:2]).mean)
    assert all(torch.equal(value, before[name]) for name, value in e.named_buffers())
    e(x).mean.sum().backward()
    assert all(p.grad is not None for p in e.parameters())


def test_what_can_not_be_made_is_said(stand_in, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TaskFault, match="'resnet999' can't be made: RuntimeError: Unknown model"):
        build_encoder({"timm": {"model": "resnet999"}})
    e = build_encoder({"timm": {"model": "body"}})
    monkeypatch.setattr(e.body, "forward", lambda x: [x])
    with pytest.raises(TaskFault, match="take a convolutional network"):
        e(torch.rand(1, 3, 16, 16))
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(TaskFault, match=r"encoder timm can't load timm: .*pip install"):
        build_encoder("timm")


def test_resnet18_of_timm_itself() -> None:
    try:
        import timm  # noqa: F401
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm does not load: {error}")
    e = Timm(Timm.Params(channels=8))
    assert (e.stride, e.width) == (4, 64)
    p = e(torch.rand(1, 3, 40, 52))
    assert p.mean.shape == (1, 8, 10, 13)
    p.mean.sum().backward()
    assert all(q.grad is not None for q in e.parameters())
