"""Figure 2: penalties on the factors, and the penalties they amount to."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.plots import style

COLUMNS = ("v",)
CURVES = {"w1": "blue", "w2": "orange", "w3": "green"}
LABELS = {"w1": "$w_1$", "w2": "$w_2$", "w3": "$w_3$"}


def figure(table: pd.DataFrame) -> Figure:
    """Draw the penalties (left) and the effective penalties beside the ridge penalty (right)."""
    drawn, [[left, right]] = style.panels(1, 2)
    for name, colour in CURVES.items():
        for axes, measure in ((left, name), (right, f"effective_{name}")):
            rows = style.select(table, measure=measure)
            label = LABELS[name] if axes is left else rf"$\tilde{{w}}_{name[1]}$"
            axes.plot(rows["v"], rows["value"], color=style.COLOURS[colour], label=label)
    ridge = style.select(table, measure="ridge")
    right.plot(ridge["v"], ridge["value"], color="0.4", linestyle="--", label="$v^2$")
    top = style.select(table, measure="effective_w1")["value"].max()
    left.set(xlabel="scaling $z$", ylabel="penalty $w(z)$", ylim=(0, top))
    right.set(xlabel="coefficient $v$", ylabel=r"effective penalty $\tilde{w}(v)$", ylim=(0, top))
    for axes in (left, right):
        axes.legend()
    return drawn
