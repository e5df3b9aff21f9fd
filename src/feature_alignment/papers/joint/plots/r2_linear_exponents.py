"""A rival: the power of the AGOP in linear networks of several depths."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.plots import style

COLUMNS = ("hidden_layers", "weight_decay")
CLAIMS = ("joint.r2.decay.first-layer", "joint.r2.decay.every-layer")
NEARER = "joint.r2.decay-nearer"
TOLERANCE, FITS = 0.08, 0.8
APART = 0.12


def figure(table: pd.DataFrame) -> Figure:
    """Draw powers over the predicted ones by layer and depth, and how far the first one's are."""
    drawn, [panels] = style.panels(1, 5)
    depths = sorted(table["hidden_layers"].unique())
    first, last = table["epoch"].min(), table["epoch"].max()
    decays = table["weight_decay"] > 0
    stages = {
        "untrained": table[decays & (table["epoch"] == first)],
        "no decay, end": table[~decays & (table["epoch"] == last)],
        "decay, end": table[decays & (table["epoch"] == last)],
    }
    for panel, (title, own) in zip(panels, stages.items(), strict=False):
        panel.set_yscale("log")
        for number, depth in enumerate(depths):
            shift = APART * (number - (len(depths) - 1) / 2)
            rows = style.select(own, measure="relative_exponent", hidden_layers=depth)
            for layer, values in rows.groupby("layer")["value"]:
                place = int(layer.removeprefix("linear"))
                label = f"L = {depth + 1}" if place == 1 else None
                style.draw_seeds(panel, place + shift, values, style.hue(number), label)
        panel.axhline(1, color="0.3", linewidth=0.6)
        panel.set(title=title, xlabel="layer l", xlim=(0.4, max(depths) + 0.6))
        panel.set_xticks(range(1, max(depths) + 1))
    style.draw_claimed(panels[2], CLAIMS, 1 - TOLERANCE, 1 + TOLERANCE)
    panels[0].set_ylabel("best power · (L - l + 1)")
    for number, depth in enumerate(depths):
        for offset, title in ((-0.1, "no decay, end"), (0.1, "decay, end")):
            rows = style.select(
                stages[title], measure="exponent_error", hidden_layers=depth, layer="linear1"
            )
            style.draw_seeds(panels[3], number + offset, rows["value"], style.hue(number))
        without = style.select(
            stages["no decay, end"], measure="exponent_error", hidden_layers=depth, layer="linear1"
        )["value"].mean()
        ends = (number - 0.3, number + 0.3)
        style.draw_claimed(panels[3], NEARER, most=without, across=ends, told=None)
    fits = style.select(table[table["epoch"] == last], measure="accuracy", split="train")
    for number, depth in enumerate(depths):
        for offset, own in zip((-0.1, 0.1), (False, True), strict=True):
            rows = style.select(fits[(fits["weight_decay"] > 0) == own], hidden_layers=depth)
            style.draw_seeds(panels[4], number + offset, rows["value"], style.hue(number))
    style.draw_claimed(panels[4], "joint.r2.learns", FITS)
    panels[4].set_xticks(range(len(depths)), [f"L = {depth + 1}" for depth in depths])
    panels[4].set(title="training accuracy")
    panels[3].set_xticks(range(len(depths)), [f"L = {depth + 1}" for depth in depths])
    panels[3].set(title="|log(power · L)|", ylim=(0, None))
    style.legend(drawn, style.line("claimed bound", "0.15", "--"), columns=6, size=6)
    return drawn
