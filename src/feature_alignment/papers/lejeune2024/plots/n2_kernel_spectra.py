"""Notebook figure N2: spectra of the initial, averaged, final and adaptive kernels."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.lejeune2024.plots.kernels import KERNELS, TARGETS
from feature_alignment.plots import style

COLUMNS = ("target", "kernel", "rank")
COLOURS = {"initial": "grey", "averaged": "blue", "final": "green", "adaptive": "orange"}
NAMES = {**KERNELS, "adaptive": "$K_A$"}


def figure(table: pd.DataFrame) -> Figure:
    """Draw a column per target: eigenvalues, each divided by the trace of its kernel."""
    shares = style.select(table, measure="eigenvalue_share")
    titles = {target: f"student of {name}" for target, name in TARGETS.items()}
    titles["classes"] = "network of figure 4"
    drawn, [panels] = style.panels(1, len(titles) + 1)
    for panel, (target, title) in zip(panels, titles.items(), strict=False):
        panel.set(xscale="log", yscale="log", xlabel="rank", title=title)
        for kernel, colour in COLOURS.items():
            rows = style.select(shares, target=target, kernel=kernel)
            if not rows.empty:
                style.draw_band(panel, rows, "rank", style.COLOURS[colour], NAMES[kernel])
        panel.title.set_fontsize(7)
    gains = style.select(table, measure="alignment_gain", kernel="adaptive")["value"]
    style.draw_seeds(panels[-1], 0, gains, style.COLOURS["orange"])
    style.draw_claimed(panels[-1], "lejeune2024.n2.adapted-kernel-aligned", 0)
    panels[-1].set(xlim=(-1, 1), xticks=[])
    panels[-1].set_title("alignment, $K_A$ minus $K_0$", fontsize=7)
    style.legend(drawn, style.CLAIMED)
    panels[0].set_ylabel("eigenvalue / trace")
    return drawn
