"""A rival: the most aligned layer with dropout and with label noise."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.audit.judging import Rows
from feature_alignment.plots import style

COLUMNS = ("noise", "strength", "layer_index")
NOISES = {"dropout": "dropout", "label noise": "label-noise"}
NEAR, RISE, FITTED = 1, 1.1, 0.1


def figure(table: pd.DataFrame) -> Figure:
    """Draw alignment by layer for every noise, and below what is judged."""
    drawn, [above, below] = style.panels(2, 3)
    ends = table[table["epoch"] > 0]
    for number, (panel, noise) in enumerate(zip(above, NOISES, strict=False)):
        own = table[(table["noise"] == noise) & table["layer_index"].notna()]
        start = own[(own["epoch"] == 0) & (own["strength"] == 0)]
        style.draw_band(panel, start, "layer_index", "0.5", "untrained", linestyle="--")
        trained = own[own["epoch"] > 0].groupby("strength")
        for (strength, rows), colour in zip(trained, _colours(number), strict=False):
            label = f"{noise} {strength:g}" if strength else "without noise"
            style.draw_band(panel, rows, "layer_index", colour, label)
        panel.set(title=noise, xlabel="layer", ylabel="alignment", ylim=(0, None))
        panel.xaxis.get_major_locator().set_params(integer=True)
    moves, centres, losses = below
    _draw_rise(above[2], ends)
    _draw_by_noise(moves, ends, "peak_move")
    style.draw_claimed(moves, _claims("peak-stays"), -NEAR, NEAR)
    moves.set(title="move of the most aligned layer", ylabel="layers")
    _draw_by_noise(centres, ends, "alignment_centre")
    for number, noise in enumerate(NOISES):
        without = style.select(ends, noise=noise, strength=0, measure="alignment_centre")
        across = (3.5 * number - 0.4, 3.5 * number + 2.4)
        bound = without["value"].mean()
        style.draw_claimed(
            centres, _claims("earlier")[number], most=bound, across=across, told=None
        )
    centres.set(title="mean layer, by alignment", ylabel="layer")
    _draw_by_noise(losses, style.select(ends, split="train"), "loss")
    style.draw_claimed(losses, "joint.r4.equal-loss", most=FITTED)
    losses.set(title="training loss", ylim=(0, None))
    style.legend(drawn, style.CLAIMED, style.CLAIMED_RANGE, columns=4, size=6)
    return drawn


def _claims(name: str) -> list[str]:
    return [f"joint.r4.{noise}.{name}" for noise in NOISES.values()]


def _colours(number: int) -> list:
    """Return the colours of the strengths of a noise, the same without noise."""
    hues = {0: ("sky", "blue"), 1: ("orange", "red")}[number]
    return ["0.15", *(style.COLOURS[name] for name in hues)]


def _draw_by_noise(panel: Axes, rows: pd.DataFrame, measure: str) -> None:
    """Draw the seeds of every noise and strength, the noises side by side."""
    ticks = {}
    for number, noise in enumerate(NOISES):
        own = style.select(rows, noise=noise, measure=measure).groupby("strength")["value"]
        for shift, ((strength, values), colour) in enumerate(
            zip(own, _colours(number), strict=False)
        ):
            place = 3.5 * number + shift
            style.draw_seeds(panel, place, values, colour)
            ticks[place] = f"{strength:g}"
    panel.set_xticks(list(ticks), list(ticks.values()))
    panel.set(xlabel="dropout                label noise", xlim=(-0.7, 6.2))
    panel.grid(axis="x", visible=False)


def _draw_rise(panel: Axes, ends: pd.DataFrame) -> None:
    """Draw by how much the layer that other seeds find most aligned exceeds both ends."""
    own = style.select(ends[ends["layer_index"].notna()], noise="dropout", strength=0)
    judged = Rows(own)
    curves = judged.curves("alignment", "layer_index", (), None)
    higher = curves.first().combine(curves.last(), max)
    highest = judged.extreme_by_others("alignment", "layer_index", (), None, "max")
    style.draw_seeds(panel, 0, highest / higher, "0.15", scale="log")
    style.draw_claimed(panel, "joint.r4.interior-maximum", RISE)
    panel.set(title="most aligned / higher end", xlim=(-1, 1))
    panel.set_xticks([0], ["without noise"])
