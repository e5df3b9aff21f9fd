"""Figure 1: the path-averaged tangent kernel next to what the network learned."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from feature_alignment.papers.lejeune2024.plots.kernels import KERNELS, TARGETS
from feature_alignment.plots import style

COLUMNS = ("target",)
ARRAYS = {
    "targets": ("target",),
    "change": ("target", "image"),
    "kernel_averaged": ("target", "image", "image"),
    "kernel_final": ("target", "image", "image"),
}


PUBLISHED = {"smooth": (0.17, 0.03), "sign": (0.4, 0.05)}
"""The cosine of the averaged kernel in the paper, and the tolerance of a claim."""
ABOVE, ABOVE_CENTRED, IDENTITY = 0.1, 0.05, 0.01
CLAIM = "lejeune2024.fig1."


def figure(table: pd.DataFrame, arrays: dict[str, NDArray]) -> Figure:
    """Draw a row per target: the first seed's kernels, and the cosines of all seeds with K_y.

    Below is what else is judged: the differences of the targets, and the identity of the path.
    """
    drawn, grid = style.panels(len(TARGETS) + 1, 4)
    for place, (target, name) in enumerate(TARGETS.items()):
        index = list(arrays["targets"]).index(target)
        change = arrays["change"][index]
        shown = {
            r"$\bar K$": arrays["kernel_averaged"][index],
            r"$K_T$": arrays["kernel_final"][index],
            r"$K_y$": np.outer(change, change),
        }
        row = grid[place]
        for panel, (title, kernel) in zip(row[:3], shown.items(), strict=True):
            _draw_kernel(drawn, panel, kernel.astype(float), f"{title}, target {name}")
        _draw_cosines(row[3], style.select(table, target=target), target)
    differences, identity, *slots = grid[-1]
    _draw_differences(differences, table)
    _draw_identity(identity, table)
    slots[-1].set_axis_off()
    style.legend(drawn, style.CLAIMED, style.CLAIMED_RANGE, slot=slots[0])
    return drawn


def _draw_kernel(drawn: Figure, panel: Axes, kernel: NDArray, title: str) -> None:
    limit = float(np.quantile(np.abs(kernel), 0.99))
    image = panel.imshow(kernel, "RdBu_r", vmin=-limit, vmax=limit)
    panel.set(xticks=[], yticks=[], xlabel="images in the order of y")
    panel.set_title(title, fontsize=7)
    ticks = (-limit, 0, limit)
    bar = drawn.colorbar(image, ax=panel, location="bottom", fraction=0.06, ticks=ticks)
    bar.ax.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
    bar.ax.tick_params(labelsize=5.5)


def _draw_cosines(panel: Axes, own: pd.DataFrame, target: str) -> None:
    for offset, (prefix, label, colour) in enumerate(
        (("cosine", "as it is", "blue"), ("centered_cosine", "centred", "orange"))
    ):
        for place, kernel in enumerate(KERNELS):
            values = style.select(own, measure=f"{prefix}_{kernel}")["value"]
            x = place + 0.24 * (offset - 0.5)
            style.draw_seeds(panel, x, values, style.COLOURS[colour], label, "fisher")
    value, tolerance = PUBLISHED[target]
    averaged = list(KERNELS).index("averaged")
    across = (averaged - 0.4, averaged + 0.1)
    style.draw_claimed(
        panel, f"{CLAIM}{target}-value", value - tolerance, value + tolerance, across=across
    )
    style.draw_paper(panel, averaged - 0.3, value, label="the paper's value")
    panel.set(ylim=(0, 1), ylabel="cosine with $K_y$")
    panel.set_xticks(range(len(KERNELS)), KERNELS.values())


def _draw_differences(panel: Axes, table: pd.DataFrame) -> None:
    """Draw how much more the averaged kernel is aligned for the sign than for y."""
    kinds = (
        ("sign_minus_smooth", "blue", ABOVE, "sign-above-smooth"),
        ("centered_sign_minus_smooth", "orange", ABOVE_CENTRED, "sign-above-smooth-centred"),
    )
    for place, (measure, colour, bound, claim) in enumerate(kinds):
        values = style.select(table, measure=measure)["value"]
        style.draw_seeds(panel, place, values, style.COLOURS[colour])
        style.draw_claimed(panel, CLAIM + claim, bound, across=(place - 0.4, place + 0.4))
    panel.set_xticks((0, 1), ("as it is", "centred"))
    panel.set(xlim=(-0.6, 1.6), ylim=(0, None))
    panel.set_title(r"cosine of $\bar K$, sign $y$ minus $y$", fontsize=7)


def _draw_identity(panel: Axes, table: pd.DataFrame) -> None:
    """Draw how far the averaged gradient times the way is from the change of the outputs."""
    for place, target in enumerate(TARGETS):
        values = style.select(table, target=target, measure="path_identity_error")["value"]
        style.draw_seeds(panel, place, values, style.COLOURS["grey"])
    style.draw_claimed(panel, f"{CLAIM}path-identity", most=IDENTITY)
    panel.set_xticks(range(len(TARGETS)), TARGETS.values())
    panel.set(xlim=(-0.6, len(TARGETS) - 0.4), ylim=(0, None))
    panel.set_title("error of the path integral", fontsize=7)
