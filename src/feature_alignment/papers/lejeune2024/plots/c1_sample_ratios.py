"""Control C1: how many times as many images fixed features need as adaptive ones."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from feature_alignment.papers.lejeune2024.plots.models import image_axis
from feature_alignment.plots import style

COLUMNS = ("dataset", "protocol", "n_train")
MARKS = {"": "o", "_above": "^", "_below": "v"}
LABELS = {"": "", "_above": ", at least", "_below": ", at most"}
COMPARISONS = (  # prefix of the measures, protocol, how it is called, ids of its claims
    ("published_", "published", "the paper's\nfigure", "figure"),
    ("", "published", "new images\nevery epoch", "published"),
    ("", "corrected", "one subset", "corrected"),
    ("", "corrected-oracle", "one subset,\non test", "corrected-oracle"),
    ("exact_", "corrected", "one subset,\nexact ridge", "exact"),
)
FEWER, TENFOLD = 1, 10
DATASETS = {"mnist": "blue", "cifar10": "orange"}


def figure(table: pd.DataFrame) -> Figure:
    """Draw mean ratios by comparison, and with one subset ratios by number of images."""
    drawn, [[means, sizes]] = style.panels(1, 2, width_ratios=[3, 2], sharey=True)
    for panel in (means, sizes):
        panel.set(yscale="log")
    datasets = [dataset for dataset in DATASETS if dataset in set(table["dataset"])]
    for place, dataset in enumerate(datasets):
        colour, name = style.COLOURS[DATASETS[dataset]], style.dataset_name(dataset)
        own = style.select(table, dataset=dataset)
        for x, (prefix, protocol, _, _) in enumerate(COMPARISONS):
            rows = style.select(own, protocol=protocol, measure=f"{prefix}mean_ratio")
            at = x + 0.24 * (place - 0.5)
            if prefix == "published_":
                style.draw_paper(means, at, rows["value"].mean(), label="read off the paper")
                means.plot(at, rows["value"].mean(), "o", ms=8, mfc="none", color=colour)
            elif not rows.empty:
                style.draw_seeds(means, at, rows["value"], colour, name)
        _draw_sizes(sizes, style.select(own, protocol="corrected"), colour)
    for x, (*_, comparison) in enumerate(COMPARISONS):
        across = (x - 0.42, x + 0.42)
        ids = [f"lejeune2024.c1.{comparison}.{dataset}" for dataset in datasets]
        if comparison in ("figure", "published"):
            claims = [f"{name}.tenfold" for name in ids]
            style.draw_claimed(means, claims, TENFOLD, across=across, told=None)
        if comparison != "figure":
            claims = [f"{name}.fewer" for name in ids]
            style.draw_claimed(means, claims, FEWER, across=across, told=None)
    sizes.axhline(FEWER, color="0.3", linewidth=0.8)
    means.set_ylabel("images fixed / images adaptive\nat equal test error")
    means.set_xticks(range(len(COMPARISONS)), [name for _, _, name, _ in COMPARISONS], fontsize=6)
    means.set_title("mean over the errors that both reach", fontsize=7)
    sizes.set_title("one subset, selected on held-out", fontsize=7)
    shown = style.select(table, protocol="corrected")["n_train"]
    image_axis(sizes, shown.dropna().unique())
    sizes.set_xlabel("images of adaptive features")
    means.set_yticks([0.2, 0.5, 1, 2, 5, 10])
    means.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    means.yaxis.set_minor_formatter(NullFormatter())
    marks = [
        style.line(f"a seed{LABELS[ending]}", "0.3", "", mark)
        for ending, mark in MARKS.items()
        if ending
    ]
    style.legend(drawn, *marks, style.line("claimed: ≥ 1, ≥ 10", "0.15", "--"), columns=7)
    return drawn


def _draw_sizes(panel: Axes, own: pd.DataFrame, colour: str) -> None:
    """Draw ratios at every number of images, and bounds of seeds that have no ratio."""
    for n, rows in own[own["n_train"].notna()].groupby("n_train"):
        values = style.select(rows, measure="sample_ratio")["value"]
        if len(values):
            style.draw_seeds(panel, n, values, colour)
        for ending, mark in MARKS.items():
            bounds = style.select(rows, measure=f"sample_ratio{ending}")["value"]
            if ending and len(bounds):
                panel.plot([n] * len(bounds), bounds, mark, color=colour, ms=3.5, alpha=0.7)
