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
COMPARISONS = (  # prefix of the measures, protocol, how it is called
    ("published_", "published", "the paper's\nfigure"),
    ("", "published", "new images\nevery epoch"),
    ("", "corrected", "one subset"),
    ("", "corrected-oracle", "one subset,\non test"),
    ("exact_", "corrected", "one subset,\nexact ridge"),
)
CLAIMED = 10


def figure(table: pd.DataFrame) -> Figure:
    """Draw mean ratios by comparison, and with one subset ratios by number of images."""
    datasets = list(table["dataset"].unique())
    drawn, [[means, sizes]] = style.panels(1, 2, width_ratios=[3, 2], sharey=True)
    for place, dataset in enumerate(datasets):
        colour = style.COLOURS[("blue", "orange")[place]]
        name = style.dataset_name(dataset)
        own = style.select(table, dataset=dataset)
        for x, (prefix, protocol, _) in enumerate(COMPARISONS):
            rows = style.select(own, protocol=protocol).assign(n_train=x + 0.2 * (place - 0.5))
            _draw(means, rows, f"{prefix}mean_ratio", colour, name if x == 2 else None)
        rows = style.select(own, protocol="corrected")
        _draw(sizes, rows, "sample_ratio", colour, name)
    for panel in (means, sizes):
        panel.set(yscale="log")
        panel.axhline(1, color="0.3", linewidth=0.8)
        panel.axhline(CLAIMED, color="0.3", linewidth=0.8, linestyle="--")
        panel.legend(fontsize=6)
    means.set_ylabel("images fixed / images adaptive\nat equal test error")
    means.set_xticks(range(len(COMPARISONS)), [name for *_, name in COMPARISONS], fontsize=6)
    means.set_title("mean over the errors that both reach")
    sizes.set_title("one subset, selected on held-out")
    shown = style.select(table, protocol="corrected")["n_train"]
    image_axis(sizes, shown.dropna().unique())
    sizes.set_xlabel("images of adaptive features")
    means.set_yticks([0.2, 0.5, 1, 2, 5, 10])
    means.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    means.yaxis.set_minor_formatter(NullFormatter())
    return drawn


def _draw(panel: Axes, own: pd.DataFrame, measure: str, colour: str, name: str | None) -> None:
    """Draw seeds as points, bounds as triangles, and the interval over seeds as a bar."""
    measured = own.groupby("measure")
    for ending, mark in MARKS.items():
        if measure + ending in measured.groups:
            rows = measured.get_group(measure + ending)
            label = None if name is None else name + LABELS[ending]
            options = {"color": colour, "ms": 3.5, "alpha": 0.7, "label": label}
            panel.plot(rows["n_train"], rows["value"], mark, **options)
    if f"{measure}_low" in measured.groups:
        low, high = (
            measured.get_group(f"{measure}_{end}").set_index("n_train")["value"]
            for end in ("low", "high")
        )
        panel.vlines(low.index, low, high[low.index], color=colour, linewidth=1.5)
