"""Figure 2: accuracy and spectrum of the tangent kernel during training."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.papers.baratin2021.plots.noise import (
    SPLIT_ENTRIES,
    SPLITS,
    START,
    STORED,
    at_start,
    draw_accuracy,
    draw_whole,
    noise_columns,
    of,
    steps_axis,
)
from feature_alignment.plots import style

COLUMNS = ("label_noise",)
EIGENVALUES = {"largest": "purple", "mean": "green", "median": "orange"}
HIGHLIGHTED = (40, 80, 160)
NAMES = {0.0: "clean", 0.2: "noise20", 0.5: "noise50"}
"""What claims call the levels of noise."""
MEMORISED = {0.2: 0.9, 0.5: 0.8}
STRETCH, FALL = 10, 2
ENERGY = "label_energy_40"
STORED_RANK = {0.0: (675, 225, 300), 0.2: (650, 200, 550), 0.5: (700, 225, 575)}
"""Effective rank at the start, at its lowest and at the end, in the authors' stored pictures."""
STORED_RATIO = 0.6
"""Their trace ratio of 40 eigenvalues between steps 1 000 and 10 000."""
LABELS = (
    "accuracy",
    "eigenvalues",
    "largest / median,\nfrom step 10 on",
    "effective rank",
    "trace ratios",
    "labels in the first\n40 eigenvectors",
)


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy and spectra by noise level.

    Of spectra these are eigenvalues, their stretch, effective rank, trace ratios, and the share of
    the labels that is in the first eigenvectors.
    """
    drawn, axes, levels = noise_columns(table, len(LABELS))
    names = [name for name in table["measure"].unique() if name.startswith("trace_ratio_")]
    counts = sorted(int(name.rpartition("_")[2]) for name in names)
    for column, level in enumerate(levels):
        accuracy, values, stretch, rank, ratios, energy = (row[column] for row in axes)
        for panel in (accuracy, values, stretch, rank, ratios, energy):
            steps_axis(panel)
        claim = f"baratin2021.fig2.{NAMES.get(level, level)}"
        draw_accuracy(accuracy, table, level)
        if level in MEMORISED:
            style.draw_claimed(accuracy, f"{claim}.memorised", MEMORISED[level], side="left")
        values.set_yscale("log")
        for split, line in SPLITS.items():
            for which, colour in EIGENVALUES.items():
                rows = of(table, level, f"eigenvalue_{which}", split)
                label = which if split == "train" else None
                style.draw_band(values, rows, "step", style.COLOURS[colour], label, linestyle=line)
        stretch.set_yscale("log")
        rows = _from_start(of(table, level, "stretch", "train"))
        style.draw_band(stretch, rows, "step", style.COLOURS["brown"], None)
        style.draw_claimed(stretch, f"{claim}.spectrum-stretches", STRETCH, side="left")
        draw_whole(rank, table, level, "effective_rank", "blue")
        half = at_start(table, level, "effective_rank") / FALL
        style.draw_claimed(
            rank, f"{claim}.effective-rank-falls", most=half, told="half", side="left"
        )
        if level in STORED_RANK:
            stored = pd.Series(STORED_RANK[level], dtype=float)
            style.draw_paper(rank, (0.03, 0.5, 0.97), stored, 0.15 * stored, STORED, inside=True)
        for count in counts:
            rows = of(table, level, f"trace_ratio_{count}", "train")
            means = rows.groupby("step")["value"].mean()
            means = means[means.index > 0]
            ratios.fill_between(means.index, means, 1, color="0.5", alpha=0.12, linewidth=0)
            if count in HIGHLIGHTED:
                style.draw_band(ratios, rows, "step", style.COLOURS["red"], None, linewidth=1)
                end = (means.index[-1], means.iloc[-1])
                ratios.annotate(rf"$T_{{{count}}}$", end, fontsize=6)
        style.draw_paper(ratios, 0.5, STORED_RATIO, 0.15 * STORED_RATIO, inside=True)
        ratios.set_ylim(0, 1)
        _draw_energy(energy, table, level)
        rank.set_ylim(0, None)
    for row, label in zip(axes, LABELS, strict=True):
        row[0].set_ylabel(label)
    style.legend(drawn, *SPLIT_ENTRIES, style.CLAIMED, columns=5)
    return drawn


def _draw_energy(panel: Axes, table: pd.DataFrame, level: float) -> None:
    """Draw the share of the labels in the first eigenvectors, and that before training."""
    draw_whole(panel, table, level, ENERGY, "orange")
    start = style.select(of(table, level, ENERGY, "train"), step=0)["value"]
    if len(start):  # not in tables from before it was measured
        claim = f"baratin2021.fig2.{NAMES.get(level, level)}.label-energy-rises"
        style.draw_claimed(panel, claim, start.mean(), told="start", side="left")
    panel.set_ylim(0, 1)


def _from_start(rows: pd.DataFrame) -> pd.DataFrame:
    """Return values from the first step that is judged, as multiples of the value there."""
    rows = rows[rows["step"] >= START]
    first = rows.loc[rows["step"] == rows["step"].min()].set_index("seed")["value"]
    return rows.assign(value=rows["value"] / first[rows["seed"]].to_numpy())
