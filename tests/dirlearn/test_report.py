"""A page that stands alone, is sound HTML, and says what the results say."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dirlearn.report import _clock, _seconds, write_report
from dirlearn.training.samples import save_grid

VOID = {"meta", "img", "br"}


class Checked(HTMLParser):
    """Whether every element is closed, and the text of the tables' cells."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[tuple[str, dict[str, str | None]]] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append(("", dict(attrs)))
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "td":
            self.cells[-1] = (self.cells[-1][0] + data, self.cells[-1][1])


def row(degradation: str, method: str, psnr: float) -> dict[str, object]:
    return {"set": "s<1>", "degradation": degradation, "method": method, "psnr": psnr, "ssim": 0.5, "pictures": 3}


LATENT = {
    "channels": 8, "active": 0.5, "effective_rank": 3.2, "collapsed": False,
    "r2": {"noise.sigma": {"pooled": 0.25, "statistics": 0.75, "centred": -0.5}},
    "retrieval": {"spatial": 0.9},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with as little as a report takes."""
    import torch

    rows = [row(d, m, p) for d in ("seen", "other") for m, p in (("degraded", 30.0), ("a & b", 25.0), ("c", 26.5))]
    count = {"trained": 1234, "used": 5678}
    parameters = {"degraded": {"trained": 0, "used": 0}, "a & b": count, "c": count}
    picture = {"r2": LATENT["r2"], "retrieval": {"spatial": 0.1}}
    probes = {
        "pictures": 2, "scenes": 4, "copies": 3, "side": 16, "apart": "pictures", "chance": 0.25, "degradation": "seen",
        "seed": 1, "latents": {
            "r*": {**LATENT, "retrieval": {}}, "picture": picture, "pilot": LATENT, "r0": {**LATENT, "collapsed": True},
        },
    }  # fmt: skip
    (tmp_path / "results.json").write_text(json.dumps({"rows": rows, "parameters": parameters, "probes": probes}))
    (tmp_path / "recipe.yaml").write_text("a: <b>\n")
    (tmp_path / "environment.json").write_text(json.dumps({"machine": "m", "seconds": {"evaluation": 61.0}}))
    (tmp_path / "stage1" / "samples").mkdir(parents=True)
    (tmp_path / "samples").mkdir()
    for path in ("stage1/samples/step-000000002.png", "samples/s<1>-seen.png"):
        save_grid([torch.zeros(1, 3, 8, 8)], tmp_path / path)
    log = [{"step": 1, "loss": 2.0, "steps_per_second": 0.5}, {"step": 5, "loss": 1.0, "steps_per_second": 2.0}]
    (tmp_path / "stage1" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    return tmp_path


def page(folder: Path) -> tuple[str, Checked]:
    text = write_report(folder).read_text(encoding="utf-8")
    checked = Checked()
    checked.feed(text)
    assert checked.open == []
    return text, checked


def test_a_page_that_stands_alone(folder: Path) -> None:
    text, checked = page(folder)
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in checked.sources)
    assert sum(source.startswith("data:") for source in checked.sources) == 3
    assert "&lt;b&gt;" in text
    assert "a &amp; b" in text
    assert "s<1>" not in text
    for section in ("results", "independence", "pictures", "training", "time", "recipe"):
        assert f'href="#{section}"' in text
        assert f'id="{section}"' in text


def test_the_best_is_bold_and_not_the_pictures_as_they_are(folder: Path) -> None:
    _, checked = page(folder)
    assert [text for text, attributes in checked.cells if attributes.get("class") == "best"].count("26.50") == 2
    assert ("30.00", {}) in checked.cells


def test_probes_are_told_with_bars_and_alarms(folder: Path) -> None:
    text, checked = page(folder)
    assert ("0.75", {"class": "bar", "style": "--share: 75.0%"}) in checked.cells, "the best of the three"
    assert ("\u22120.50", {"class": "bar", "style": "--share: 0.0%"}) in checked.cells
    assert "Collapsed: r0." in text
    order = [text for text, _ in checked.cells if text in ("picture", "pilot", "r0", "r*")]
    assert order[:4] == ["picture", "pilot", "r0", "r*"]


def test_a_run_without_probes_has_a_page(folder: Path) -> None:
    results = json.loads((folder / "results.json").read_text())
    del results["probes"]
    (folder / "results.json").write_text(json.dumps(results))
    text, _ = page(folder)
    assert "Independence" not in text


def test_time_is_that_of_the_logged_speeds(folder: Path) -> None:
    log = [{"step": 0}, {"step": 1, "steps_per_second": 0.5}, {"step": 5, "steps_per_second": 2.0}, {"step": 5}]
    assert _seconds(log) == 1 / 0.5 + 4 / 2.0
    _, checked = page(folder)
    texts = [text for text, _ in checked.cells]
    assert texts[texts.index("stage1") + 2] == "4 s"
    assert texts[texts.index("all") + 2] == "1:05 min"
    assert [_clock(s) for s in (59.4, 185, 7800)] == ["59 s", "3:05 min", "2:10 h"]
