"""A claim's interval as a drawing: where it should lie, where it lies, and every seed."""

import math
from collections.abc import Mapping

from markupsafe import Markup

WIDTH, HEIGHT, MARGIN = 200, 26, 8


def drawing(row: Mapping) -> Markup:
    """Return an SVG of a ledger row: claimed side shaded, interval as a line, seeds as dots.

    It holds numbers alone, no words of the row. Empty where there is no estimate.

    Args:
        row: A row of a ledger.
    """
    if row["estimate"] is None:
        return Markup("")
    ends = [row["low"], row["high"], row["estimate"], *row["values"]]
    known = [value for value in [*ends, row["least"], row["most"]] if value is not None]
    least, most = min(known), max(known)
    if most == least:
        least, most = least - max(abs(least), 1) / 10, most + max(abs(most), 1) / 10

    def place(value: float) -> float:
        return round(MARGIN + (value - least) / (most - least) * (WIDTH - 2 * MARGIN), 1)

    left = 0 if row["least"] is None else place(row["least"])
    right = WIDTH if row["most"] is None else place(row["most"])
    middle = HEIGHT / 2
    parts = [
        f'<rect class="claimed" x="{left}" y="2" width="{max(0.0, right - left):.1f}"'
        f' height="{HEIGHT - 4}"/>'
    ]
    parts += [
        f'<line class="bound" x1="{at}" x2="{at}" y1="2" y2="{HEIGHT - 2}"/>'
        for at, bound in ((left, row["least"]), (right, row["most"]))
        if bound is not None
    ]
    if row["low"] is not None and row["high"] is not None:
        parts.append(
            f'<line class="interval" x1="{place(row["low"])}" x2="{place(row["high"])}"'
            f' y1="{middle}" y2="{middle}"/>'
        )
    parts += [
        f'<circle class="seed" cx="{place(value)}" cy="{middle}" r="2"/>'
        for value in row["values"]
        if math.isfinite(value)
    ]
    at = place(row["estimate"])
    parts.append(f'<path class="mean" d="M{at} {middle - 6}V{middle + 6}"/>')
    inside = "".join(parts)
    return Markup(
        f'<svg class="drawn" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="interval and claimed side">{inside}</svg>'
    )
