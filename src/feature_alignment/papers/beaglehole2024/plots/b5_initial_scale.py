"""Figure B5: the ansatz from initial weights of several scales, and a null model."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.beaglehole2024.plots.layers import (
    layer_colour,
    layer_names,
    layer_number,
)
from feature_alignment.plots import style

COLUMNS = ("gain", "stage")
PANELS = {
    "UC-NFA": {"uc_nfa_pearson": "-"},
    "C-NFA (full), with random eigenvectors\n(dashed), independent (dotted)": {
        "c_nfa_pearson": "-",
        "null_c_nfa_pearson": "--",
        "independent_pearson": ":",
    },
    r"centred share $\mathrm{tr}(\bar F\bar G)/\mathrm{tr}(FG)$": {"centred_share": "-"},
}


def figure(table: pd.DataFrame) -> Figure:
    """Draw values at the end of training against the gain, a curve per layer."""
    final = style.select(table, stage="final")
    drawn, [panels] = style.panels(1, len(PANELS))
    for panel, (title, measures) in zip(panels, PANELS.items(), strict=True):
        panel.set_xscale("log", base=2)
        for measure, dashes in measures.items():
            own = style.select(final, measure=measure)
            for layer in layer_names(own):
                style.draw_band(
                    panel,
                    style.select(own, layer=layer),
                    "gain",
                    layer_colour(layer),
                    f"layer {layer_number(layer)}" if dashes == "-" else None,
                    linestyle=dashes,
                    marker=".",
                )
        panel.set(xlabel="gain of the initial weights", ylim=(min(0, panel.get_ylim()[0]), 1.05))
        panel.set_title(title, fontsize=7)
    panels[0].set_ylabel("correlation at the end")
    panels[0].legend(fontsize=6)
    return drawn
