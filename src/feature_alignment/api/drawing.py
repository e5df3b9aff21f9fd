"""Pictures of a user's measurements: layers over time, alone or with published runs."""

from collections.abc import Mapping, Sequence

import matplotlib
import pandas as pd
from matplotlib.figure import Figure


def _backend() -> str | None:
    try:
        return matplotlib.get_backend(auto_select=False)
    except TypeError:  # before matplotlib 3.10
        return matplotlib.get_backend()


_BEFORE = _backend()

from feature_alignment.plots import style  # noqa: E402 - chooses a backend, for scripts

if _BEFORE is not None:  # a notebook keeps its own
    matplotlib.use(_BEFORE)

import matplotlib.pyplot as plt  # noqa: E402

TITLES = {
    "alignment": "alignment with the targets",
    "effective_rank": "effective rank",
    "eigenvalue_largest": "largest eigenvalue",
    "uc_nfa_pearson": "UC-NFA",
    "c_nfa_pearson": "C-NFA",
    "weight_change": "relative change of weights",
    "loss": "loss",
    "accuracy": "accuracy",
}
"""What is drawn, in this order, before measures of the user's own; of the correlations, one of two
forms."""
LEFT_OUT = ("trace_ratio", "uc_nfa_cosine", "c_nfa_cosine", "eigenvalue_largest")
COLUMNS = 3
MOST = 12
"""A legend names so many layers at most, evenly from the first to the last."""


def drawn(table: pd.DataFrame) -> Figure:
    """Draw each measure of a table over time, a line per layer, black for the whole network.

    Args:
        table: As :attr:`feature_alignment.api.probe.Probe.table`.

    Raises:
        ValueError: If the table is empty.
    """
    if table.empty:
        raise ValueError("nothing was measured yet; call the probe first")
    names = shown(table)
    with style.own_style():
        rows = -(-len(names) // COLUMNS)
        figure, axes = style.panels(rows, min(COLUMNS, len(names)), sharex=True)
        panels = [panel for row in axes for panel in row]
        x = time_of(table)
        layers = layers_of(table)
        colours = dict(zip(layers, style.shades(len(layers)), strict=True))
        named = set(layers[:: max(1, -(-len(layers) // MOST))])
        for panel, name in zip(panels, names, strict=False):
            own = table[table["measure"] == name]
            for layer in [*[part for part in layers if part in set(own["layer"])], None]:
                part = style.select(own, layer=layer)
                if part.empty:
                    continue
                colour = "black" if layer is None else colours[layer]
                label = "network" if layer is None else layer if layer in named else None
                marker = "o" if part[x].nunique() == 1 else ""
                style.draw_band(panel, part, x, colour, label, marker=marker, markersize=3)
            panel.set_title(TITLES.get(name, name.replace("_", " ")))
        for panel in panels[len(names) :]:
            panel.set_axis_off()
        for panel in axes[-1]:
            panel.set_xlabel(x)
        style.legend(figure, columns=4)
        style.letter(figure)
        plt.close(figure)  # a notebook would show it twice
    return figure


def compared(
    own: pd.DataFrame, published: pd.DataFrame, name: str, measures: Sequence[str] = ()
) -> Figure:
    """Draw the layers of a user's run over those of a published figure.

    Layers are coloured by their place from the first to the last; published ones are thin lines of
    means over seeds, the user's are thick and dashed.

    Args:
        own: As :attr:`feature_alignment.api.probe.Probe.table`.
        published: The table of a figure.
        name: Its name, for the title.
        measures: Which to draw; those that both have where none is named.

    Raises:
        ValueError: If the tables have no measure, or no axis of time, in common.
    """
    both = [part for part in shown(own) if part in set(published["measure"])]
    chosen = list(measures) or both
    missing = sorted(set(chosen) - set(both))
    if missing or not chosen:
        raise ValueError(
            f"expected measures that both tables have, got {', '.join(missing) or 'none'}; yours "
            f"has {', '.join(shown(own))}, {name} has "
            f"{', '.join(sorted(published['measure'].unique()))}"
        )
    axes_of_time = [
        axis
        for axis in ("epoch", "step")
        if own[axis].notna().any() and published[axis].notna().any()
    ]
    if not axes_of_time:
        raise ValueError(
            f"{name} and your table have no axis of time in common; measure with epoch= or step="
        )
    x = axes_of_time[0]
    groups = _groups(published)
    with style.own_style():
        figure, axes = style.panels(len(groups), len(chosen), sharex="row", sharey="col")
        for row, (title, rows) in zip(axes, groups.items(), strict=True):
            for panel, measure in zip(row, chosen, strict=True):
                _draw_layers(panel, rows[rows["measure"] == measure], x, {"linewidth": 0.8})
                theirs = {"linewidth": 2.0, "linestyle": "--"}
                _draw_layers(panel, own[own["measure"] == measure], x, theirs)
                panel.set(xlabel=x, title=f"{title} {TITLES.get(measure, measure)}".strip())
        entries = [
            style.line(f"{name}, by layer"),
            style.line("yours, by layer", dashes="--"),
            style.line("first layer", style.shades(2)[0]),
            style.line("last layer", style.shades(2)[1]),
            style.line("network", "black"),
        ]
        style.legend(figure, *entries, columns=3)
        style.letter(figure)
        plt.close(figure)
    return figure


def _draw_layers(panel: object, rows: pd.DataFrame, x: str, look: Mapping) -> None:
    layers = layers_of(rows)
    for layer, colour in zip([*layers, None], [*style.shades(len(layers)), "black"], strict=True):
        part = style.select(rows, layer=layer)
        part = part[part[x].notna()]
        if not part.empty:
            means = part.astype({x: float}).groupby(x)["value"].mean()
            panel.plot(means.index, means, color=colour, **look)


def _groups(published: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows by dataset, or all of them."""
    if "dataset" not in published:
        return {"": published}
    return {
        style.dataset_name(name): rows for name, rows in published.groupby("dataset", sort=False)
    }


def shown(table: pd.DataFrame) -> list[str]:
    """Return the measures of a table that are drawn, in their order."""
    there = list(dict.fromkeys(table["measure"]))
    return [
        *[name for name in TITLES if name in there and name not in LEFT_OUT],
        *[name for name in there if name not in TITLES and name not in LEFT_OUT],
    ]


def layers_of(table: pd.DataFrame) -> list[str]:
    """Return the layers of a table in the order in which they come."""
    return list(dict.fromkeys(table["layer"].dropna()))


def time_of(table: pd.DataFrame) -> str:
    """Return the column that says when: epochs where there are, else steps."""
    return "epoch" if table["epoch"].notna().any() else "step"
