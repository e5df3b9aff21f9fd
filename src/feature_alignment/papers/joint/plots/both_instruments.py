"""Label alignment and the neural feature ansatz of the same layers along one training."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.plots import style

COLUMNS = ("network",)
NETWORKS = {"fully_connected": "MLP", "vgg11": "VGG-11"}
COURSES = {
    "alignment": "alignment with labels",
    "uc_nfa_pearson": "UC-NFA",
    "c_nfa_pearson": "C-NFA",
}


def figure(table: pd.DataFrame) -> Figure:
    """Draw, a row per network, both instruments against time and against each other at the end."""
    networks = list(table["network"].unique())
    drawn, grid = style.panels(len(networks), 4)
    train = style.select(table[table["layer"].notna()], split="train")
    for row, network in zip(grid, networks, strict=True):
        own = style.select(train, network=network)
        layers = list(own["layer"].unique())
        colours = {layer: style.hue(k) for k, layer in enumerate(layers)}
        for panel, (measure, name) in zip(row, COURSES.items(), strict=False):
            for place, (layer, colour) in enumerate(colours.items(), start=1):
                rows = style.select(own, measure=measure, layer=layer)
                style.draw_band(panel, rows, "epoch", colour, f"layer {place}")
            panel.set(xlabel="epoch", ylabel=name)
        row[0].set_title(NETWORKS.get(network, network))
        row[0].legend(fontsize=5)
        _draw_end(row[3], own, colours)
    return drawn


def _draw_end(panel: Axes, own: pd.DataFrame, colours: dict[str, str]) -> None:
    """Draw UC-NFA (full) and C-NFA (open) against the alignment at the end, a point per seed."""
    ends = own[own["epoch"] == own["epoch"].max()]
    wide = ends.pivot(index=["seed", "layer"], columns="measure", values="value").reset_index()
    for layer, colour in colours.items():
        rows = style.select(wide, layer=layer)
        panel.plot(rows["alignment"], rows["uc_nfa_pearson"], "o", ms=3.5, color=colour)
        panel.plot(rows["alignment"], rows["c_nfa_pearson"], "o", ms=3.5, mfc="none", color=colour)
    panel.set(xlabel="alignment at the end", ylabel="UC-NFA (full), C-NFA (open)")
