"""How the three models, and their protocols, look in every figure of the paper."""

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from feature_alignment.plots import style

COLOURS = {
    "full": style.COLOURS["green"],
    "fixed": style.COLOURS["blue"],
    "adaptive": style.COLOURS["orange"],
    "ridge": style.COLOURS["purple"],
}
NAMES = {
    "full": "network",
    "fixed": "fixed features",
    "adaptive": "adaptive features",
    "ridge": "fixed features, exact ridge",
}
PROTOCOLS = {
    "published": "new images every epoch,\nselected on test",
    "corrected": "one subset,\nselected on held-out",
    "corrected-oracle": "one subset,\nselected on test",
}


def image_axis(panel: Axes, sizes: Iterable[int]) -> None:
    """Give a panel a logarithmic x axis with a tick at every other number of images, in full."""
    panel.set_xscale("log")
    ticks = sorted(set(sizes))
    kept = ticks if len(ticks) < 5 else ticks[::2]
    panel.set_xticks(kept, [f"{int(size)}" for size in kept])
    panel.xaxis.set_minor_formatter(NullFormatter())


def error_axis(panel: Axes, which: str) -> None:
    """Give a panel a logarithmic axis of test errors, ``x`` or ``y``, with plain numbers."""
    panel.set(**{f"{which}scale": "log"})
    axis = panel.xaxis if which == "x" else panel.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def error_ticks(low: float, high: float) -> list[float]:
    """Return round test errors between two, at least about three of them."""
    coarse = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8]
    fine = [0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9]
    inside = [[tick for tick in ticks if low <= tick <= high] for ticks in (coarse, fine)]
    return inside[0] if len(inside[0]) > 2 else inside[1]
