"""A rival: six alignments of representations, weights and gradients of every hidden layer."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.plots import style

COLUMNS = ("weight_decay",)
PAIRS = {
    f"{pair}_{side}": (names, f"{place} a layer")
    for side, place in (("input", "before"), ("output", "after"))
    for pair, names in (
        ("representation_gradient", "representation, gradient"),
        ("representation_weight", "representation, weight"),
        ("gradient_weight", "gradient, weight"),
    )
}
BOUND, FITS = 0.5, 0.95
APART = 0.15


def figure(table: pd.DataFrame) -> Figure:
    """Draw each alignment in time, and below at the end by layer, with weight decay and without."""
    drawn, [*panels, [fits, explained, empty]] = style.panels(5, 3, sharey=True)
    layers = sorted(table["layer"].dropna().unique())
    colours = dict(zip(layers, style.shades(len(layers)), strict=True))
    ends = table[table["epoch"] == table["epoch"].max()]
    for place, (pair, (names, side)) in enumerate(PAIRS.items()):
        row, column = divmod(place, 3)
        course, end = panels[2 * row][column], panels[2 * row + 1][column]
        measure = f"{pair}_above_chance"
        for layer, colour in colours.items():
            own = style.select(table, measure=measure, layer=layer)
            for decays, dashes in ((True, "-"), (False, "--")):
                rows = own[(own["weight_decay"] > 0) == decays]
                label = f"layer {layer.removeprefix('linear')}" if decays and not place else None
                style.draw_band(course, rows, "epoch", colour, label, 0.12, linestyle=dashes)
        course.set(title=names, xlabel="epoch")
        for number, layer in enumerate(layers, start=1):
            own = style.select(ends, measure=measure, layer=layer)
            for sign, decays in ((-1, True), (1, False)):
                values = own[(own["weight_decay"] > 0) == decays].sort_values("seed")["value"]
                style.draw_seeds(end, number + sign * APART, values, style.hue(0 if decays else 1))
        claim = f"joint.r5.decay.{pair.rpartition('_')[0].replace('_', '-')}-{side.split()[0]}"
        style.draw_claimed(end, f"{claim}.proportional", BOUND)
        end.set(xlabel="layer", xlim=(0.4, len(layers) + 0.6))
        end.set_xticks(range(1, len(layers) + 1))
        if not column:
            course.set_ylabel(f"above chance,\n{side}")
            end.set_ylabel(f"at the end,\n{side}")
    accuracy = style.select(ends, measure="accuracy", split="train")
    for number, decays in enumerate((True, False)):
        rows = accuracy[(accuracy["weight_decay"] > 0) == decays].sort_values("seed")
        style.draw_seeds(fits, number, rows["value"], style.hue(number))
    style.draw_claimed(fits, "joint.r5.interpolates", FITS)
    fits.set(title="training accuracy", ylabel="at the end", xlim=(-0.6, 1.6))
    fits.set_xticks(range(2), ["weight decay", "none"])
    empty.set_axis_off()
    style.legend(
        drawn,
        style.line("weight decay"),
        style.line("no weight decay", dashes="--"),
        style.line("at the end, weight decay", style.hue(0)),
        style.line("at the end, none", style.hue(1)),
        style.CLAIMED,
        slot=explained,
    )
    return drawn
