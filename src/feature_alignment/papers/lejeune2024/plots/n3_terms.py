"""Terms of the averaged kernel by layer, its likeness to others, and its diagonal."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.papers.lejeune2024.plots.kernels import (
    KERNEL_COLOURS,
    TARGET_COLOURS,
    TARGETS,
)
from feature_alignment.plots import style

COLUMNS = ("variant", "target")
VARIANTS = ("code", "text")
PLACES = [(variant, target) for variant in VARIANTS for target in TARGETS]
NAMES = [f"{TARGETS[target]}\n{variant}" for variant, target in PLACES]
CLAIM = "lejeune2024.n3."
RANK = 0.3


def figure(table: pd.DataFrame) -> Figure:
    """Draw shares and alignments of terms by layer and variant, and what is judged of all seeds."""
    drawn, [[*shares, leads], [*terms, contrast], [*likeness, ranks]] = style.panels(3, 3)
    for panels, measures, label in (
        (shares, {"term_share": 1.0}, r"share of $\bar K - K_0$"),
        (
            terms,
            {"term_alignment_initial": 0.4, "term_alignment_averaged": 1.0},
            "cosine with $K_y$",
        ),
    ):
        for panel, variant in zip(panels, VARIANTS, strict=True):
            _draw_layers(panel, style.select(table, variant=variant), measures)
            panel.set(title=f"settings of the {variant}", xlabel="layer")
        panels[0].set_ylabel(label)
    _draw_by_place(leads, table, {"last_term_lead_initial": "grey", "last_term_lead": "purple"})
    leads.set_title("last term minus highest other", fontsize=7)
    for place, variant in enumerate(VARIANTS):
        values = style.select(table, variant=variant, measure="sign_minus_smooth_share")["value"]
        style.draw_seeds(contrast, place, values, style.COLOURS["red"])
    contrast.set_xticks(range(len(VARIANTS)), VARIANTS)
    contrast.set_xlim(-0.6, len(VARIANTS) - 0.4)
    contrast.set_title("share of earlier layers, sign $y$ minus $y$", fontsize=6.5)
    for panel, start, title in (
        (likeness[0], "likeness", r"cosine with $\bar K$"),
        (likeness[1], "centered_likeness", r"cosine with $\bar K$, centred"),
    ):
        kinds = {f"{start}_{name}": KERNEL_COLOURS[name] for name in ("initial", "final")}
        _draw_by_place(panel, table, kinds)
        panel.set_title(title, fontsize=7)
    kinds = {f"boundary_rank{end}": KERNEL_COLOURS[name] for end, name in
             (("_initial", "initial"), ("", "averaged"))}  # fmt: skip
    _draw_by_place(ranks, table, kinds)
    ranks.set_title("diagonal against $-|y|$, by rank", fontsize=7)
    _draw_claims(leads, contrast, ranks)
    entries = [
        style.line(f"target {TARGETS[t]}", style.COLOURS[c]) for t, c in TARGET_COLOURS.items()
    ]
    names = {"grey": "$K_0$", "blue": r"$\bar K$", "green": "$K_T$"}
    entries += [style.line(name, style.COLOURS[c], "", "D") for c, name in names.items()]
    style.legend(drawn, *entries, style.CLAIMED)
    return drawn


def _draw_layers(panel: Axes, own: pd.DataFrame, measures: dict[str, float]) -> None:
    """Draw measures of layers, a colour per target, the first of two measures pale."""
    layers = list(own["layer"].dropna().unique())
    for target, colour in TARGET_COLOURS.items():
        for measure, alpha in measures.items():
            rows = style.select(own, target=target, measure=measure)
            rows = rows.assign(place=rows["layer"].map(lambda name: layers.index(name) + 1))
            look = {"marker": "o", "ms": 3, "alpha": alpha}
            style.draw_band(panel, rows, "place", style.COLOURS[colour], None, **look)
    panel.axhline(0, color="0.3", linewidth=0.6)
    panel.set_xticks(range(1, len(layers) + 1))


def _draw_by_place(panel: Axes, table: pd.DataFrame, kinds: dict[str, str]) -> None:
    """Draw measures of all seeds side by side, by variant and target."""
    for place, (variant, target) in enumerate(PLACES):
        own = style.select(table, variant=variant, target=target)
        for shift, (measure, colour) in zip((-0.12, 0.12), kinds.items(), strict=True):
            values = style.select(own, measure=measure)["value"]
            style.draw_seeds(panel, place + shift, values, style.COLOURS[colour])
    panel.axhline(0, color="0.3", linewidth=0.6)
    panel.set_xticks(range(len(PLACES)), NAMES, fontsize=6)
    panel.set_xlim(-0.6, len(PLACES) - 0.4)
    panel.grid(axis="x", visible=False)


def _draw_claims(leads: Axes, contrast: Axes, ranks: Axes) -> None:
    """Draw what is claimed: of the last term for y, of earlier ones, of diagonals for the sign."""
    for place, (variant, target) in enumerate(PLACES):
        across = (place - 0.4, place + 0.4)
        if target == "smooth":
            style.draw_claimed(leads, f"{CLAIM}{variant}.last-term", 0, across=across, told=None)
        else:
            style.draw_claimed(ranks, f"{CLAIM}{variant}.diagonal", RANK, across=across, told=None)
    for place, variant in enumerate(VARIANTS):
        across = (place - 0.4, place + 0.4)
        style.draw_claimed(contrast, f"{CLAIM}{variant}.earlier-terms", 0, across=across, told=None)
