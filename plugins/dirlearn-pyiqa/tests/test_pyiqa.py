"""The measures on a stand-in with pyiqa's interface, and on pyiqa itself where it loads and has its weights."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dirlearn import testing
from dirlearn.metrics.picture_metric import build_pictures
from dirlearn.targets import TaskFault
from isp_sim import registry

NAMES = ("niqe", "nrqm", "hyperiqa", "lpips")
LOWER = {"niqe": True, "nrqm": False, "hyperiqa": False, "lpips": True}


class Stand(nn.Module):
    """How much neighbours differ, or how far two pictures lie apart; with a draw, as networks of patches have."""

    def __init__(self, name: str, lower: bool) -> None:
        super().__init__()
        self.name, self.lower_better = name, lower

    def forward(self, target: torch.Tensor, ref: torch.Tensor | None = None) -> torch.Tensor:
        assert (ref is None) == (self.name != "lpips")
        assert all(x.dtype == torch.float32 and x.min() >= 0 and x.max() <= 1 for x in (target, ref) if x is not None)
        found = target.diff(dim=-1).abs().mean() if ref is None else (target - ref).abs().mean()
        return (found + 0 * torch.rand(())).reshape(1, 1)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, torch.device]]:
    asked: list[tuple[str, torch.device]] = []

    def create_metric(name: str, device: torch.device) -> nn.Module:
        asked.append((name, device))
        return Stand(name, LOWER[name])

    monkeypatch.setitem(sys.modules, "pyiqa", SimpleNamespace(create_metric=create_metric))
    monkeypatch.setattr("dirlearn.targets.find_spec", lambda name: object())
    return asked


@pytest.mark.parametrize("name", NAMES)
def test_it_conforms(stand_in, name: str) -> None:
    testing.assert_conforms(name)
    assert set(stand_in) == {(name, torch.device("cpu"))}
    doc = registry.load(name, "dirlearn.picture_metrics").__doc__
    assert "PolyForm Noncommercial 1.0.0" in doc, "the licence is said where the measure is shown"


def test_the_figure_is_that_of_the_network(stand_in) -> None:
    x, y = torch.rand(2, 1, 3, 224, 230)
    metrics = build_pictures(NAMES)
    assert metrics["lpips"](x, y) == pytest.approx((x - y).abs().mean().item())
    assert metrics["niqe"](x, y) == pytest.approx(x.diff(dim=-1).abs().mean().item())
    with pytest.raises(TaskFault, match="HyperIQA is measured on pictures of at least 224x224 px"):
        metrics["hyperiqa"](x[..., :200], y[..., :200])


def test_what_can_not_be_made_is_said(stand_in, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOWER, "niqe", False)
    with pytest.raises(TaskFault, match="this pyiqa says that lower is not better"):
        build_pictures(["niqe"])

    def offline(name: str, device: torch.device) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(sys.modules["pyiqa"], "create_metric", offline)
    with pytest.raises(TaskFault, match="niqe can't be made: OSError: no route to host"):
        build_pictures(["niqe"])
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(TaskFault, match=r"can't load pyiqa: .*pip install 'dirlearn-pyiqa\[pyiqa\]'"):
        build_pictures(["niqe"])


def test_without_pyiqa_the_line_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dirlearn.targets.find_spec", lambda name: None)
    with pytest.raises(TaskFault, match=r"picture metric lpips needs pyiqa: pip install 'dirlearn-pyiqa\[pyiqa\]'"):
        build_pictures(["lpips"])


@pytest.mark.parametrize("name", NAMES)
def test_pyiqa_itself(name: str) -> None:
    try:
        import pyiqa  # noqa: F401

        build_pictures([name])
    except (ImportError, RuntimeError, TaskFault) as error:
        pytest.skip(f"pyiqa does not load: {error}")
    testing.assert_conforms(name)
