"""A rival: the features at convergence next to the ansatz, with and without weight decay."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.plots import style

COLUMNS = ("weight_decay",)
COURSES = {
    "fact_pearson": "FACT",
    "uc_nfa_pearson": "UC-NFA",
    "best_uc_nfa_pearson": "UC-NFA, best power",
}
RIVALS = {
    "uc_nfa_pearson": ("UC-NFA", "joint.r1.decay.fact-above-nfa"),
    "best_uc_nfa_pearson": ("best power", "joint.r1.decay.fact-above-best-power"),
}
CHANGES = {
    "fact_pearson": ("FACT", "joint.r1.decay-raises-fact"),
    "uc_nfa_pearson": ("UC-NFA", "joint.r1.decay-raises-nfa"),
}
BOUND, FITS = 0.9, 0.99
APART = (-0.15, 0.15)


def figure(table: pd.DataFrame) -> Figure:
    """Draw the correlations in time, and at the end what is judged, per hidden layer."""
    drawn, [above, below] = style.panels(2, 4)
    layers = sorted(table["layer"].dropna().unique())
    colours = dict(zip(layers, style.shades(len(layers)), strict=True))
    for panel, (measure, name) in zip(above, COURSES.items(), strict=False):
        for layer, colour in colours.items():
            own = style.select(table, measure=measure, layer=layer)
            for decays, dashes in ((True, "-"), (False, "--")):
                rows = own[(own["weight_decay"] > 0) == decays]
                label = f"layer {layer.removeprefix('linear')}" if decays else None
                style.draw_band(panel, rows, "epoch", colour, label, 0.12, linestyle=dashes)
        panel.set(title=name, xlabel="epoch", ylim=(None, 1.02))
    above[0].set_ylabel("correlation with NFM")
    above[3].set_yscale("log")
    for layer, colour in colours.items():
        rows = style.select(table, measure="distance_from_rest", layer=layer)
        style.draw_band(above[3], rows, "epoch", colour, None, 0.12)
    above[3].set(title="distance from rest", xlabel="epoch")
    ends = table[table["epoch"] == table["epoch"].max()]
    for place, (layer, colour) in enumerate(colours.items(), start=1):
        own = style.select(ends, layer=layer)
        decayed, plain = (
            own[(own["weight_decay"] > 0) == decays].pivot(
                index="seed", columns="measure", values="value"
            )
            for decays in (True, False)
        )
        style.draw_seeds(below[0], place, decayed["fact_pearson"], colour, scale="fisher")
        for side, measure in enumerate(RIVALS):
            more = decayed["fact_pearson"] - decayed[measure]
            style.draw_seeds(below[1], place + APART[side], more, style.hue(side))
        for side, measure in enumerate(CHANGES):
            change = decayed[measure] - plain[measure]
            style.draw_seeds(below[2], place + APART[side], change, style.hue(side))
    style.draw_claimed(below[0], "joint.r1.decay.fact-holds", BOUND)
    style.draw_claimed(below[1], [claim for _, claim in RIVALS.values()], 0, told=None)
    style.draw_claimed(below[2], [claim for _, claim in CHANGES.values()], 0, told=None)
    fits = style.select(ends, measure="accuracy", split="train")
    for place, (_, rows) in enumerate(fits.groupby("weight_decay")):
        style.draw_seeds(below[3], place, rows["value"], style.hue(0))
    style.draw_claimed(below[3], "joint.r1.interpolates", FITS)
    below[3].set(title="training accuracy", xlim=(-0.6, 1.6))
    below[3].set_xticks(range(2), ["without", "with decay"])
    titles = ("FACT, decay", "FACT minus, decay", "decay minus none")
    for panel, title in zip(below, titles, strict=False):
        panel.set(title=title, xlabel="layer", xlim=(0.4, len(layers) + 0.6))
        panel.set_xticks(range(1, len(layers) + 1))
    _tell(below[1], [name for name, _ in RIVALS.values()])
    _tell(below[2], [name for name, _ in CHANGES.values()])
    full, dashed = style.line("weight decay"), style.line("none", dashes="--")
    style.legend(drawn, full, dashed, style.line("claimed bound", "0.15", "--"), columns=8, size=6)
    return drawn


def _tell(panel: Axes, names: list[str]) -> None:
    """Say in a panel which colour is which."""
    for place, name in enumerate(names):
        options = {"color": style.hue(place), "fontsize": 6, "transform": panel.transAxes}
        panel.text(0.03, 0.95 - 0.1 * place, name, va="top", **options)
