"""Draw a paper's claims as a forest plot: how far beyond its bound each effect lies."""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment import command
from feature_alignment.audit.ledger import read_ledger
from feature_alignment.plots import draw, style
from feature_alignment.publish.documents import severity

ROW_IN = 0.17
COLOURS = {
    "supported": "green",
    "equivalent": "blue",
    "contradicted": "red",
    "at threshold": "orange",
    "open": "grey",
}
LABELS = {
    "one-sided": "distance beyond the bound, in margins (in standard deviations over seeds, *)",
    "two-sided": "distance from the middle of two bounds, in tolerances",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the plot of one paper and save it as PDF and PNG; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ledger", type=Path, required=True, help="ledger (JSON)")
    parser.add_argument("--paper", required=True, help="key of the paper")
    parser.add_argument("--pdf", type=Path, required=True, help="figure to write")
    parser.add_argument("--png", type=Path, required=True, help="the same as a bitmap")
    arguments = parser.parse_args(argv)
    ledger = read_ledger(arguments.ledger)
    if not any(row["paper"] == arguments.paper for row in ledger):
        known = ", ".join(sorted({row["paper"] for row in ledger}))
        raise ValueError(f"expected the key of a paper in the ledger: {known}")
    rows = [row for row in ledger if row["paper"] == arguments.paper]
    with style.own_style():
        figure = forest(rows)
    draw.save(figure, arguments.pdf, arguments.png)
    plt.close(figure)


def effect(row: Mapping, value: float) -> float:
    """Return how far a value lies beyond the bound of a row, on the scale on which it is judged.

    Between two bounds it is the distance from their middle, in units of the tolerance: the claimed
    side is from −1 to 1. Else it is the distance from the bound towards the claimed side, in units
    of the margin, which is the distance from no effect to the bound; where the bound is no effect,
    in units of the standard deviation over seeds. The claimed side is above 0.
    """
    least, most, at = (_on_scale(row, part) for part in (row["least"], row["most"], value))
    if least is not None and most is not None:
        return (at - (least + most) / 2) / ((most - least) / 2)
    bound, side = (least, 1) if least is not None else (most, -1)
    unit = abs(bound)
    if unit < 1e-9:
        values = [_on_scale(row, part) for part in row["values"]]
        unit = float(np.std(values, ddof=1)) if len(values) > 1 else 1.0
    return side * (at - bound) / (unit or 1.0)


def _on_scale(row: Mapping, value: float | None) -> float | None:
    from feature_alignment.audit.judging import forth

    return None if value is None else forth(value, row["averaged"])


def forest(rows: Sequence[Mapping]) -> Figure:
    """Draw the claims of one paper that have an interval.

    Args:
        rows: Rows of a ledger.
    """
    judged = [row for row in rows if row["low"] is not None and row["n"] and row["n"] > 1]
    bounded = [row for row in judged if row["least"] is not None or row["most"] is not None]
    parts = {kind: [row for row in bounded if _kind(row) == kind] for kind in LABELS}
    shown = {kind: part for kind, part in parts.items() if part} or {"one-sided": []}
    heights = [max(1, len(part)) for part in shown.values()]
    figure, axes = plt.subplots(
        len(shown),
        1,
        figsize=(style.WIDTH_IN, ROW_IN * sum(heights) + 0.6 + 0.5 * len(shown)),
        height_ratios=heights,
        squeeze=False,
    )
    for panel, (kind, part) in zip(axes[:, 0], shown.items(), strict=True):
        _draw(panel, sorted(part, key=severity), kind)
        panel.set_xlabel(LABELS[kind])
    handles = [
        plt.Line2D([], [], color=style.COLOURS[colour], marker="o", linestyle="-", label=verdict)
        for verdict, colour in COLOURS.items()
        if any(row["verdict"] == verdict for row in bounded)
    ]
    if any(row["reported"] is not None for row in bounded):
        cross = {"color": "black", "marker": "x", "linestyle": ""}
        handles.append(plt.Line2D([], [], label="the paper", **cross))
    figure.legend(handles=handles, loc="outside upper center", ncols=6, fontsize=6)
    scales = ", ".join(sorted({row["scale"] for row in rows}))
    figure.text(0.995, -0.005, f"scale: {scales}", ha="right", va="top", fontsize=6.5, color="0.35")
    return figure


def _kind(row: Mapping) -> str:
    return "one-sided" if row["least"] is None or row["most"] is None else "two-sided"


def _draw(panel: Axes, rows: Sequence[Mapping], kind: str) -> None:
    """Draw an interval per row, worst verdicts on top, with the claimed side shaded."""
    panel.set_xscale("symlog", linthresh=1)
    panel.xaxis.set_major_formatter("{x:g}")
    if kind == "two-sided":
        panel.axvspan(-1, 1, color=style.COLOURS["green"], alpha=0.12, linewidth=0)
    else:
        panel.axvline(0, color=style.COLOURS["green"], linewidth=0.8)
    names = []
    for place, row in enumerate(rows):
        colour = style.COLOURS[COLOURS.get(row["verdict"], "grey")]
        ends = [effect(row, row[key]) for key in ("low", "estimate", "high")]
        panel.plot([ends[0], ends[2]], [place, place], color=colour)
        panel.plot([ends[1]], [place], marker="o", markersize=3, color=colour)
        if row["reported"] is not None:
            at = effect(row, row["reported"])
            panel.plot([at], [place], marker="x", markersize=4, color="black", linestyle="")
        star = "*" if kind == "one-sided" and _without_margin(row) else ""
        of = "" if row["class"] == "paper" else f" ({row['class']})"
        names.append(row["id"].partition(".")[2] + star + of)
    panel.set_yticks(range(len(rows)), names, fontsize=5)
    panel.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    if kind == "one-sided":
        left, right = panel.get_xlim()
        panel.axvspan(0, max(right, 1), color=style.COLOURS["green"], alpha=0.12, linewidth=0)
        panel.set_xlim(min(left, -1), max(right, 1))


def _without_margin(row: Mapping) -> bool:
    bound = _on_scale(row, row["least"] if row["least"] is not None else row["most"])
    return bound is not None and math.isclose(bound, 0, abs_tol=1e-9)


if __name__ == "__main__":
    command.run(main)
