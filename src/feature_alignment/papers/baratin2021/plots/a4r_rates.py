"""Appendix: alignment with clean labels at four learning rates."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullFormatter

from feature_alignment.papers.baratin2021.plots.noise import SPLIT_ENTRIES, SPLITS, steps_axis
from feature_alignment.plots import style

COLUMNS = ("learning_rate",)
ROWS = {"accuracy": "accuracy", "alignment": "alignment"}
NEW = {0.001: "10", 0.0055: "55"}
"""What claims call the learning rates that figures 2, 3 and a4 do not have."""
RISE = 2


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy and alignment against the step, and against the step times the learning rate.

    Last, the step at which half of the rise of the alignment is done against the learning rate.
    """
    drawn, axes = style.panels(len(ROWS), 3)
    rates = sorted(table["learning_rate"].unique())
    colours = dict(zip(rates, style.shades(len(rates)), strict=True))
    for (measure, name), row in zip(ROWS.items(), axes, strict=True):
        for scaled, panel in enumerate(row[:2]):
            steps_axis(panel)
            panel.xaxis.set_minor_formatter(NullFormatter())
            for rate, colour in colours.items():
                rows = style.select(table, learning_rate=rate, measure=measure)
                rows = rows.assign(step=rows["step"] * (rate if scaled else 1))
                for split, dashes in SPLITS.items():
                    own = style.select(rows, split=split)
                    style.draw_band(panel, own, "step", colour, None, linestyle=dashes)
            panel.set(ylabel=name, ylim=(0, 1.02 if measure == "accuracy" else None))
            if scaled:
                panel.set_xlabel(r"SGD step $\cdot\;\eta$", labelpad=1)
    rises, onsets = (row[2] for row in axes)
    for place, (rate, colour) in enumerate(colours.items()):
        rows = style.select(table, learning_rate=rate, split="train")
        style.draw_seeds(rises, place, _rise(rows), colour)
        onset = style.select(rows, measure="onset_step").set_index("seed")["value"]
        style.draw_seeds(onsets, place, onset, colour)
        if rate in NEW:
            claim = f"baratin2021.a4r.rate{NEW[rate]}.alignment-rises"
            style.draw_claimed(rises, claim, RISE, across=(place - 0.4, place + 0.4))
    for panel, name in (
        (rises, "highest over first\nalignment (train)"),
        (onsets, "step of half rise"),
    ):
        panel.set_yscale("log")
        panel.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
        panel.set(xlabel=r"learning rate $\eta$", ylabel=name, xlim=(-0.6, len(rates) - 0.4))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.4)))
        panel.grid(axis="x", visible=False)
    entries = [style.line(f"$\\eta = {rate:g}$", colour) for rate, colour in colours.items()]
    style.legend(drawn, *entries, *SPLIT_ENTRIES, style.CLAIMED, columns=7)
    return drawn


def _rise(rows: pd.DataFrame) -> pd.Series:
    """Return, for each seed, the highest alignment over the first."""
    curves = style.select(rows, measure="alignment").sort_values("step").groupby("seed")["value"]
    return curves.max() / curves.first()
