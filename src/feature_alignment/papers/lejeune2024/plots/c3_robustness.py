"""Control C3: test errors under other initialisations, rates, a regulariser, and exact ridge."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.papers.lejeune2024.plots.models import COLOURS, NAMES
from feature_alignment.plots import style

COLUMNS = ("variant", "model", "n_train")
CLAIM = "lejeune2024.c3."
JUDGED = {  # measure, variant: how it is called, bounds and claim
    ("adaptive_minus_fixed", "He initialisation"): (
        "adaptive\nminus fixed,\nHe",
        {"most": 0},
        "he",
    ),
    ("adaptive_minus_baseline", "regularised"): (
        "regularised\nminus\nbaseline",
        {"most": 0},
        "regularised",
    ),
    ("ridge_minus_fixed", "baseline"): (
        "ridge minus\nfixed",
        {"least": -0.05},
        "training-near-ridge",
    ),
}
SHORT = {"He initialisation": "He\ninitialisation"}


def figure(table: pd.DataFrame) -> Figure:
    """Draw errors by variant and model, differences that are judged, and the best of all ridges."""
    errors = style.select(table, measure="error")
    sizes = sorted(errors.loc[errors["model"] != "ridge", "n_train"].unique())
    variants = list(errors["variant"].unique())
    ratios = [4] * len(sizes) + [3, 2]
    drawn, [[*panels, differences, reach]] = style.panels(1, len(ratios), width_ratios=ratios)
    for panel, n in zip(panels, sizes, strict=True):
        _draw_errors(panel, style.select(errors, n_train=n), variants)
        panel.set_title(f"n = {n}, selected on held-out", fontsize=7)
    panels[0].set_ylabel("test error")
    _draw_differences(differences, table)
    _draw_reach(reach, table)
    style.legend(drawn, style.CLAIMED)
    return drawn


def _draw_errors(panel: Axes, errors: pd.DataFrame, variants: list[str]) -> None:
    """Draw the test errors of every model in every variant."""
    for place, (model, colour) in enumerate(COLOURS.items()):
        for x, variant in enumerate(variants):
            values = style.select(errors, model=model, variant=variant)["value"]
            if len(values):
                shift = 0.16 * (place - 1.5)
                style.draw_seeds(panel, x + shift, values, colour, NAMES[model])
    names = [SHORT.get(name, name) for name in variants]
    panel.set_xticks(range(len(variants)), names, fontsize=6)
    panel.set(xlim=(-0.6, len(variants) - 0.4), ylim=(0, None))


def _draw_differences(panel: Axes, table: pd.DataFrame) -> None:
    """Draw differences of errors, for every number of images from left to right, with claims."""
    shown = []
    for (measure, variant), (name, bounds, claim) in JUDGED.items():
        rows = style.select(table, measure=measure, variant=variant)
        if rows.empty:
            continue
        place, sizes = len(shown), sorted(rows["n_train"].unique())
        for side, n in enumerate(sizes):
            values = style.select(rows, n_train=n)["value"]
            if len(values):
                shift = 0.3 * (side - (len(sizes) - 1) / 2) / max(1, len(sizes) - 1)
                style.draw_seeds(panel, place + shift, values, style.COLOURS["brown"])
        across = (place - 0.4, place + 0.4)
        style.draw_claimed(panel, CLAIM + claim, **bounds, across=across, told=None)
        shown.append(name)
    panel.set_xticks(range(len(shown)), shown, fontsize=6)
    panel.set_xlim(-0.6, max(1, len(shown)) - 0.4)
    panel.set_title("differences of errors", fontsize=7)


def _draw_reach(panel: Axes, table: pd.DataFrame) -> None:
    """Draw the best ridge, picked on the test set, and what the paper has for fixed features."""
    ridge = style.select(table, model="ridge")
    sizes = sorted(ridge["n_train"].unique())
    for place, n in enumerate(sizes):
        own = style.select(ridge, n_train=n)
        values = style.select(own, measure="oracle_error")["value"]
        style.draw_seeds(panel, place, values, COLOURS["ridge"])
        published = style.select(own, measure="published_error")["value"].mean()
        style.draw_paper(panel, place, published, label="the paper's fixed features")
    panel.set_xticks(range(len(sizes)), [f"n = {n}" for n in sizes])
    panel.set(xlim=(-0.6, len(sizes) - 0.4), ylim=(0, None))
    panel.set_title("ridge picked on test", fontsize=7)
