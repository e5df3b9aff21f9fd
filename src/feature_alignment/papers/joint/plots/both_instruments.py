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
JUDGED = {"uc_nfa_rank_correlation": "UC-NFA", "c_nfa_rank_correlation": "C-NFA"}
CORRELATION = 0.5
"""What the rank correlation of either with the alignment, over layers, is claimed to be."""


def figure(table: pd.DataFrame) -> Figure:
    """Draw, a row per network, both instruments in time, one against the other, and as judged."""
    networks = list(table["network"].unique())
    drawn, grid = style.panels(len(networks), 5)
    train = style.select(table[table["layer"].notna()], split="train")
    layers = {
        network: list(style.select(train, network=network)["layer"].unique())
        for network in networks
    }
    colours = style.shades(max(map(len, layers.values())))
    for row, network in zip(grid, networks, strict=True):
        own = style.select(train, network=network)
        hues = dict(zip(layers[network], colours, strict=False))
        for panel, (measure, name) in zip(row, COURSES.items(), strict=False):
            for place, (layer, colour) in enumerate(hues.items(), start=1):
                rows = style.select(own, measure=measure, layer=layer)
                style.draw_band(panel, rows, "epoch", colour, f"layer {place}", shade=0.12)
            panel.set_xlabel("epoch")
            panel.set_ylim(None, min(1.02, panel.get_ylim()[1]))
            panel.set_title(name, fontsize=7)
        row[0].set_ylabel(NETWORKS.get(network, network))
        row[0].set_ylim(0, None)
        _draw_end(row[3], own, hues)
        _draw_judged(row[4], style.select(table, network=network), network)
    full, hollow = (
        style.line("UC-NFA", dashes="", marker="o"),
        style.line("C-NFA", dashes="", marker="o"),
    )
    hollow.set_markerfacecolor("none")
    style.legend(drawn, full, hollow, style.CLAIMED, columns=11, size=5.5)
    return drawn


def _draw_end(panel: Axes, own: pd.DataFrame, colours: dict[str, tuple]) -> None:
    """Draw UC-NFA (full) and C-NFA (open) against the alignment at the end, a point per seed."""
    ends = own[own["epoch"] == own["epoch"].max()]
    wide = ends.pivot(index=["seed", "layer"], columns="measure", values="value").reset_index()
    for layer, colour in colours.items():
        rows = style.select(wide, layer=layer)
        panel.plot(rows["alignment"], rows["uc_nfa_pearson"], "o", ms=2.5, color=colour)
        panel.plot(rows["alignment"], rows["c_nfa_pearson"], "o", ms=2.5, mfc="none", color=colour)
    panel.set(xlabel="alignment, end", ylim=(0, 1), xlim=(0, None))
    panel.set_title("UC-NFA, C-NFA, end", fontsize=7)


def _draw_judged(panel: Axes, own: pd.DataFrame, network: str) -> None:
    """Draw the rank correlations over layers at the end, with what is claimed of them."""
    for place, (measure, name) in enumerate(JUDGED.items()):
        rows = style.select(own, measure=measure)
        rows = rows[rows["epoch"] == rows["epoch"].max()]
        style.draw_seeds(panel, place, rows["value"], style.COLOURS["blue"], scale="fisher")
        claim = f"joint.both.{network.replace('_', '-')}.{name.lower()}"
        style.draw_claimed(panel, claim, CORRELATION, across=(place - 0.45, place + 0.45))
    panel.axhline(0, color="0.3", linewidth=0.6)
    panel.set_xticks(range(len(JUDGED)), JUDGED.values(), fontsize=6)
    panel.set(xlim=(-0.6, 1.6), ylim=(-1, 1))
    panel.set_title("rank correlation", fontsize=7)
    panel.grid(axis="x", visible=False)
