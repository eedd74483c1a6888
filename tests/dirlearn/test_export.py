"""Exported graphs do what the networks do, at sizes that were not traced."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from dirlearn import export
from dirlearn import recipe as recipes
from dirlearn.alignment.alignment import Alignment
from dirlearn.baselines import AutoEncoder, Restorer
from dirlearn.cli import Exit, app
from dirlearn.component import build
from dirlearn.decoders.decoder import Decoder
from dirlearn.layers import cropped, padded, pooled
from dirlearn.run import Runner
from dirlearn.settings import Networks
from dirlearn.training.loop import TrainingFault
from isp_sim import registry

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

LIGHT = {"light": {"width": 8, "channels": 4, "blocks": 0}}
ENCODERS = {
    "light": {"width": 8, "channels": 4, "blocks": 1},
    "pix2pix": {"depth": 2, "base": 4, "channels": 4},
    "resnet": {"depth": 1, "base": 4, "channels": 4, "blocks": 1},
    "unet_encoder": {"depth": 1, "base": 4, "channels": 4},
}
DECODERS = {"light": {"width": 8, "blocks": 0}, "pix2pix": {"base": 4}}
RESTORERS = {"nafnet": {"width": 4, "encoder": [1], "middle": 0, "decoder": [1]}}
ALIGNMENTS = {"guided": {"sides": [3]}, "unguided": {"sides": [1]}}
CASCADE = {"width": 8, "m1": 1, "m2": 1, "m3": 1}


def builtin(group: str) -> list[str]:
    return [name for name in registry.names(group) if registry.origin(name, group) == "isp-sim"]


def lively(module: nn.Module) -> nn.Module:
    """The module, with noise where it starts from zero: what adds nothing could be left out unseen."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return module.eval().requires_grad_(False)


def check(job: nn.Module, folder: Path, *formats: str, **more: object) -> None:
    graph = export.Restoring(lively(job))
    made = export.write(graph, folder, formats, {"method": "tiny"}, **more)
    assert {d.format for d in made} == set(formats)
    assert max(d.largest for d in made) < 1e-5
    assert len({(d.height, d.width) for d in made}) == (1 if "size" in more else 4)


@pytest.mark.parametrize("size", [(5, 9), (6, 6), (1, 17)])
def test_open_forms_of_the_layers_equal_the_closed_ones(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(2, 3, *size)

    def made() -> list[Tensor]:
        return [padded(x, 4), padded(x, 1), cropped(x, 1, 4), *(pooled(x, side) for side in (1, 3, 5))]

    closed = made()
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    for expected, found in zip(closed, made(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", builtin("dirlearn.encoders"))
def test_every_encoder_can_be_exported(name: str, tmp_path: Path) -> None:
    networks = Networks(encoder={name: ENCODERS[name]}, decoder={"light": DECODERS["light"]})
    check(AutoEncoder(networks), tmp_path, "torch", "onnx")


@pytest.mark.parametrize("name", builtin("dirlearn.restorers"))
def test_every_restorer_can_be_exported(name: str, tmp_path: Path) -> None:
    check(Restorer({name: RESTORERS[name]}), tmp_path, "torch")


def test_a_size_can_be_fixed(tmp_path: Path) -> None:
    networks = Networks(encoder=LIGHT, decoder={"light": DECODERS["light"]})
    check(AutoEncoder(networks), tmp_path, "torch", size=(18, 25))
    run = export.load_torch(tmp_path / "restore.pt2")
    with pytest.raises(Exception, match=r"25|18"):
        run(torch.rand(1, 3, 20, 25))


class Alone(nn.Module):
    """A part between representations; whole ways are those of the encoders and of the run below."""

    def __init__(self, part: Alignment | Decoder) -> None:
        super().__init__()
        self.part = part

    def forward(self, r: Tensor) -> Tensor:
        if isinstance(self.part, Decoder):
            return self.part.body(r)
        found: Tensor = self.part(r, r.flip(1) - 0.3)
        return found


@pytest.mark.parametrize(
    ("group", "name"),
    [(group, name) for group in ("dirlearn.alignments", "dirlearn.decoders") for name in builtin(group)],
)
def test_every_alignment_and_every_decoder_can_be_exported(group: str, name: str, tmp_path: Path) -> None:
    if group == "dirlearn.decoders":
        part = build(group, {name: DECODERS[name]}, channels=4, stride=4)
    else:
        part = build(group, {name: {} if name == "identity" else {**CASCADE, **ALIGNMENTS.get(name, {})}}, channels=4)
    module = lively(Alone(part))
    sizes = {axis: torch.export.Dim(title, min=2) for axis, title in ((2, "height"), (3, "width"))}
    traced = export.program(module, (torch.rand(2, 4, 7, 9),), ({0: torch.export.Dim("batch", min=1), **sizes},))
    torch.export.save(traced, tmp_path / "a.pt2")
    (tmp_path / "a.onnx").write_bytes(export.onnx_model(traced).SerializeToString())
    for run in (export.load_torch(tmp_path / "a.pt2"), export.load_onnx(tmp_path / "a.onnx")):
        for shape in ((1, 4, 2, 3), (3, 4, 12, 5)):
            r = torch.randn(shape)
            torch.testing.assert_close(run(r), module(r), rtol=1e-5, atol=1e-5)


class Wayward(Alignment):
    """Goes another way where a number is high."""

    def forward(self, r0: Tensor, pilot: Tensor) -> Tensor:
        return r0 if bool(pilot.mean() > 0) else pilot


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory):
    """A trained run with an alignment, and with a decoder of its own for r0."""
    folder = tmp_path_factory.mktemp("exported")
    text = (Path(__file__).parent / "conftest.py").read_text().split('"""')[3].replace("\\\n", "", 1)
    change = ["stage2.alignment={concat: {width: 4, m1: 1, m2: 1, m3: 1}}"]
    recipe = recipes.parse(text.replace("RUN", str(folder / "run")), "tiny.yaml", folder, change)
    runner = Runner(recipe)
    runner.prepare()
    representation = runner.stage1()
    for method in recipe.methods[1:]:
        runner.method(method, representation)
    return recipe


def test_a_part_that_can_not_be_exported_is_named(done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = export.load_restorer

    def wayward(recipe, name):
        job = found(recipe, name)
        job.alignment = Wayward(job.alignment.params, 4)
        return job

    monkeypatch.setattr(export, "load_restorer", wayward)
    with pytest.raises(TrainingFault, match=r"^alignment \(.*Wayward\) can't be exported by torch.export"):
        export.export_method(done, "aligned", tmp_path, ("torch",))
    assert not list(tmp_path.iterdir())


def test_what_differs_does_not_take_the_place_of_what_is_there(
    done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "restore.pt2").write_text("older")
    found = export.load_torch
    monkeypatch.setattr(export, "load_torch", lambda path: lambda x: found(path)(x) + 2e-4)
    with pytest.raises(TrainingFault, match=r"differs from r0 by 0\.0002"):
        export.export_method(done, "r0", tmp_path, ("torch",))
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("restore.pt2", "older")]
    monkeypatch.setattr(export, "load_torch", lambda path: lambda x: found(path)(x) * torch.nan)
    with pytest.raises(TrainingFault, match="differs from r0 by nan"):
        export.export_method(done, "r0", tmp_path, ("torch",))


def test_the_command_line_exports_a_run(done, tmp_path: Path) -> None:
    import onnx

    result = CliRunner().invoke(app, ["export", str(done.folder)])
    assert result.exit_code == 0, result.output
    folder = done.folder / "export" / "aligned"
    about = json.loads((folder / "export.json").read_text())
    assert {p.name for p in folder.iterdir()} == {"restore.pt2", "restore.onnx", "export.json"}
    for name, digest in about["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert (about["method"], about["kind"], about["stride"]) == ("aligned", "refine", 4)
    assert about["input"]["shape"] == ["batch", 3, "height", "width"]
    assert len(about["weights_sha256"]) == 2
    model = onnx.load(str(folder / "restore.onnx"))
    assert {p.key: p.value for p in model.metadata_props}["recipe_sha256"] == about["recipe_sha256"]
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [
        "batch", 3, "height", "width",
    ]  # fmt: skip
    extra = {"export.json": ""}
    torch.export.load(folder / "restore.pt2", extra_files=extra)
    assert json.loads(extra["export.json"])["recipe_sha256"] == about["recipe_sha256"]
    for wrong in (["--format", "tf"], ["--size", "20"]):
        assert CliRunner().invoke(app, ["export", str(done.folder), *wrong]).exit_code == Exit.USAGE
    assert CliRunner().invoke(app, ["export", str(done.folder), "-m", "degraded"]).exit_code == Exit.FAILED
