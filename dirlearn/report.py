"""One self-contained page of what a run found."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dirlearn.embed import FOLDER, PICTURE
from dirlearn.evaluate import read_results
from dirlearn.latents import DEGRADED, PILOT, R0, REFERENCE
from dirlearn.metrics.picture_metric import columns
from dirlearn.run import ENVIRONMENT, RECIPE
from dirlearn.score_tables import score_tables


def write_report(folder: Path) -> Path:
    """Write `folder`/report.html: what was measured, pictures, curves of trainings, the recipe. No file beside it."""
    results = read_results(folder)
    sections = {
        "Results": _tables(results),
        "Independence": _probes(folder, results.get("probes")),
        "Pictures": _pictures(folder, results),
        "Training": _curves(folder),
        "Time": _times(folder),
        "Recipe": [f"<details><summary>{RECIPE}</summary><pre>{_said((folder / RECIPE).read_text())}</pre></details>"],
    }
    made = {title: "\n".join(parts) for title, parts in sections.items()}
    body = "\n".join(
        f'<section id="{title.lower()}"><h2>{title}</h2>\n{part}</section>' for title, part in made.items() if part
    )
    links = " ".join(f'<a href="#{title.lower()}">{title}</a>' for title, part in made.items() if part)
    place = folder / "report.html"
    place.write_text(_PAGE.format(title=_said(folder.resolve().name), links=links, body=body), encoding="utf-8")
    return place


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
:root {{ color-scheme: light dark; --ink: #1c1e21; --paper: #fff; --soft: #6b7280; --line: #dfe3e8; --bar: #cfe3fb;
  --alarm: #f6c7c3; --wash: #f6f7f9; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6e8eb; --paper: #16181b; --soft: #9aa3ad; --line: #33383e;
  --bar: #234a73; --alarm: #6b2b27; --wash: #1f2226; }} }}
body {{ font: 15px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem;
  margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }}
h1 {{ margin: 0; font-size: 1.7rem; }} h2 {{ margin: 2.6rem 0 .6rem; font-size: 1.25rem; }}
h3 {{ margin: 1.6rem 0 .3rem; font-size: 1rem; }}
nav {{ position: sticky; top: 0; z-index: 1; background: var(--paper); border-bottom: 1px solid var(--line);
  padding: .6rem 0; }}
nav a {{ margin-right: 1.1rem; color: inherit; }}
section {{ scroll-margin-top: 3rem; }}
p, figcaption {{ color: var(--soft); max-width: 60rem; }} p.alarm {{ color: inherit; font-weight: 600; }}
div.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; margin: .6rem 0 1rem; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .25rem .8rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }}
th {{ font-weight: 600; vertical-align: bottom; }} th:first-child, td:first-child {{ text-align: left; }}
td.best {{ font-weight: 700; }} td.bar {{ background: linear-gradient(90deg, var(--bar) var(--share),
  transparent var(--share)); }} td.alarm {{ background: var(--alarm); }}
figure {{ margin: 1rem 0 1.6rem; }} img {{ display: block; max-width: 100%; border-radius: 3px; }}
div.labels {{ display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; font-size: .85rem; text-align: center; }}
div.row {{ display: inline-block; max-width: 100%; }}
pre {{ background: var(--wash); padding: 1rem; overflow-x: auto; font-size: .85rem; }} summary {{ cursor: pointer; }}
</style></head><body>
<h1>{title}</h1>
<nav>{links}</nav>
{body}
</body></html>
"""


def _said(text: object) -> str:
    return html.escape(str(text))


def _table(head: Sequence[object], rows: Iterable[Sequence[str]]) -> str:
    """A table; the cells of `rows` are finished `td` elements or plain text."""
    cells = ("".join(c if c.startswith("<td") else f"<td>{_said(c)}</td>" for c in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>\n" for row in cells)
    return f'<div class="wide"><table><tr>{"".join(f"<th>{_said(h)}</th>" for h in head)}</tr>\n{body}</table></div>'


def _tables(results: Mapping[str, Any]) -> Iterator[str]:
    """A table a degradation: a row a method, columns a test set. The best is bold, but for untouched pictures."""
    rows = results["rows"]
    cells = {(row["degradation"], row["method"], row["set"]): row for row in rows}
    known = columns(results)
    labels = " and ".join(", ".join(facts["label"] for facts in known.values()).rsplit(", ", 1))
    lower = ", ".join(facts["label"] for facts in known.values() if facts["better"] == "lower")
    less = f" Lower is better: {_said(lower)}." if lower else ""
    yield f"<p>{_said(labels)}, in RGB if not said, of each picture, then the mean over pictures.{less}</p>"
    for degradation in dict.fromkeys(row["degradation"] for row in rows):
        own = [row for row in rows if row["degradation"] == degradation]
        sets = list(dict.fromkeys(row["set"] for row in own))
        methods = list(dict.fromkeys(row["method"] for row in own))
        trained = [m for m in methods if results["parameters"][m]["used"]]
        measures = [(s, measure) for s in sets for measure in known]
        best = {
            (s, m): (max if known[m]["better"] == "higher" else min)(
                (cells[degradation, method, s][m] for method in trained), default=None
            )
            for s, m in measures
        }
        counts = {s: cells[degradation, methods[0], s]["pictures"] for s in sets}
        head = [f"degradation: {degradation}"]
        head += [f"{s}, {counts[s]}: {known[m]['label'].removesuffix(' [dB]')}" for s, m in measures]
        lines = []
        for method in methods:
            line, count = [method], results["parameters"][method]
            for s, m in measures:
                value = cells[degradation, method, s][m]
                mark = ' class="best"' if method in trained and value == best[s, m] else ""
                line.append(f"<td{mark}>{value:.{known[m]['digits']}f}</td>")
            lines.append([*line, f"{count['trained']:,}", f"{count['used']:,}"])
        yield _table([*head, "parameters trained", "used"], lines)
    yield from score_tables(results)


def _probes(folder: Path, probes: Mapping[str, Any] | None) -> Iterator[str]:
    """What the latents tell of the degradation and of the scene."""
    if probes is not None:
        yield from _probe_tables(probes)
    picture = folder / FOLDER / PICTURE
    if picture.exists():
        yield _figure(
            picture.read_bytes(),
            "latents",
            "Latents of held-back scenes, each degraded many times, in one plane by t-SNE. Colour is scene, as in the "
            "frames below; every panel shows one kind of latent beside the reference, the others in grey. What does "
            "not depend on degradation lies in one heap for each scene; what is well refined lies at its star.",
        )


def _probe_tables(probes: Mapping[str, Any]) -> Iterator[str]:
    latents = probes["latents"]
    first = [name for name in (DEGRADED, PILOT, R0) if name in latents]
    order = [*first, *(name for name in latents if name not in (*first, REFERENCE)), *({REFERENCE} & latents.keys())]
    targets = list(dict.fromkeys(target for own in latents.values() for target in own.get("r2", {})))
    finds = list(dict.fromkeys(kind for own in latents.values() for kind in own.get("retrieval", {})))
    collapsed = [name for name in order if latents[name].get("collapsed")]
    if collapsed:
        yield f'<p class="alarm">Collapsed: {_said(", ".join(collapsed))}. Hardly anything of it is in use.</p>'
    yield (
        f"<p>{probes['scenes']} scenes of {probes['side']}x{probes['side']} pixels from {probes['pictures']} held-back "
        f"pictures, each degraded {probes['copies']} times ({_said(probes['degradation'])}). R\u00b2: share of the "
        "variance of a drawn parameter that the best of three ridge regressions reads from the latent, always of "
        f"{_said(probes['apart'])} that it has not seen; 0 is independence, r* the control, and the first row what the "
        "degraded picture itself tells. Found: how often the nearest of all scenes is the right one, "
        f"chance {probes['chance']:.1%}.</p>"
    )
    lines = []
    for name in order:
        own = latents[name]
        line = [name]
        for target in targets:
            line.append(_bar(_best(own.get("r2", {}).get(target, {}))))
        line += [_bar(own.get("retrieval", {}).get(kind), percent=True) for kind in finds]
        if "active" in own:
            alarm = ' class="alarm"' if own["collapsed"] else ""
            line.append(f"<td{alarm}>{own['active']:.0%}</td>")
            line.append(f"<td{alarm}>{own['effective_rank']:.1f} of {own['channels']}</td>")
        else:
            line += ["", ""]
        lines.append(line)
    head = ["latent", *(f"R\u00b2 of {t}" for t in targets), *(f"found: {k}" for k in finds)]
    yield _table([*head, "active channels", "effective rank"], lines)
    if targets:
        kinds = list(dict.fromkeys(k for own in latents.values() for t in own.get("r2", {}).values() for k in t))
        detail = [
            [name, target, *(_bar(latents[name].get("r2", {}).get(target, {}).get(kind)) for kind in kinds)]
            for name in order
            for target in targets
        ]
        yield (
            "<details><summary>R\u00b2 by what the regression sees</summary><p>pooled: the mean of each channel. "
            "statistics: mean, standard deviation, and how much neighbours differ. centred: the same, and the "
            "parameter, less their means over all copies of the scene, so that content can't hide what moves with the "
            "degradation.</p>" + _table(["latent", "parameter", *kinds], detail) + "</details>"
        )


def _best(shares: Mapping[str, float | None]) -> float | None:
    return max((share for share in shares.values() if share is not None), default=None)


def _bar(value: float | None, percent: bool = False) -> str:
    """A cell with a bar of the value's length."""
    if value is None:
        return "<td>\u2013</td>"
    text = f"{value:.1%}" if percent else f"{round(value, 2) + 0.0:.2f}".replace("-", "\u2212")
    return f'<td class="bar" style="--share: {min(max(value, 0.0) + 0.0, 1.0):.1%}">{text}</td>'


def _pictures(folder: Path, results: Mapping[str, Any]) -> Iterator[str]:
    shown: dict[str, list[dict[str, Any]]] = {}
    for row in results["rows"]:
        shown.setdefault(f"{row['set']}-{row['degradation']}.png".replace("/", "_"), []).append(row)
    for name, rows in shown.items():
        path, row = folder / "samples" / name, rows[0]
        if path.exists():
            methods = [row["method"] for row in rows if results["parameters"][row["method"]]["used"]]
            labels = "".join(f"<div>{_said(label)}</div>" for label in ("degraded", *methods, "clean"))
            image = _image(path.read_bytes(), path.stem)
            title = f"{_said(row['set'])}, {_said(row['degradation'])}"
            yield f'<h3>{title}</h3><figure><div class="row"><div class="labels">{labels}</div>{image}</div></figure>'
    for last in sorted({max(p.parent.glob("*.png")) for p in folder.glob("**/step-*.png")}):
        training = last.parent.parent.relative_to(folder)
        yield f"<h3>{_said(training)}</h3>"
        yield _figure(last.read_bytes(), str(training), "Fixed pictures, from above: degraded, made of them, clean.")


def _curves(folder: Path) -> Iterator[str]:
    """Every term and measure of every training over its steps."""
    from matplotlib.figure import Figure

    for path, lines in _logs(folder):
        names = list(dict.fromkeys(k for line in lines for k in line if not k.startswith(("step", "norm", "rate"))))
        rows = -(-len(names) // 4)
        figure = Figure(figsize=(12, 2.2 * rows))
        # not the constrained layout, which takes longer than all the drawing
        figure.subplots_adjust(left=0.045, right=0.99, bottom=0.28 / rows, top=1 - 0.25 / rows, hspace=0.5)
        for i, name in enumerate(names):
            axes = figure.add_subplot(rows, 4, i + 1)
            points = [(line["step"], line[name]) for line in lines if name in line]
            mark = "." if len(points) < 20 else ""
            axes.plot(*zip(*points, strict=True), linewidth=1.2, marker=mark, markersize=4)
            axes.set_title(name, fontsize=9)
            axes.tick_params(labelsize=7)
            axes.locator_params(nbins=4)
            axes.grid(color="0.92")
            axes.spines[["top", "right"]].set_visible(False)
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=90)
        yield f"<h3>{_said(path)}</h3>"
        yield _figure(data.getvalue(), str(path))


def _times(folder: Path) -> Iterator[str]:
    """How long everything took, and where."""
    lines, total = [], 0.0
    for path, log in _logs(folder):
        seconds, steps = _seconds(log), max(line["step"] for line in log)
        total += seconds
        lines.append([str(path), f"{steps:,}", _clock(seconds), f"{steps / seconds:.2f}" if seconds else "\u2013"])
    facts = json.loads((folder / ENVIRONMENT).read_text()) if (folder / ENVIRONMENT).exists() else {}
    for name, seconds in facts.get("seconds", {}).items():
        total += seconds
        lines.append([name, "", _clock(seconds), ""])
    yield _table(["", "steps", "time", "steps/s"], [*lines, ["all", "", _clock(total), ""]])
    if facts:
        versions = ", ".join(f"{name} {version}" for name, version in facts.get("versions", {}).items())
        yield f"<p>{_said(facts.get('machine', ''))}, {_said(facts.get('threads', ''))} threads; {_said(versions)}</p>"


def _logs(folder: Path) -> Iterator[tuple[Path, list[dict[str, float]]]]:
    """The logs of trainings, in the order in which they ran."""
    for path in sorted(folder.glob("**/metrics.jsonl"), key=lambda p: (len(p.parts), p)):
        if lines := [json.loads(line) for line in path.read_text().splitlines()]:
            yield path.parent.relative_to(folder), lines


def _seconds(log: Sequence[Mapping[str, float]]) -> float:
    """How long a training took, by the speeds that were logged: a resumed one counts as if it had never stopped."""
    seconds, since = 0.0, 0.0
    for line in log:
        if speed := line.get("steps_per_second"):
            seconds += (line["step"] - since) / speed
            since = line["step"]
    return seconds


def _clock(seconds: float) -> str:
    """Seconds as 42 s, 3:05 min, 2:10 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f}:{seconds % 60:02.0f} min"
    return f"{seconds // 3600:.0f}:{seconds % 3600 // 60:02.0f} h"


def _figure(data: bytes, about: str, caption: str = "") -> str:
    said = f"<figcaption>{_said(caption)}</figcaption>" if caption else ""
    return f"<figure>{_image(data, about)}{said}</figure>"


def _image(data: bytes, about: str) -> str:
    return f'<img alt="{_said(about)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
