"""Figure B5: the ansatz from initial weights of several scales, and null models of it."""

from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from feature_alignment.audit.criterion import Scale
from feature_alignment.papers.beaglehole2024.plots.layers import layer_names, layer_number
from feature_alignment.plots import style

COLUMNS = ("gain", "stage")
KEYS = ["seed", "gain", "layer"]
CLAIM = "beaglehole2024.b5."
ABOVE_NULL, DOMINATES, ABOVE_UC_NULL, HALF_WAY = 0.2, 0.9, 0.05, 0.5
PANELS = {
    "uc_nfa_pearson": "UC-NFA",
    "c_nfa_pearson": "C-NFA",
    "null_c_nfa_pearson": "C-NFA, $K$ with random\neigenvectors",
    "independent_pearson": "two independent matrices",
    "above_null": "C-NFA minus that of\nrandom eigenvectors",
    "centred_share": r"centred share" "\n" r"$\mathrm{tr}(\bar F\bar G)/\mathrm{tr}(FG)$",
    "above_uc_null": "UC-NFA minus that of random eigen-\nvectors (solid), eigenvalues (dashed)",
    "uc_left_alignment": "left singular vectors of $W$:\n0 random, 1 eigenvectors of $K$",
    "c_left_alignment": "the same of $W - W(0)$",
}
NULLS = {"above_null": {"null_c_nfa_pearson": "-"}}
NULLS["above_uc_null"] = {"null_uc_nfa_pearson": "-", "permuted_uc_nfa_pearson": "--"}
"""What is taken from the correlation in a panel, and how the difference is drawn."""


def figure(table: pd.DataFrame) -> Figure:
    """Draw values at the end of training against the gain, a curve per layer."""
    final = style.select(table, stage="final")
    drawn, grid = style.panels(3, 3)
    panels = dict(zip(PANELS, [panel for row in grid for panel in row], strict=True))
    for measure, panel in panels.items():
        scale = {"centred_share": "logit"}.get(measure, "fisher" if "left" in measure else None)
        for rows, line in _curves(final, measure):
            _draw(panel, rows, scale, line)
        panel.set_title(PANELS[measure], fontsize=7)
    claim = CLAIM + "random-eigenvectors-lower"
    style.draw_claimed(panels["above_null"], claim, ABOVE_NULL)
    panels["above_null"].set_ylim(None, 2 * ABOVE_NULL)
    least = final["gain"].min()
    nulls = [
        f"{CLAIM}uncentred-above-{name}" for name in ("random-eigenvectors", "dealt-eigenvalues")
    ]
    for measure, claims, bound in (
        ("centred_share", CLAIM + "centred-part-dominates", DOMINATES),
        ("above_uc_null", nulls, ABOVE_UC_NULL),
        ("uc_left_alignment", CLAIM + "left-vectors-align", HALF_WAY),
    ):
        across = (least / 1.3, 1.3 * least)
        style.draw_claimed(panels[measure], claims, bound, across=across, told=None)
    claim = CLAIM + "left-vectors-of-change-align"
    style.draw_claimed(panels["c_left_alignment"], claim, HALF_WAY, told=None)
    for row in grid:
        row[0].set_ylabel("at the end of training")
    style.legend(drawn, style.CLAIMED)
    return drawn


def _curves(final: pd.DataFrame, measure: str) -> Iterator[tuple[pd.DataFrame, str]]:
    """Yield what a panel shows, with its style of line; nothing that the table has not."""
    if measure not in NULLS:
        rows = style.select(final, measure=measure)
        if len(rows):
            yield rows, "-"
        return
    for name, line in NULLS[measure].items():
        null = style.select(final, measure=name).set_index(KEYS)["value"]
        own = style.select(final, measure=name.partition("_")[2])
        if len(null):
            below = null[pd.MultiIndex.from_frame(own[KEYS])].to_numpy()
            yield own.assign(measure=measure, value=own["value"] - below), line


def _draw(panel: Axes, rows: pd.DataFrame, scale: Scale | None, line: str) -> None:
    panel.set_xscale("log", base=2)
    for layer in layer_names(rows):
        number = layer_number(layer)
        own, colour = style.select(rows, layer=layer), style.hue(number - 1)
        label = f"layer {number}" if line == "-" else None
        drawn = {"marker": "o", "markersize": 3, "linestyle": line}
        style.draw_band(panel, own, "gain", colour, label, scale=scale, **drawn)
    panel.set(xlabel="gain of the initial weights", ylim=(min(0, panel.get_ylim()[0]), 1.05))
    panel.xaxis.set_major_locator(FixedLocator(sorted(rows["gain"].unique())))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter("{x:g}")
