"""The calibration as a picture: photon transfer curve and probability plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from isp_sim.calibration import Calibration, CalibrationFault
from isp_sim.calibration.tukey import rounded_quantile

COLOURS = ("tab:red", "tab:green", "tab:olive", "tab:blue")
SITES = ("R", "G in R's rows", "G in B's rows", "B")


def draw(calibrations: Sequence[Calibration], path: Path) -> None:
    """Write a PNG: for each ISO speed the photon transfer of each site, and the read noise over its law.

    Raises
    ------
    CalibrationFault
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise CalibrationFault("the plot needs matplotlib: pip install 'isp-sim[learn]', or give --no-plot") from None
    figure = Figure(figsize=(11, 4.2 * len(calibrations)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(calibrations), 2, squeeze=False)
    for (transfer, plot), c in zip(axes, calibrations, strict=True):
        for site, colour, name in zip(c.transfer, COLOURS, SITES, strict=True):
            transfer.plot(site.means[site.used], site.variances[site.used], "o", ms=4, color=colour, label=name)
            transfer.plot(site.means[~site.used], site.variances[~site.used], "x", ms=5, color=colour)
        transfer.plot([], [], "kx", ms=5, label="near white, not used")
        most = max(float(site.means.max()) for site in c.transfer)
        x = np.array([0.0, most])
        dark = float(np.mean([site.dark_variance.value for site in c.transfer]))
        transfer.plot(x, c.gain.value * x + dark, "k-", lw=0.8, label=f"K = {c.gain} DN/e-")
        transfer.set(xlabel="mean above black [DN]", ylabel="variance [DN²]", title=f"photon transfer, ISO {c.iso:g}")
        transfer.legend(fontsize=8)
        n = len(c.darks.samples)
        theory = rounded_quantile((np.arange(n) + 0.5) / n, c.darks.shape.value, c.darks.scale.value, 1.0)
        plot.plot(theory, c.darks.samples, ".", ms=3, color="tab:blue")
        ends = np.array([theory[0], theory[-1]])
        plot.plot(ends, ends, "k-", lw=0.8)
        label = (
            f"shape {c.darks.shape}\nscale {c.darks.scale} DN\nrows {c.darks.row} DN\nPPCC {c.darks.correlation:.5f}"
        )
        plot.text(0.04, 0.96, label, transform=plot.transAxes, va="top", fontsize=8)
        plot.set(xlabel="quantile of the law [DN]", ylabel="read noise [DN]", title=f"probability plot, ISO {c.iso:g}")
    figure.savefig(path, dpi=100)
