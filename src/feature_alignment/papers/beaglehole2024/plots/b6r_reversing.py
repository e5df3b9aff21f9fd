"""Early alignment where the inputs' covariance is turned against the labels."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.plots import style

COLUMNS = ("dimension", "width", "balance")
FALLS, WITHIN = (f"beaglehole2024.b6r.{name}" for name in ("reversed-lower", "prediction"))
TOLERANCE = 0.05
APART = 0.02


def figure(table: pd.DataFrame) -> Figure:
    """Draw observed, predicted and unrelated cosines by size, and the prediction's error."""
    sizes = table[["dimension", "width"]].drop_duplicates().to_records(index=False).tolist()
    drawn, [panels] = style.panels(1, len(sizes) + 1)
    for number, (dimension, width) in enumerate(sizes):
        own, colour = style.select(table, dimension=dimension, width=width), style.hue(number)
        observed, predicted, unrelated = (
            style.select(own, measure=f"{name}_cosine")
            for name in ("observed", "predicted", "unrelated")
        )
        panel = panels[number]
        style.draw_band(panel, observed, "balance", colour, None)
        mean = predicted.groupby("balance")["value"].mean()
        panel.plot(mean.index, mean, "x", ms=5, color=colour)
        mean = unrelated.groupby("balance")["value"].mean()
        panel.plot(mean.index, mean, ":", color=colour)
        start = observed.loc[observed["balance"] == observed["balance"].min(), "value"].mean()
        style.draw_claimed(panel, FALLS, most=start, across=(0.85, 1.0), told=None)
        panel.set(title=f"d = {dimension}, k = {width}", xlabel="balance", ylim=(0, 1.02))
        shift = APART * (number - (len(sizes) - 1) / 2)
        for balance, rows in style.select(own, measure="relative_error").groupby("balance"):
            style.draw_seeds(panels[-1], balance + shift, rows["value"], colour)
    panels[0].set_ylabel("cosine of centred\nNFM and AGOP")
    style.draw_claimed(panels[-1], WITHIN, -TOLERANCE, TOLERANCE)
    panels[-1].set(title="relative error", xlabel="balance")
    keys = [
        style.line("observed"),
        style.line("predicted", dashes="", marker="x"),
        style.line("one turned at random", dashes=":"),
        style.line("claimed bound", "0.15", "--"),
    ]
    style.legend(drawn, *keys, columns=4, size=6)
    return drawn
