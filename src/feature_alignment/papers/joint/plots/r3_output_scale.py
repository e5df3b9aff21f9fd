"""A rival: loss, error and alignment of one network at output scales from rich to lazy."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from feature_alignment.plots import style

COLUMNS = ("output_scale",)
COURSES = {
    ("loss", "train"): "training loss",
    ("error", "test"): "test error",
    ("alignment", "easy"): "alignment",
    ("gap", None): "easy - difficult",
}
JUDGED = {
    "matched_alignment": "alignment",
    "matched_test_error": "test error",
    "matched_accuracy_gap": "easy - difficult",
    "onset_lead": "lead (octaves)",
}
BOUND, FITS = -0.5, 0.95


def figure(table: pd.DataFrame) -> Figure:
    """Draw the courses at each scale, and below what is judged against the scale."""
    drawn, [above, below] = style.panels(2, 5)
    scales = sorted(table["output_scale"].unique())
    colours = dict(zip(scales, style.shades(len(scales)), strict=True))
    courses = table[table["step"] > 0]
    accuracy = courses[courses["measure"] == "accuracy"]
    keys = ["run", "seed", "step", "output_scale"]
    easy, hard = (style.select(accuracy, split=s).set_index(keys) for s in ("easy", "difficult"))
    gap = (easy["value"] - hard["value"]).reset_index().assign(measure="gap", split=None)
    error = style.select(accuracy, split="test").assign(
        measure="error", value=lambda rows: 1 - rows["value"]
    )
    courses = pd.concat([courses, error, gap])
    for panel, ((measure, split), title) in zip(above, COURSES.items(), strict=False):
        for scale, colour in colours.items():
            rows = style.select(courses, measure=measure, split=split, output_scale=scale)
            style.draw_band(panel, rows, "step", colour, rf"$\alpha$ = {scale:g}", 0.12)
        panel.set(title=title, xlabel="SGD step", xscale="log")
        panel.xaxis.set_minor_formatter(NullFormatter())  # short courses have no room for more
    above[0].set_yscale("log")
    for panel, (measure, title) in zip(below, JUDGED.items(), strict=False):
        for scale, colour in colours.items():
            rows = style.select(table, measure=measure, output_scale=scale)
            style.draw_seeds(panel, scale, rows.sort_values("seed")["value"], colour)
        panel.set(title=title, xlabel=r"output scale $\alpha$", xscale="log")
    style.draw_claimed(below[3], "joint.r3.alignment-before-loss", 0)
    ranks = style.select(table, measure="error_rank_correlation").sort_values("seed")["value"]
    style.draw_seeds(below[4], 0, ranks, style.hue(0), scale="fisher")
    style.draw_claimed(below[4], "joint.r3.alignment-goes-with-error", most=BOUND)
    below[4].set(title="rank correlation", xlim=(-1, 1), ylim=(-1.1, 1.1))
    below[4].set_xticks([])
    ends = style.select(table[table["measure"] == "accuracy"], split="easy")
    ends = ends[ends["step"] == ends["step"].max()].sort_values("seed")
    for scale, colour in colours.items():
        style.draw_seeds(above[4], scale, style.select(ends, output_scale=scale)["value"], colour)
    style.draw_claimed(above[4], "joint.r3.learns", FITS)
    above[4].set(title="easy, at the end", xlabel=r"output scale $\alpha$", xscale="log")
    style.legend(drawn, style.CLAIMED)
    return drawn
