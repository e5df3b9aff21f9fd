"""Draw the picture of the README: a few curves of published tables, side by side.

A finding in ``papers/<key>/findings.yaml`` may have a panel, with curves of its figure's table.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from feature_alignment.plots import draw, style
from feature_alignment.publish.findings import read_findings
from feature_alignment.publish.quotes import select
from feature_alignment.storage import replacing
from feature_alignment.tables import read_table

NAME = "overview.png"
COLUMNS = 2
MEANT = "lines: means over seeds; bands: intervals valid at every look, 95 % overall"


def panels_of(findings: Mapping[str, Sequence[Mapping]]) -> list[dict]:
    """Return what the panels show, with the ``table`` of each, from the findings by paper."""
    return [
        {**finding["panel"], "table": f"{paper}/{finding['figure']}"}
        for paper, own in findings.items()
        for finding in own
        if "panel" in finding
    ]


def save_overview(published: Path, papers: Path) -> None:
    """Draw the picture from published tables and save it with them, as ``overview.png``."""
    with style.own_style():
        figure = overview(panels_of(read_findings(papers)), published / "tables")
        with replacing(published / NAME) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})
    plt.close(figure)


def overview(panels: Sequence[Mapping], tables: Path) -> Figure:
    """Draw every panel: curves of means over seeds with their intervals.

    Args:
        panels: As :func:`panels_of` returns them.
        tables: Folder with ``<paper>/<figure>.csv``; a panel whose table is not there says so.

    Raises:
        ValueError: If a curve has no rows, or its table lacks a column.
    """
    figure, axes = style.panels(-(-len(panels) // COLUMNS), COLUMNS)
    places = [place for row in axes for place in row]
    for place in places[len(panels) :]:
        place.set_axis_off()
    for place, panel in zip(places, panels, strict=False):
        path = tables / f"{panel['table']}.csv"
        place.set(title=panel["title"], xlabel=panel["along"], ylabel=panel["up"])
        if not path.is_file():
            place.text(0.5, 0.5, "not published yet", ha="center", transform=place.transAxes)
            continue
        table = draw.of_seeds(read_table(path))
        if panel.get("logarithmic"):
            place.set_xscale("log")
        for number, (name, where) in enumerate(panel["curves"].items()):
            rows = select(table, where)
            if rows.empty:
                raise ValueError(f"{path} has no rows where {where}; mend findings.yaml")
            style.draw_band(place, rows, panel["x"], style.hue(number), name)
            if panel.get("logarithmic"):
                ticks = sorted(rows[panel["x"]].unique())
                place.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
                place.set_xticks([], minor=True)
        place.legend(fontsize=6.5)
    style.letter(figure)
    told = f"scale: {tables.parent.name}  ·  {MEANT}"
    figure.supxlabel(told, x=0.995, ha="right", fontsize=6.5, color="0.35")
    return figure
