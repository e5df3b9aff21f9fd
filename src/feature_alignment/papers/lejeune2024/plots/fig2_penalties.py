"""Figure 2: penalties on the factors, and the penalties they amount to."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from feature_alignment.plots import style

COLUMNS = ("v",)
CURVES = {"w1": "blue", "w2": "orange", "w3": "green"}
LABELS = {"w1": "$w_1$", "w2": "$w_2$", "w3": "$w_3$"}


NOTEBOOK = {
    "w3": 0.581438,
    "effective_w1": 1.868842,
    "effective_w2": 2.000253,
    "effective_w3": 1.539572,
}
"""Values at 2 in the authors' notebook, which minimises over a grid."""
AT, TOLERANCE, CROSSING = 2, 3e-4, (2, 3)


def figure(table: pd.DataFrame) -> Figure:
    """Draw the penalties (left) and the effective penalties next to the ridge penalty (right)."""
    drawn, [[left, right]] = style.panels(1, 2)
    for name, colour in CURVES.items():
        for axes, measure in ((left, name), (right, f"effective_{name}")):
            rows = style.select(table, measure=measure)
            label = LABELS[name] if axes is left else None
            axes.plot(rows["v"], rows["value"], color=style.COLOURS[colour], label=label)
    ridge = style.select(table, measure="ridge")
    right.plot(ridge["v"], ridge["value"], color="0.4", linestyle="--", label="ridge, $v^2$")
    for measure, value in NOTEBOOK.items():
        axes = right if measure.startswith("effective") else left
        style.draw_paper(axes, AT, value, label="the authors' notebook")
        claim = f"lejeune2024.fig2.{measure.replace('_', '-')}-value"
        near = (AT - 0.1, AT + 0.1)
        style.draw_claimed(axes, claim, value - TOLERANCE, value + TOLERANCE, across=near)
    style.draw_claimed(right, "lejeune2024.fig2.w1-crosses-w2", *CROSSING, along="x")
    top = style.select(table, measure="effective_w1")["value"].max()
    left.set(xlabel="scaling $z$", ylabel="penalty $w(z)$", ylim=(0, top))
    right.set(xlabel="coefficient $v$", ylabel=r"effective penalty $\tilde{w}(v)$", ylim=(0, top))
    crossing = Patch(color="0.5", alpha=0.3, linewidth=0)
    crossing.set_label(r"claimed: $\tilde{w}_1$, $\tilde{w}_2$ cross")
    style.legend(drawn, crossing)
    return drawn
