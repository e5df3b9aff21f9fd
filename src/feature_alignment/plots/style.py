"""One look for every figure: sizes, colours, names of datasets, seeds, claims and legends.

What is random is shown as it is judged: as the mean over seeds with its 95 % interval, Student's t,
which is that of :mod:`feature_alignment.audit.judging`. What a claim asks for is a dashed line, or
a grey area where it asks for a range; what a paper reports is a black star.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from string import ascii_lowercase

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from pandas.api.typing import SeriesGroupBy
from scipy import special

from feature_alignment.plots.theme import PALETTE, THEME

CONFIDENCE = 0.95
INTERVALS = "lines, diamonds: means over seeds; bands, bars: their 95 % intervals; dots: seeds"
WIDTH_IN = 7.0
PANEL_HEIGHT_IN = 1.75
COLOURS = dict(
    zip(
        ("blue", "orange", "green", "red", "purple", "brown", "pink", "grey", "yellow", "sky"),
        PALETTE,
        strict=True,
    )
)
DATASET_NAMES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "svhn": "SVHN",
    "stl10": "STL-10",
    "gtsrb": "GTSRB",
    "photo_patches": "photo patches",
}


@contextmanager
def own_style() -> Iterator[None]:
    """Draw and save with the project's settings of matplotlib alone, then with the old ones again.

    Nothing is taken over from a ``matplotlibrc``, a style in use, or a notebook.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        plt.rcParams.update(
            {
                **THEME,
                "axes.prop_cycle": matplotlib.cycler(color=PALETTE),
                "axes.grid": True,
                "axes.spines.right": False,
                "axes.spines.top": False,
                "figure.constrained_layout.use": True,
                "font.family": "DejaVu Sans",
                "grid.linewidth": 0.4,
                "legend.frameon": False,
                "lines.linewidth": 1.2,
                "pdf.fonttype": 42,
                "savefig.dpi": 150,
            }
        )
        yield


def panels(rows: int, columns: int, **options: object) -> tuple[Figure, list]:
    """Return a figure of the standard width and its axes, row by row."""
    height = PANEL_HEIGHT_IN * rows + 0.6
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH_IN, height), squeeze=False, **options)
    return figure, [list(row) for row in axes]


def dataset_name(name: str) -> str:
    """Return a dataset's name as it is usually written; one not known here keeps its own."""
    return DATASET_NAMES.get(name, name)


def hue(place: int) -> str:
    """Return the colour of the curve in a place (0, 1, …); yellow and sky are too faint."""
    return list(COLOURS.values())[place % 8]


def shades(count: int, end: float = 0.9, colours: str = "viridis") -> list[tuple]:
    """Return colours for things in an order: a colour map from its start to the share ``end``."""
    return [plt.get_cmap(colours)(end * place / max(1, count - 1)) for place in range(count)]


def select(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """Return the rows that have these values in these columns; ``None`` stands for no value."""
    for column, value in values.items():
        table = table[table[column].isna() if value is None else table[column] == value]
    return table


def footer(meta: Mapping) -> str:
    """Say at which scale, from how many seeds and from which copies of the data a figure is."""
    parts = [f"scale: {meta['spec']['scale']}"]
    if meta.get("seeds"):
        counts = " or ".join(map(str, meta["seeds"]))
        parts.append(f"n = {counts} seed" + ("" if counts == "1" else "s"))
    for name, dataset in sorted(meta["datasets"].items()):
        if dataset["note"]:
            parts.append(f"{dataset_name(name)}: {dataset['note']}")
    return "  ·  ".join(parts)


def intervals(values: SeriesGroupBy) -> pd.DataFrame:
    """Return the mean of each group and the ends of its confidence interval.

    They are mean ± t s / √n, with s the standard deviation of n values, and t the quantile of
    Student's distribution of n − 1 degrees of freedom. A single value has no interval: both ends
    are the value.

    Returns:
        Columns ``mean``, ``low`` and ``high``, indexed by the groups.
    """
    found = values.agg(["mean", "sem", "count"])
    quantile = special.stdtrit(found["count"] - 1.0, (1 + CONFIDENCE) / 2)
    half = (quantile * found["sem"]).fillna(0)
    return pd.DataFrame(
        {"mean": found["mean"], "low": found["mean"] - half, "high": found["mean"] + half}
    )


def draw_band(
    axes: Axes,
    rows: pd.DataFrame,
    x: str,
    colour: object,
    label: str | None,
    shade: float = 0.25,
    **style: object,
) -> None:
    """Draw the mean over seeds against the column ``x``, with a band for its interval.

    On a logarithmic axis both are taken of the logarithms; what has no logarithm is left out.
    ``shade`` is the opacity of the band.
    """
    if axes.get_xscale() == "log":
        rows = rows[rows[x] > 0]
    logarithmic = axes.get_yscale() == "log"
    if logarithmic:
        rows = rows[rows["value"] > 0]
    values = np.log(rows["value"]) if logarithmic else rows["value"]
    found = intervals(values.groupby(rows[x].astype(float)))
    found = np.exp(found) if logarithmic else found
    axes.plot(found.index, found["mean"], color=colour, label=label, **style)
    axes.fill_between(
        found.index, found["low"], found["high"], color=colour, alpha=shade, linewidth=0
    )


def draw_seeds(
    axes: Axes,
    place: float,
    values: pd.Series,
    colour: object,
    label: str | None = None,
    factor: bool | None = None,
    gid: str | None = None,
) -> None:
    """Draw one value per seed as points at a place, and their mean with its interval as a bar.

    Args:
        axes: Where.
        place: On the x axis.
        values: One per seed.
        colour: Of all.
        label: For the legend.
        factor: Whether mean and interval are those of the logarithms, as of what claims call a
            factor; whether the axis is logarithmic, when ``None``.
        gid: Mark of what is drawn, for those who look for it.
    """
    values = values.to_numpy(dtype=float)
    logarithmic = axes.get_yscale() == "log" if factor is None else factor
    judged = pd.Series(np.log(values) if logarithmic else values)
    found = intervals(judged.groupby(np.zeros(len(judged))))
    mean, low, high = (np.exp(found) if logarithmic else found).iloc[0]
    points = {"markersize": 2.5, "alpha": 0.45, "markeredgewidth": 0, "linestyle": "none"}
    axes.plot(np.full(len(values), place), values, "o", color=colour, gid=gid, **points)
    bar = {"color": colour, "label": label, "gid": gid, "linewidth": 1.4, "zorder": 3}
    axes.plot([place, place], [low, high], **bar)
    axes.plot([place], [mean], "D", color=colour, markersize=3.2, zorder=4, gid=gid)


def draw_claimed(
    axes: Axes,
    claims: str | Iterable[str],
    least: float | None = None,
    most: float | None = None,
    across: tuple[float, float] | None = None,
    along: str = "y",
    told: str | None = "",
    side: str = "right",
) -> None:
    """Draw what claims ask for: a dashed line at a bound, or an area for a range.

    Args:
        axes: Where.
        claims: Ids of claims, which mark what is drawn.
        least: Least value, ``None`` for none.
        most: Greatest value.
        across: From where to where along the other axis; all of it when ``None``.
        along: The axis that the values are on, ``x`` or ``y``.
        told: Words at a bound; it itself, such as ``≥ 0.5``, when empty; none when ``None``.
        side: The end of the line that the words are at, ``left`` or ``right``.
    """
    gid = claims if isinstance(claims, str) else " ".join(claims)
    upright = along == "x"
    if least is not None and most is not None:
        if across is None:
            area = axes.axvspan if upright else axes.axhspan
            area(least, most, color="0.5", alpha=0.22, linewidth=0, zorder=0.5, gid=gid)
        elif upright:
            area = {"color": "0.5", "alpha": 0.3, "linewidth": 0, "zorder": 0.5, "gid": gid}
            axes.fill_betweenx(across, least, most, **area)
        else:
            area = {"color": "0.5", "alpha": 0.3, "linewidth": 0, "zorder": 0.5, "gid": gid}
            axes.fill_between(across, least, most, **area)
        return
    for bound, sign in ((least, "≥"), (most, "≤")):
        if bound is None:
            continue
        line = {"color": "0.15", "linewidth": 0.9, "linestyle": (0, (4, 2)), "gid": gid}
        if across is None:
            (axes.axvline if upright else axes.axhline)(bound, **line)
        else:
            ends = ([bound, bound], across) if upright else (across, [bound, bound])
            axes.plot(*ends, **line)
        words = f"{sign} {bound:.3g}" if told == "" else told
        if words and not upright:
            first, last = (0.01, 0.99) if across is None else across
            end = (first if side == "left" else last, bound)
            system = axes.get_yaxis_transform() if across is None else axes.transData
            axes.annotate(
                words,
                end,
                xycoords=system,
                xytext=(0, 1.5 if sign == "≥" else -1.5),
                textcoords="offset points",
                ha=side,
                va="bottom" if sign == "≥" else "top",
                fontsize=5.5,
                color="0.15",
            )


def draw_paper(
    axes: Axes,
    x: float | Sequence[float],
    y: float | Sequence[float],
    error: float | Sequence[float] = 0.0,
    label: str | None = None,
    inside: bool = False,
) -> None:
    """Draw values that a paper reports as black stars, with how exactly they are known.

    Args:
        axes: Where.
        x: Places; from 0 at the left end to 1 at the right one if ``inside``.
        y: The paper's values.
        error: Half of the length of the bars.
        label: For the legend.
        inside: Whether places are parts of the width, of values without a place on the axis.
    """
    place = {"transform": axes.get_yaxis_transform()} if inside else {}
    bars = axes.errorbar(
        np.atleast_1d(x),
        np.atleast_1d(y),
        np.broadcast_to(error, np.shape(np.atleast_1d(y))),
        fmt="*",
        color="black",
        markersize=7,
        markeredgewidth=0,
        elinewidth=0.8,
        label=label,
        zorder=5,
        **place,
    )
    for part in (bars[0], *bars[2]):
        part.set_gid("paper")


def line(label: str, colour: object = "0.3", dashes: str = "-", marker: str = "") -> Line2D:
    """Return an entry of a legend: a line, or a marker alone where ``dashes`` is empty."""
    return Line2D(
        [], [], color=colour, linestyle=dashes or "none", marker=marker, markersize=4, label=label
    )


CLAIMED = Line2D([], [], color="0.15", linewidth=0.9, linestyle=(0, (4, 2)), label="claimed bound")
CLAIMED_RANGE = Patch(color="0.5", alpha=0.3, linewidth=0, label="claimed range")
"""Entries of a legend for what :func:`draw_claimed` draws."""


def legend(
    figure: Figure,
    *entries: Line2D | Patch,
    columns: int = 6,
    slot: Axes | None = None,
    size: float = 6.5,
) -> None:
    """Draw one legend for a figure, above it or in an empty panel, where it covers nothing.

    Args:
        figure: The figure, whose labelled curves come first, each label once.
        entries: More entries.
        columns: Entries side by side at most; one in a panel.
        slot: Panel without contents, to hold the legend.
        size: Of the letters, in points.
    """
    known: dict[str, object] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            known.setdefault(label, handle)
    for entry in entries:
        known.setdefault(entry.get_label(), entry)
    if slot is not None:
        slot.set_axis_off()
        slot.legend(known.values(), known, fontsize=size, loc="center")
    elif known:
        figure.legend(
            known.values(),
            known,
            fontsize=size,
            ncols=min(columns, len(known)),
            loc="outside upper center",
        )


def letter(figure: Figure) -> None:
    """Put (a), (b), … before the titles of the panels, unless there is but one.

    After (z) come (aa), (ab), …. Panels without axes, colour bars and those labelled ``part`` of
    another one have none.
    """
    shown = [
        axes
        for axes in figure.axes
        if axes.axison and axes.get_visible() and axes.get_label() not in ("<colorbar>", "part")
    ]
    if len(shown) < 2:
        return
    names = (first + last for first in ("", *ascii_lowercase) for last in ascii_lowercase)
    for name, axes in zip(names, shown, strict=False):
        title, size = axes.get_title(), axes.title.get_fontsize()
        axes.set_title("")
        axes.set_title(f"({name}) {title}".strip(), loc="left", fontsize=min(size, 7.5))


def draw_splits(
    axes: Axes,
    rows: pd.DataFrame,
    x: str,
    colour: object,
    lines: Mapping[str, str],
    **style: object,
) -> None:
    """Draw a band for each split, such as ``train``, in the style of line that ``lines`` gives."""
    for split, dashes in lines.items():
        draw_band(axes, select(rows, split=split), x, colour, split, linestyle=dashes, **style)
