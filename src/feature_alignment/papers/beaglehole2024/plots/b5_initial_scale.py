"""Figure B5: the ansatz from initial weights of several scales, and a null model."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from feature_alignment.papers.beaglehole2024.plots.layers import layer_names, layer_number
from feature_alignment.plots import style

COLUMNS = ("gain", "stage")
CLAIM = "beaglehole2024.b5."
HIGH, NEAR_INDEPENDENT, DOMINATES = 0.5, 0.1, 0.9
PANELS = {
    "uc_nfa_pearson": "UC-NFA",
    "c_nfa_pearson": "C-NFA",
    "null_c_nfa_pearson": "C-NFA, $K$ with random\neigenvectors",
    "independent_pearson": "two independent matrices",
    "null_minus_independent": "random eigenvectors\nminus independent",
    "centred_share": r"centred share" "\n" r"$\mathrm{tr}(\bar F\bar G)/\mathrm{tr}(FG)$",
}


def figure(table: pd.DataFrame) -> Figure:
    """Draw values at the end of training against the gain, a curve per layer."""
    final = style.select(table, stage="final")
    drawn, grid = style.panels(2, 3)
    panels = dict(zip(PANELS, [panel for row in grid for panel in row], strict=True))
    for measure, panel in panels.items():
        _draw(panel, style.select(final, measure=measure))
        panel.set_title(PANELS[measure], fontsize=7)
    style.draw_claimed(panels["c_nfa_pearson"], CLAIM + "centred-stays-high", HIGH)
    style.draw_claimed(
        panels["null_minus_independent"],
        CLAIM + "random-eigenvectors-destroy",
        most=NEAR_INDEPENDENT,
    )
    least = final["gain"].min()
    style.draw_claimed(
        panels["centred_share"],
        CLAIM + "centred-part-dominates",
        DOMINATES,
        across=(least / 1.3, 1.3 * least),
        told=None,
    )
    for row in grid:
        row[0].set_ylabel("at the end of training")
    style.legend(drawn, style.CLAIMED)
    return drawn


def _draw(panel: Axes, rows: pd.DataFrame) -> None:
    panel.set_xscale("log", base=2)
    for layer in layer_names(rows):
        number = layer_number(layer)
        own, colour = style.select(rows, layer=layer), style.hue(number - 1)
        style.draw_band(panel, own, "gain", colour, f"layer {number}", marker="o", markersize=3)
    panel.set(xlabel="gain of the initial weights", ylim=(min(0, panel.get_ylim()[0]), 1.05))
    panel.xaxis.set_major_locator(FixedLocator(sorted(rows["gain"].unique())))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter("{x:g}")
