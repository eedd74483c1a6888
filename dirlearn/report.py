"""One self-contained page of what a run found."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dirlearn.evaluate import read_results
from dirlearn.score_tables import score_tables


def write_report(folder: Path) -> Path:
    """Write `folder`/report.html: the table, curves of all trainings, sample grids, the recipe. No file beside it."""
    results = read_results(folder)
    parts = [
        f"<h1>{html.escape(folder.name)}</h1>",
        "<h2>Results</h2>",
        *_tables(results),
        "<h2>Pictures</h2>",
        *_pictures(folder, results),
        "<h2>Training</h2>",
        *_curves(folder),
        "<h2>Recipe</h2>",
        f"<pre>{html.escape((folder / 'recipe.yaml').read_text())}</pre>",
    ]
    place = folder / "report.html"
    place.write_text(_PAGE.format(title=html.escape(folder.name), body="\n".join(parts)))
    return place


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
th, td {{ padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }}
th:first-child, td:first-child {{ text-align: left; }}
img {{ max-width: 100%; }} pre {{ background: #f6f6f6; padding: 1rem; overflow-x: auto; }}
</style></head><body>
{body}
</body></html>
"""


def _tables(results: dict[str, Any]) -> Iterable[str]:
    """A row a method, a column a test set and degradation."""
    rows = results["rows"]
    columns = list(dict.fromkeys((row["set"], row["degradation"]) for row in rows))
    cells = {(row["method"], row["set"], row["degradation"]): row for row in rows}
    head = "".join(f"<th>{html.escape(s)}<br>{html.escape(d)}</th>" for s, d in columns)
    yield f"<table><tr><th>PSNR [dB] / SSIM</th>{head}<th>parameters trained</th><th>used</th></tr>"
    for method in dict.fromkeys(row["method"] for row in rows):
        found = [cells[(method, *column)] for column in columns]
        values = "".join(f"<td>{row['psnr']:.2f} / {row['ssim']:.4f}</td>" for row in found)
        count = results["parameters"][method]
        yield f"<tr><td>{html.escape(method)}</td>{values}<td>{count['trained']:,}</td><td>{count['used']:,}</td></tr>"
    yield "</table>"
    yield from score_tables(results)


def _pictures(folder: Path, results: dict[str, Any]) -> Iterable[str]:
    methods = list(dict.fromkeys(row["method"] for row in results["rows"]))
    for path in sorted((folder / "samples").glob("*.png")):
        yield f"<p>{html.escape(path.stem)}: degraded, {html.escape(', '.join(methods))}, clean</p>"
        yield _embedded(path.read_bytes(), path.stem)
    for last in sorted({max(p.parent.glob("*.png")) for p in folder.glob("**/step-*.png")}):
        training = last.parent.parent.relative_to(folder)
        yield f"<p>{html.escape(str(training))}, fixed pictures: degraded, made, clean</p>"
        yield _embedded(last.read_bytes(), last.stem)


def _curves(folder: Path) -> Iterable[str]:
    """Every term and measure of every training over its steps."""
    from matplotlib.figure import Figure

    for path in sorted(folder.glob("**/metrics.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        names = list(dict.fromkeys(k for line in lines for k in line if not k.startswith(("step", "norm", "rate"))))
        rows = -(-len(names) // 4)
        figure = Figure(figsize=(12, 2.4 * rows))
        # not the constrained layout, which takes longer than all the drawing
        figure.subplots_adjust(left=0.05, right=0.99, bottom=0.3 / rows, top=1 - 0.25 / rows, hspace=0.45)
        for i, name in enumerate(names):
            axes = figure.add_subplot(rows, 4, i + 1)
            points = [(line["step"], line[name]) for line in lines if name in line]
            axes.plot(*zip(*points, strict=True), linewidth=1)
            axes.set_title(name, fontsize=9)
            axes.tick_params(labelsize=7)
            axes.locator_params(nbins=4)
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=80)
        yield f"<h3>{html.escape(str(path.parent.relative_to(folder)))}</h3>"
        yield _embedded(data.getvalue(), path.parent.name)


def _embedded(data: bytes, about: str) -> str:
    return f'<img alt="{html.escape(about)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
