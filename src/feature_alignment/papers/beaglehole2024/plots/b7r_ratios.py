"""Figure B7's first task with speed limits of several ratios."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from feature_alignment.plots import style

COLUMNS = ("method", "ratio")
OVER_SGD = "beaglehole2024.b7r.ratio{}.over-sgd"
FIRST = "linear1"


def figure(table: pd.DataFrame) -> Figure:
    """Draw losses, UC-NFA of the first layer against them, and what the ratios change."""
    drawn, [[loss, ansatz], [gain, level]] = style.panels(2, 2)
    courses = table[table["epoch"].notna()]
    for number, method in enumerate(courses["method"].unique()):
        own, colour = style.select(courses, method=method), style.hue(number)
        losses = style.select(own, measure="relative_loss", split="train")
        name = "SGD" if method == "sgd" else method.replace("ratio_", "ratio ")
        style.draw_band(loss, losses, "epoch", colour, name, 0.12, scale="log")
        first = style.select(own, measure="uc_nfa_pearson", layer=FIRST)
        both = first.merge(losses, on=["seed", "epoch"], suffixes=("", "_loss"))
        for _, rows in both.groupby("seed"):
            ansatz.plot(rows["value_loss"], rows["value"], color=colour, linewidth=0.8)
    loss.set(yscale="log", xlabel="epoch", ylabel="relative training loss")
    ansatz.set(xscale="log", xlabel="relative training loss", ylabel="UC-NFA, layer 1")
    ansatz.invert_xaxis()
    ansatz.xaxis.set_minor_formatter(NullFormatter())  # labels would touch
    ratios = sorted(map(int, table["ratio"].dropna().unique()))
    for place, ratio in enumerate(ratios):
        rows = style.select(table, ratio=ratio, layer=FIRST)
        style.draw_seeds(
            gain, place, style.select(rows, measure="uc_nfa_gain")["value"], style.hue(place + 1)
        )
    for place, method in enumerate(["sgd", *(f"ratio_{ratio}" for ratio in ratios)]):
        rows = style.select(table, method=method, measure="matched_uc_nfa_pearson", layer=FIRST)
        style.draw_seeds(level, place, rows["value"], style.hue(place))
    style.draw_claimed(gain, list(map(OVER_SGD.format, ratios)), 0, told=None)
    gain.set_xticks(range(len(ratios)), map(str, ratios))
    gain.set(xlabel="ratio of speeds", ylabel="UC-NFA, layer 1,\nminus SGD, same loss")
    level.set_xticks(range(len(ratios) + 1), ["SGD", *map(str, ratios)])
    level.set(xlabel="ratio of speeds", ylabel="UC-NFA, layer 1,\nsame loss of all")
    style.legend(drawn, style.line("claimed bound", "0.15", "--"), columns=5, size=6)
    return drawn
