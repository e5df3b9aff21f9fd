"""One look for every figure: sizes, colours, names of datasets, seeds, claims and legends.

What is random is shown as it is judged: as the mean over seeds with its interval at the present
look, which is that of :mod:`feature_alignment.audit.inference`, on the scale of the claim. Axes
follow the seeds, not their intervals, which at few seeds are many times as wide. What a claim asks
for is a dashed line, or a grey area where it asks for a range; what a paper reports is a black
star.
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

from feature_alignment.audit.criterion import Scale
from feature_alignment.audit.inference import intervals as interval_ends
from feature_alignment.audit.judging import back, forth
from feature_alignment.audit.looks import LOOKS, level, look_of
from feature_alignment.plots.theme import PALETTE, THEME

INTERVALS = (
    "lines, diamonds: means over seeds; dots: seeds; bands, bars: intervals valid at every look,"
    " 95 % overall;\nbands may leave a panel, and triangles tell where bars do"
)
FARTHEST = 1e200
"""Ends of intervals farther away are drawn here, where every panel has ended."""
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
    """Say at which scale, from how many seeds and from which copies of the data a figure is.

    Where its runs come from an archive and are incomplete or of other code, that too.
    """
    parts = [f"scale: {meta['spec']['scale']}"]
    if meta.get("seeds"):
        counts = " or ".join(map(str, meta["seeds"]))
        parts.append(f"n = {counts} seed" + ("" if counts == "1" else "s"))
    for name, dataset in sorted(meta["datasets"].items()):
        if dataset["note"]:
            parts.append(f"{dataset_name(name)}: {dataset['note']}")
    return "  ·  ".join([*parts, *meta.get("notes", ())])


def intervals(values: SeriesGroupBy) -> pd.DataFrame:
    """Return the mean of each group and the ends of its interval, as they are judged.

    The interval is Student's, at the level of the last look that the number of values allows, and
    of as many values as that look has, the first ones; so is the mean. Both ends are the mean where
    there is no interval: before the first look, and where all values are alike.

    Args:
        values: One per seed in every group, in the order of seeds, on the scale of the claim.

    Returns:
        Columns ``mean``, ``low`` and ``high``, indexed by the groups.
    """
    looks = values.size().map(lambda count: look_of(int(count)))
    place = values.cumcount()
    found = pd.DataFrame({"mean": values.mean()})
    found["low"] = found["high"] = found["mean"]
    keys = values.ngroup()
    for look in sorted(set(looks) - {0}):
        groups = np.flatnonzero(looks == look)
        judged = values.obj[keys.isin(groups) & (place < LOOKS[look - 1])]
        order = np.argsort(keys[judged.index].to_numpy(), kind="stable")
        table = judged.to_numpy(dtype=float)[order].reshape(len(groups), -1).T
        low, high = interval_ends(table, level(look))
        mean = table.mean(axis=0)
        known = np.isfinite(low)
        ends = [mean, np.where(known, low, mean), np.where(known, high, mean)]
        found.iloc[groups] = np.column_stack(ends)
    return found


def judged_on(values: pd.Series, scale: Scale, groups: object) -> pd.DataFrame:
    """Return :func:`intervals` by groups, taken on a scale and brought back from it."""
    shown = values.reset_index(drop=True).astype(float).map(lambda value: forth(value, scale))
    found = intervals(shown.groupby(np.asarray(groups)))
    return found.map(lambda value: back(value, scale)).clip(-FARTHEST, FARTHEST)


def draw_band(
    axes: Axes,
    rows: pd.DataFrame,
    x: str,
    colour: object,
    label: str | None,
    shade: float = 0.25,
    scale: Scale | None = None,
    **style: object,
) -> None:
    """Draw the mean over seeds against the column ``x``, with a band for its interval.

    Both are taken on ``scale``; if it is ``None``, of the logarithms on a logarithmic axis, where
    what has no logarithm is left out, else of the values. ``shade`` is the opacity of the band,
    which may leave the panel: limits are those of seeds.
    """
    if axes.get_xscale() == "log":
        rows = rows[rows[x] > 0]
    logarithmic = axes.get_yscale() == "log"
    if logarithmic:
        rows = rows[rows["value"] > 0]
    places = rows[x].to_numpy(dtype=float)
    found = judged_on(rows["value"], scale or ("log" if logarithmic else "plain"), places)
    axes.plot(found.index, found["mean"], color=colour, label=label, **style)
    axes.update_datalim(np.column_stack([places, rows["value"]]))
    limits = axes.dataLim.get_points().copy()
    axes.fill_between(
        found.index, found["low"], found["high"], color=colour, alpha=shade, linewidth=0
    )
    axes.dataLim.set_points(limits)
    axes.autoscale_view()


class Bar(Line2D):
    """The interval of :func:`draw_seeds`, which may leave the panel."""


def mark_cut(figure: Figure) -> None:
    """Put a triangle at the edge of a panel where a bar goes on beyond it."""
    for axes in figure.axes:
        low, high = sorted(axes.get_ylim())
        for bar in [line for line in axes.lines if isinstance(line, Bar)]:
            place, ends = bar.get_xdata()[0], bar.get_ydata()
            for out, end, marker in ((ends[0] < low, low, "v"), (ends[1] > high, high, "^")):
                if out:
                    sign = {"color": bar.get_color(), "markersize": 3.5, "markeredgewidth": 0}
                    cut = Line2D([place], [end], marker=marker, gid="cut", zorder=4, **sign)
                    axes.add_artist(cut)
                    cut.set_clip_on(False)


def draw_seeds(
    axes: Axes,
    place: float,
    values: pd.Series,
    colour: object,
    label: str | None = None,
    scale: Scale | None = None,
    gid: str | None = None,
    interval: bool = True,
) -> None:
    """Draw one value per seed as points at a place, and their mean with its interval as a bar.

    Args:
        axes: Where.
        place: On the x axis.
        values: One per seed.
        colour: Of all.
        label: For the legend.
        scale: On which mean and interval are taken, that of the claim; when ``None``, ``log`` on a
            logarithmic axis, else ``plain``.
        gid: Mark of what is drawn, for those who look for it.
        interval: Whether they are judged by an interval, unlike correlations of ranks.
    """
    values = values.to_numpy(dtype=float)
    scale = scale or ("log" if axes.get_yscale() == "log" else "plain")
    mean, low, high = judged_on(pd.Series(values), scale, np.zeros(len(values))).iloc[0]
    low, high = (low, high) if interval else (mean, mean)
    points = {"markersize": 2.5, "alpha": 0.45, "markeredgewidth": 0, "linestyle": "none"}
    axes.plot(np.full(len(values), place), values, "o", color=colour, gid=gid, **points)
    bar = {"color": colour, "label": label, "gid": gid, "linewidth": 1.4, "zorder": 3}
    axes.add_artist(Bar([place, place], [low, high], **bar))  # limits stay those of the seeds
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
