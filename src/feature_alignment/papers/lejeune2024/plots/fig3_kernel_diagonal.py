"""Figure 3: the diagonal of the path-averaged kernel against the teacher's output."""

import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from feature_alignment.papers.lejeune2024.plots.kernels import TARGETS
from feature_alignment.plots import style

COLUMNS = ("target",)
ARRAYS = {
    "targets": ("target",),
    "y": ("image",),
    "diagonal_averaged": ("target", "image"),
    "diagonal_initial": ("image",),
}
KINDS = {"averaged": (r"$\bar K$", "blue"), "initial": ("$K_0$", "grey")}


def figure(table: pd.DataFrame, arrays: dict[str, NDArray]) -> Figure:
    """Draw the diagonals of the first seed by target, and all seeds' ratios near to far."""
    drawn, [panels] = style.panels(1, len(TARGETS) + 1)
    for panel, (target, name) in zip(panels, TARGETS.items(), strict=False):
        index = list(arrays["targets"]).index(target)
        for kind, (label, colour) in KINDS.items():
            diagonal = arrays[f"diagonal_{kind}"]
            values = diagonal if diagonal.ndim == 1 else diagonal[index]
            hue = style.COLOURS[colour]
            panel.plot(arrays["y"], values, ".", ms=2.5, color=hue, label=label)
        panel.set(xlabel="teacher's output y", title=f"student of {name}", ylim=(0, None))
    panels[0].set_ylabel("diagonal of the kernel")
    panels[0].legend(fontsize=6)
    for place, target in enumerate(TARGETS):
        own = style.select(table, target=target, measure="peak_ratio")
        panels[-1].plot([place] * len(own), own["value"], "o", ms=3.5, color=style.COLOURS["blue"])
    panels[-1].axhline(1, color="0.3", linewidth=0.8)
    panels[-1].set_xticks(range(len(TARGETS)), TARGETS.values())
    panels[-1].set(
        ylabel=r"median of $\bar K$'s diagonal," "\n|y| < 0.25 over |y| > 0.75",
        xlim=(-0.5, len(TARGETS) - 0.5),
        ylim=(0, None),
    )
    return drawn
