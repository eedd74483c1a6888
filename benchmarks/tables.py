"""Write docs/accuracy.md, speed.md, results.md, regions of information.md and operations.md from committed results.

python benchmarks/tables.py
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from report import ROOT

RESULTS, DOCS = ROOT / "benchmarks" / "results", ROOT / "docs"

WHERE_FROM = (
    "Measured by the programs in `benchmarks/`, written here from `benchmarks/results/` by `benchmarks/tables.py`."
)
ABLATION = """\
Trained on the photos of BSDS500 (train and test parts) and of camjpeg640 under `recipes/ablation_noise_jpeg.yaml`,
tested on Set14 and half of CBSD68. PSNR [dB] in RGB / SSIM, means over pictures. `seen` are the degradations of the
training; the others were never seen in it. Targets are the margins and figures of the paper's Table 5."""

INDEPENDENCE = """\
What the latents of the same run tell: {scenes} scenes of {pictures} held-back pictures, each degraded {copies} times as
in training. R² is the share of a drawn parameter's variance that the best of three linear probes reads from scenes that
it has not seen; 0 is independence. `picture` is the degraded picture itself, r* the control. A scene is found if it is
the nearest of all, seen through another degradation; by chance in {chance}. See [dirlearn](dirlearn.md)."""

REAL_NOISE = """\
Trained by `recipes/restore_real_small.yaml` on simulated degradations alone (BSDS500 enlarged, camjpeg640), measured as
they are on real pairs: CC15 (Nikon D800, ISO 1600 and 3200) and PolyU (three Canon cameras). PSNR [dB] and SSIM in RGB,
means over pictures. Non-local means: scikit-image's with the noise level estimated on the picture, blind, and with the
strength that is best on the set, which only who has the references could choose; OpenCV's with its defaults. After a
first look at CC15 the ranges of smoothing in `recipes/real_camera.yaml` were widened and training pictures enlarged;
nothing else was chosen by real pictures. 1200 steps of Stage I and 2200 of Stage II; the auto-encoder took both."""

SEGMENTATION = """\
`recipes/seg_camvid_small.yaml`: CamVid at half size, 367 pictures to learn from, 101 to measure on; RAW with the noise
of the paper's low-light test. Every row is a head of equal weights at the start and equal steps: on what the default
ISP makes, on an ISP with a bilateral filter (expert), on the same with gain, filter, contrast, brightness and
saturation tuned by gradient together with the head, on an auto-encoder's pictures, on the method's, and on clean ones.
The auto-encoder learns by L1 before, for as many steps as Stage I takes. Targets are the paper's margins with SegFormer
on ADE20K, and that the method leads. aAcc, mIoU, mAcc in percent."""

WHY_NOT = """\
The method does not lead here, and the margins of the paper are not reached. At this noise (9.7 dB) and this length of
training all heads on degraded pictures know equally much: on crops as large as the patches they learn from (96 pixels,
`evaluation.crop: 96`, 40 training pictures) every row lies between 17.7 and 19.1 percent mIoU, clean pictures at 39.2.
On whole pictures they differ, which points at how what was learnt on patches carries over: the head's summary of the
whole picture and the alignment's kernels, which are averages over it, see other statistics there. Larger patches are
what to try next. One seed; two stages of 800 and 1600 steps."""

OPERATIONS = {
    "fuzz": "Changed files and recipes",
    "killed_training": "Trainings that are killed",
    "soak": "A long run, killed again and again",
    "ray_nodes": "A Ray cluster that loses a node",
    "install": "The wheel in clean environments",
}
"""Benchmarks of docs/operations.md, with their headings."""


def table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(text(row.get(column)) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value).replace("|", "\\|")


def read(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def section(title: str, name: str, about: str, rows: Any = lambda rows: rows) -> str:
    result = read(name)
    environment = result["environment"]
    where = f"{environment['machine']}, {environment['cores']} cores, Python {environment['python']}, "
    where += ", ".join(f"{k} {v}" for k, v in environment["versions"].items() if v and k != "isp-sim")
    parts = [f"## {title}", about, f"`python benchmarks/{name}.py`; {where}."]
    return "\n\n".join([*parts, table(result["targets"]), table(rows(result["rows"]))])


def by_folder(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each camera profile and folder of photos."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row.get("psnr") is not None:
            folder = str(Path(row["photo"]).parts[0]) if "/" in row["photo"] else "sample photos"
            groups.setdefault((row["profile"], row["highlights"], folder), []).append(row)
    return [
        {
            "profile": profile,
            "highlights": highlights,
            "photos": name,
            "number": len(group),
            "worst PSNR [dB]": min(row["psnr"] for row in group),
            "median PSNR [dB]": statistics.median(row["psnr"] for row in group),
            "saturated, mean": statistics.mean(row["saturated"] for row in group),
            "RAW outside [0, 1], mean": statistics.mean(row["raw outside [0, 1]"] for row in group),
            "marked as lost, mean": statistics.mean(row["marked as lost"] for row in group),
        }
        for (profile, highlights, name), group in groups.items()
    ]


def by_degradation(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each method, one column for each test set and degradation."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        of_method = found.setdefault(row["method"], {"method": row["method"]})
        of_method[f"{row['set']}, {row['degradation']}"] = f"{row['psnr']:.2f} / {row['ssim']:.3f}"
    return list(found.values())


def against(rows: list[dict[str, Any]], method: str = "r0 + A + pilot") -> list[dict[str, Any]]:
    """The whole method beside each other row: differences in PSNR, where seen and over all that was not."""
    value = {(row["set"], row["degradation"], row["method"]): row["psnr"] for row in rows}
    found = []
    for other in dict.fromkeys(row["method"] for row in rows if row["method"] != method):
        gains = {(s, kind): value[s, kind, method] - x for (s, kind, name), x in value.items() if name == other}
        seen = [gain for (_, kind), gain in gains.items() if kind == "seen"]
        unseen = [gain for (_, kind), gain in gains.items() if kind != "seen"]
        found.append(
            {
                f"{method} over": other,
                "seen, mean [dB]": statistics.mean(seen),
                "unseen, mean [dB]": statistics.mean(unseen),
                "unseen, above in": f"{sum(gain > 0 for gain in unseen)} of {len(unseen)}",
            }
        )
    return found


def told(probes: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each latent: the most that a probe reads of each drawn parameter, scenes found, channels in use."""
    found = []
    for name, latent in probes["latents"].items():
        row: dict[str, Any] = {"latent": name}
        row |= {f"R² of {key}": max(v for v in r2.values() if v is not None) for key, r2 in latent["r2"].items()}
        row["scene found"] = latent["retrieval"].get("spatial")
        row["found among r*"] = latent["retrieval"].get("spatial, by r*")
        found.append(row | {"active": latent.get("active"), "effective rank": latent.get("effective_rank")})
    return found


def costs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each method took."""
    keys = ("method", "steps", "parameters", "seconds")
    return list({row["method"]: {key: row.get(key) for key in keys} for row in rows}.values())


def by_group(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each group of real pairs: what the physical model reaches, and the best of the others."""
    found = []
    for group in dict.fromkeys(row["group"] for row in rows if "group" in row):
        own = [row for row in rows if row.get("group") == group]
        physical = next(row for row in own if row["model"].startswith("physical"))
        new = {name: physical[name] for name in ("set", "group", "pictures")}
        for name in ("KL, marginal", "KL, given intensity", "NLF: RMSE of log variance"):
            new[name] = physical[name]
            new[f"{name}, others"] = min(row[name] for row in own if row is not physical)
        found.append(new | {name: physical[name] for name in ("lag-1 correlation", "lag-1, real")})
    return found


def stairs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each estimator: mean and standard deviation at each level, beside the truth in its unit."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row["estimator"]
        level = f"{row['information']:g} nats"
        if row["unit"] != "nats":
            found.setdefault(f"{name}*", {"estimator": f"`{name}`, the truth"})[level] = f"{row['truth']:.3f}"
        digits = 2 if row["unit"] == "nats" else 3
        said = f"{row['mean']:.{digits}f} +- {row['variance'] ** 0.5:.{digits}f}"
        found.setdefault(name, {"estimator": f"`{name}`"})[level] = said
    return list(found.values())


def region(path: Path, name: str, content: str) -> None:
    """Replace what stands between the marks of a region of a page."""
    begin, end = f"<!-- {name}: written by benchmarks/tables.py -->", f"<!-- end of {name} -->"
    page = path.read_text()
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"{path} needs the marks {begin} and {end}, once each")
    head, rest = page.split(begin)
    _, tail = rest.split(end)
    path.write_text(f"{head}{begin}\n\n{content}\n\n{end}{tail}")


def measured() -> str:
    """What was measured of runs that are disturbed: a heading, the command and the targets of each benchmark."""
    parts = []
    for name, title in OPERATIONS.items():
        if (RESULTS / f"{name}.json").is_file():
            result = read(name)
            environment = result["environment"]
            where = f"{environment['machine']}, {environment['cores']} cores, Python {environment['python']}"
            command = f"`python benchmarks/{name}.py --json FILE`; {where}."
            parts += [f"**{title}.** {command}", table(result["targets"])]
    return "\n\n".join(parts)


def main() -> None:
    accuracy = [
        "# Accuracy",
        WHERE_FROM,
        section(
            "Development beside LibRaw",
            "libraw_parity",
            "RAW files through `recipes/develop_raw.yaml` and through rawpy with the same settings (linear "
            "demosaicing, camera white balance, sRGB, 16 bits), away from the border and from clipped pixels. "
            "Differences are in 8-bit code values.",
        ),
        section(
            "Photo to RAW and back",
            "round_trip",
            "Photos to linear camera RGB by a drawn camera state and back by the forward stages, float32, the worst of "
            "four draws, over the pixels that the photo has not saturated, for each camera profile. That the RAW is "
            "apart from the photo says that there was something to undo. Safe highlights lose what is close to white: "
            "they are measured apart, over the pixels that they do not mark.",
            by_folder,
        ),
        section(
            "Calibration on sensors that are known",
            "calibration",
            "Flats and darks rendered with each shipped profile and rounded to whole DN, and what `isp-sim calibrate` "
            "finds in them.",
        ),
        section(
            "JPEG beside libjpeg-turbo",
            "jpeg",
            "`rounding` and `soft` beside libjpeg-turbo, on photos and on made-up pictures of odd sizes. The gap of "
            "the soft mode is its PSNR against libjpeg-turbo's picture, by sharpness, on the middle of the photos. "
            "Qualities that are multiples of 10 are shown. Speed: 16 crops of 128x128, quality 75, processor time on "
            "one thread, the fastest of 20 runs.",
            lambda rows: [row for row in rows if row.get("quality", 1) % 10 == 0],
        ),
        table([row for row in read("jpeg")["rows"] if "speed of" in row]),
        section(
            "Demosaicing",
            "demosaic",
            "Mean over a folder of the PSNR of all three channels together [dB]: pictures mosaicked as RGGB as they "
            "are coded, 8-bit results, without 10 pixels at the border. Nothing was tuned on CBSD68. Speed is that "
            "of one picture of 4 megapixels for ours, and of the pictures of the folders for the others, on a busy "
            "machine: orders of magnitude.",
            lambda rows: [row for row in rows if "CFA" not in row],
        ),
        "Other CFAs, in the same way. LibRaw knows X-Trans, not Quad Bayer.",
        table([row for row in read("demosaic")["rows"] if "CFA" in row]),
        section(
            "Colours of a chart",
            "chart",
            "A ColorChecker in a RAW file, developed linearly with the same white balance: as shot, or by a grey "
            "patch. CIEDE2000 between patch means and the published colours, under D50; the cast that is left is "
            "adapted away and exposure scaled alike for all. `camera_matrix` goes by the matrices of the DNG, adapted "
            "to the light that the gains say; `colour_matrix` by LibRaw's.",
        ),
        section(
            "Noise beside real noise",
            "noise_realism",
            "Real noise is a photo less the mean of many of the same scene, in 8-bit sRGB: CC15 (Nikon D800) and PolyU "
            "(three Canon cameras). `physical` is the photo taken back to RAW, mosaic, shot and read noise, developed "
            "again with luma and chroma smoothed as cameras do; `gaussian` and `poisson` (as Real-ESRGAN adds it) are "
            "added to the finished picture. Every model is fitted to half of the pixels of each group of pictures of "
            "one camera and exposure, in stripes, by the same search, and measured on the other half. KL is from the "
            "real distribution to the model's [nat], over all pixels and in the mean over intensities; NLF is the "
            "variance against intensity; lag 1 is the correlation of neighbouring pixels. Means over groups.",
            lambda rows: [row for row in rows if "group" not in row],
        ),
        "Of each group, the physical model, and the least that another one reaches. Not all that pictures of PolyU "
        "differ by is noise: it is much larger at edges than on flat ground of the same intensity, as where exposures "
        "do not cover each other or are sharpened, and neighbouring parts differ in brightness. That makes the tails "
        "and the unsteady noise level functions that no model here has.",
        table(by_group(read("noise_realism")["rows"])),
        "![Standard deviation against intensity, and histograms, of real noise and of each model with "
        "JPEG](pictures/noise_realism.png)",
    ]
    speed = [
        "# Speed",
        WHERE_FROM,
        section(
            "Pixels",
            "speed",
            "One mosaic of 4 megapixels, float32, all cores, medians, ours and the peers' in turn on an idle machine. "
            "The development is black level, white balance, `malvar2004`, matrix, tone curve, sRGB and rounding to 8 "
            "bits; LibRaw's is `postprocess` by AHD. The crops have parameters of their own, drawn for each.",
        ),
        section("Start-up", "startup", "Medians of seven runs, each command in a process of its own."),
    ]
    results = [
        "# Results",
        WHERE_FROM,
        section(
            "Restoration: the rows of Table 5",
            "ablation",
            ABLATION,
            by_degradation,
        ),
        "The whole method beside each other row, means over the test sets:",
        table(against(read("ablation")["rows"])),
        "![The middle of the first picture of Set14: degraded, then the rows in order, then clean]"
        "(pictures/ablation.png)",
        "## Independence, measured",
        INDEPENDENCE.format(**(probes := read("ablation")["probes"])),
        table(told(probes)),
        "![Pilot, r0 and r+ of four scenes, each degraded many times, beside r*, by t-SNE](pictures/latents.png)",
        "## What it took",
        "Steps of the optimiser, those of Stage I included; parameters that are used, frozen ones "
        "included; seconds of training, without Stage I.",
        table(costs(read("ablation")["rows"])),
        section("Real noise, restored blind", "real_noise", REAL_NOISE),
        "![Crops of a picture of each set: noisy, non-local means, then the rows in order, reference]"
        "(pictures/real_noise.png)",
        section("Segmentation in low light, and the ISPs to compare with", "segmentation", SEGMENTATION),
        WHY_NOT,
    ]
    (DOCS / "accuracy.md").write_text("\n\n".join(accuracy) + "\n")
    (DOCS / "speed.md").write_text("\n\n".join(speed) + "\n")
    (DOCS / "results.md").write_text("\n\n".join(results) + "\n")
    bench = read("mi_bench")
    first = next(row for row in bench["rows"] if row["steps"])
    critics = " and ".join(f"`{name}`" for name in sorted({row["critic"] for row in bench["rows"]} - {""}))
    how = f"{first['steps']} steps a level, batches of {first['batch']}, seed {first['seed']}, critics {critics}, 20 "
    how += "pairs of Gaussians; mean and standard deviation over the last 500 batches of a level."
    parts = [f"`python benchmarks/mi_bench.py`: {how}", table(stairs(bench["rows"])), table(bench["targets"])]
    region(DOCS / "information.md", "mi_bench", "\n\n".join(parts))
    region(DOCS / "operations.md", "measured", measured())


if __name__ == "__main__":
    main()
