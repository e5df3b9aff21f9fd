"""Appendix: easy against difficult examples in networks of several depths."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.baratin2021.plots.easy_difficult import easy_difficult_figure
from feature_alignment.plots import style

COLUMNS = ("depth",)
SUMMARIES = {
    "maximum_ratio": "greatest ratio\neasy / difficult",
    "onset_step": "step at which\nalignment starts",
    "rise_factor": "step at 3/4 of the rise\nover step at 1/4",
}
"""What is judged: that the first two grow with depth and the last falls."""


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracies, alignments and their ratio by depth, and what is judged against depth."""
    depths = sorted(table["depth"].unique())
    titles = {depth: f"{depth} hidden layers" for depth in depths}
    drawn, axes = easy_difficult_figure(table, "depth", titles, more=1)
    *summaries, slot = axes[-1]
    for panel, (measure, name) in zip(summaries, SUMMARIES.items(), strict=False):
        panel.set_yscale("log")
        rows = style.select(table, measure=measure)
        for depth in depths:
            values = style.select(rows, depth=depth)["value"]
            style.draw_seeds(panel, depth, values, style.COLOURS["green"])
        panel.set(xlabel="hidden layers", xticks=depths)
        panel.set_title(name, fontsize=7)
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter("")
    style.legend(drawn, slot=slot)
    return drawn
