"""Figure B5: the ansatz from initial weights of several scales, and a null model."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from feature_alignment.audit.criterion import Scale
from feature_alignment.papers.beaglehole2024.plots.layers import layer_names, layer_number
from feature_alignment.plots import style

COLUMNS = ("gain", "stage")
CLAIM = "beaglehole2024.b5."
ABOVE_NULL, DOMINATES = 0.2, 0.9
PANELS = {
    "uc_nfa_pearson": "UC-NFA",
    "c_nfa_pearson": "C-NFA",
    "null_c_nfa_pearson": "C-NFA, $K$ with random\neigenvectors",
    "independent_pearson": "two independent matrices",
    "above_null": "C-NFA minus that of\nrandom eigenvectors",
    "centred_share": r"centred share" "\n" r"$\mathrm{tr}(\bar F\bar G)/\mathrm{tr}(FG)$",
}


def figure(table: pd.DataFrame) -> Figure:
    """Draw values at the end of training against the gain, a curve per layer."""
    final = style.select(table, stage="final")
    drawn, grid = style.panels(2, 3)
    panels = dict(zip(PANELS, [panel for row in grid for panel in row], strict=True))
    for measure, panel in panels.items():
        rows = _above_null(final) if measure == "above_null" else final
        scale = "logit" if measure == "centred_share" else None
        _draw(panel, style.select(rows, measure=measure), scale)
        panel.set_title(PANELS[measure], fontsize=7)
    claim = CLAIM + "random-eigenvectors-lower"
    style.draw_claimed(panels["above_null"], claim, ABOVE_NULL)
    panels["above_null"].set_ylim(None, 2 * ABOVE_NULL)
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


def _above_null(final: pd.DataFrame) -> pd.DataFrame:
    """Return how far C-NFA lies above that with random eigenvectors, in each seed and layer."""
    keys = ["seed", "gain", "layer"]
    null = style.select(final, measure="null_c_nfa_pearson").set_index(keys)["value"]
    own = style.select(final, measure="c_nfa_pearson")
    below = null[pd.MultiIndex.from_frame(own[keys])].to_numpy()
    return own.assign(measure="above_null", value=own["value"] - below)


def _draw(panel: Axes, rows: pd.DataFrame, scale: Scale | None) -> None:
    panel.set_xscale("log", base=2)
    for layer in layer_names(rows):
        number = layer_number(layer)
        own, colour = style.select(rows, layer=layer), style.hue(number - 1)
        name = f"layer {number}"
        style.draw_band(panel, own, "gain", colour, name, scale=scale, marker="o", markersize=3)
    panel.set(xlabel="gain of the initial weights", ylim=(min(0, panel.get_ylim()[0]), 1.05))
    panel.xaxis.set_major_locator(FixedLocator(sorted(rows["gain"].unique())))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter("{x:g}")
