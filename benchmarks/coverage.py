"""How often a claim that is not true is supported, whatever its criterion and however often looked.

For every criterion, tables are drawn for which its claim is just not true: the mean lies on the
bound, or nothing goes with anything. Every experiment is a group of one table, goes through the
criterion itself, and is looked at with 3, 5, 8, 12, 20 and 30 seeds. It counts as false support if
any look so far supports. The last column is what an interval of 95 % without spending would give.

    python benchmarks/coverage.py --out docs/coverage.md
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_alignment.audit import inference
from feature_alignment.audit.criteria import CRITERIA
from feature_alignment.audit.criterion import Question
from feature_alignment.audit.looks import ERROR, LOOKS
from feature_alignment.audit.verdicts import p_values, tested

EXPERIMENTS = 10_000
WATCHED = 6
SEEDS = LOOKS[WATCHED - 1]
OVER = {"over": ["experiment"]}
AT = {"x": "epoch", "at": "last", **OVER}

Drawn = tuple[pd.DataFrame, dict]
Null = Callable[[np.random.Generator, int], Drawn]


def rows(values: NDArray, measure: str = "m", **columns: object) -> pd.DataFrame:
    """Return a table of values, shape (experiments, seeds, places), places along ``epoch``."""
    experiments, seeds, places = np.indices(values.shape)
    return pd.DataFrame(
        {
            "run": "r",
            "seed": seeds.ravel(),
            "epoch": places.ravel(),
            "experiment": experiments.ravel(),
            "measure": measure,
            "value": values.ravel(),
            **columns,
        }
    )


def draws(draw: np.random.Generator, count: int, places: int) -> NDArray:
    """Return standard normal values, shape (count, seeds, places)."""
    return draw.standard_normal((count, SEEDS, places))


def pair(first: NDArray, second: NDArray, names: tuple[str, str] = ("a", "b")) -> pd.DataFrame:
    """Return a table of two measures."""
    return pd.concat(
        [rows(values, name) for values, name in zip((first, second), names, strict=True)]
    )


def flat(draw: np.random.Generator, count: int) -> Drawn:
    """Return curves that do not rise."""
    return rows(draws(draw, count, 2)), {"x": "epoch", "y": "m", **OVER}


def hill(draw: np.random.Generator, count: int) -> Drawn:
    """Return curves whose top is, in the mean of logarithms, just twice as high as their ends."""
    top = 2 * np.exp(0.1 * draws(draw, count, 1))
    curves = np.concatenate([np.ones_like(top), top, np.ones_like(top)], axis=2)
    return rows(curves), {"x": "epoch", "y": "m", "min_factor": 2, **OVER}


def noise(draw: np.random.Generator, count: int) -> Drawn:
    """Return curves that are flat but for noise, with each seed's top placed by the others."""
    options = {"x": "epoch", "y": "m", "min_factor": 1, "chosen_by": "others", **OVER}
    return rows(np.exp(0.1 * draws(draw, count, 6))), options


def unrelated(draw: np.random.Generator, count: int) -> Drawn:
    """Return curves in any order."""
    return rows(draws(draw, count, 4)), {"x": "epoch", "y": "m", **OVER}


def events(draw: np.random.Generator, count: int) -> Drawn:
    """Return events that come as early for one model as for another, or never for either."""
    times = [rows(draws(draw, count, 1), model=model) for model in ("a", "b")]
    table = pd.concat(times)
    table["measure"] = np.where(table["value"] > 1, "never", "m")
    return table, {"event": "m", "by": "model", "first": "a", "then": "b", **OVER}


def rivals(draw: np.random.Generator, count: int) -> Drawn:
    """Return two measures that go with a third alike."""
    tables = [rows(draws(draw, count, 4), name) for name in ("y", "a", "b")]
    table = pd.concat(tables)
    table["run"] = table["epoch"].map("r{}".format)
    return table, {"y": "y", "better": "a", "worse": "b", **OVER}


def ranges(draw: np.random.Generator, count: int) -> Drawn:
    """Return ranges over layers that do not widen."""
    values = np.exp(0.3 * draws(draw, count, 10))
    table = rows(values)
    table["layer"], table["epoch"] = table["epoch"] % 5, table["epoch"] // 5
    return table, {"x": "epoch", "y": "m", "across": "layer", **OVER}


def places(draw: np.random.Generator, count: int) -> Drawn:
    """Return tops whose places are a factor of two apart in the mean of their logarithms."""
    top = draw.choice([2, 8], (count, SEEDS, 1))
    steps = np.array([1, 2, 4, 8])
    first, second = (steps == top).astype(float), np.broadcast_to(steps == 2, (count, SEEDS, 4))
    table = pair(first, second.astype(float))
    table["epoch"] = steps[table["epoch"]]
    return table, {"x": "epoch", "first": "a", "second": "b", "within_factor": 2, **OVER}


def shares(draw: np.random.Generator, count: int) -> Drawn:
    """Return peaks between a share of the depth and a curve; the caller moves the mean to 0."""
    depth = np.array([10, 20, 30, 40])
    curve = np.broadcast_to(0.45 * depth, (count, SEEDS, 4))
    table = pair(0.4 * depth + draws(draw, count, 4), curve)
    table["epoch"] = depth[table["epoch"]]
    return table, {"y": "a", "curve": "b", "x": "epoch", **OVER}


def compared(draw: np.random.Generator, count: int) -> Drawn:
    """Return values that are alike for two models."""
    table = pd.concat(rows(draws(draw, count, 1), model=model) for model in ("a", "b"))
    return table, {"y": "m", "by": "model", "greater": "a", "lesser": "b", **OVER}


def on(bound: float) -> Null:
    """Return a null of values whose mean lies on a bound."""

    def drawn(draw: np.random.Generator, count: int) -> Drawn:
        return rows(bound + draws(draw, count, 1)), {"y": "m", "bound": bound, **AT}

    return drawn


def skewed(draw: np.random.Generator, count: int) -> Drawn:
    """Return values with a long tail, whose mean lies on the bound."""
    values = 1 - draw.exponential(size=(count, SEEDS, 1))
    return rows(values), {"y": "m", "bound": 0.0, **AT}


def correlations(draw: np.random.Generator, count: int) -> Drawn:
    """Return correlations whose mean lies on the bound on Fisher's scale."""
    values = np.tanh(np.arctanh(0.5) + 0.3 * draws(draw, count, 1))
    return rows(values), {"y": "m", "bound": 0.5, "scale": "fisher", **AT}


def edge(draw: np.random.Generator, count: int) -> Drawn:
    """Return values whose mean lies on the edge of the tolerance."""
    options = {"y": "m", "expected": 0.0, "tolerance": 3.0, **AT}
    return rows(3 + draws(draw, count, 1)), options


def apart(draw: np.random.Generator, count: int) -> Drawn:
    """Return two measures whose mean difference lies on the edge of the tolerance."""
    second = draws(draw, count, 1)
    first = second + 3 + draws(draw, count, 1)
    return pair(first, second), {"first": "a", "second": "b", "tolerance": 3.0, **AT}


def higher(draw: np.random.Generator, count: int) -> Drawn:
    """Return two measures of one mean."""
    table = pair(draws(draw, count, 1), draws(draw, count, 1))
    return table, {"greater": "a", "lesser": "b", **AT}


def crossings(draw: np.random.Generator, count: int) -> Drawn:
    """Return straight lines that cross 0 at 4 in the mean, the edge of a range."""
    at = 4 + 0.5 * draws(draw, count, 1)
    curves = np.arange(9) - at
    table = rows(curves)
    return table, {"first": "m", "second": 0.0, "x": "epoch", "between": (4.0, 8.0)}


NULLS: dict[str, tuple[str, Null]] = {
    "increases": ("increases", flat),
    "decreases": ("decreases", flat),
    "peaks": ("peaks", hill),
    "peaks, placed by others": ("peaks", noise),
    "dips": ("dips", lambda draw, count: _turned(*hill(draw, count))),
    "dips, placed by others": ("dips", noise),
    "rank_correlates": ("rank_correlates", unrelated),
    "comes_earlier": ("comes_earlier", events),
    "ranks_better": ("ranks_better", rivals),
    "widens": ("widens", ranges),
    "coincide": ("coincide", places),
    "nearer_than_share": ("nearer_than_share", shares),
    "higher_for": ("higher_for", compared),
    "exceeds": ("exceeds", higher),
    "at_least": ("at_least", on(0.0)),
    "at_least, Fisher's z": ("at_least", correlations),
    "at_least, a long tail": ("at_least", skewed),
    "at_most": ("at_most", on(0.0)),
    "equals": ("equals", edge),
    "agree": ("agree", apart),
    "crosses": ("crosses", crossings),
}
"""By the name of a row: a criterion, and what draws tables for which its claim is just not true."""

CENTRED = ("nearer_than_share",)
"""Criteria whose values are moved to a mean of 0, since no simple table has that."""


def _turned(table: pd.DataFrame, options: dict) -> Drawn:
    return table.assign(value=1 / table["value"]), options


def asked(name: str, table: pd.DataFrame, options: dict) -> Question:
    """Return a criterion's question of every experiment, shape (seeds, experiments) when unstacked.

    A criterion that takes no groups is asked of each experiment on its own.
    """
    criterion = CRITERIA[name]
    if "over" in options:
        return criterion(table, **options)
    parts = {key: criterion(own, **options) for key, own in table.groupby("experiment")}
    values = pd.concat({key: part.values for key, part in parts.items()}, names=["experiment"])
    return replace(next(iter(parts.values())), values=values)


def false_support(name: str, null: Null, count: int, seed: int) -> tuple[list[float], float]:
    """Return the share of experiments supported by looks 1 to 6, and at a fixed 95 % by any look.

    Args:
        name: A criterion.
        null: What draws tables.
        count: Number of experiments.
        seed: Seed of the draws.
    """
    table, options = null(np.random.default_rng(seed), count)
    supported = np.zeros(count, dtype=bool)
    naive = supported.copy()
    rates = []
    whole = None if options.get("chosen_by") == "others" else asked(name, table, options)
    for look in range(1, WATCHED + 1):
        seen = LOOKS[look - 1]
        question = whole or asked(name, table[table["seed"] < seen], options)
        levels = [level for level in question.values.index.names if level != "seed"]
        values = question.values.unstack(levels)
        values = values.loc[[key for key in values.index if _seed(key) < seen]].to_numpy()
        if name in CENTRED:
            values = values - question.values.mean()
        supported |= tested(values, question, look)[0] <= ERROR
        naive |= 2 * p_values(values, question)[0] <= ERROR
        rates.append(float(supported.mean()))
    return rates, float(naive.mean())


def _seed(key: object) -> int:
    return key[0] if isinstance(key, tuple) else key


def conjunction(count: int, seed: int) -> list[float]:
    """Return the share of experiments in which nine of ten groups pass, though but eight are true.

    The groups share three quarters of their variance, as layers of one network do.
    """
    draw = np.random.default_rng(seed)
    common = draw.standard_normal((SEEDS, count, 1))
    values = math.sqrt(0.75) * common + 0.5 * draw.standard_normal((SEEDS, count, 10))
    values[..., :8] += 5
    supported, rates = np.zeros(count, dtype=bool), []
    for look in range(1, WATCHED + 1):
        above, _ = inference.tails(values[: LOOKS[look - 1]].reshape(LOOKS[look - 1], -1), 0.0, 1.0)
        spent = np.minimum(1, 2 * look * (look + 1) * above).reshape(count, 10)
        p = 2 * np.sort(spent, axis=1)[:, 8]
        supported |= p <= ERROR
        rates.append(float(supported.mean()))
    return rates


def page(count: int) -> str:
    """Return the table of false supports as a Markdown page."""
    looks = " | ".join(map(str, LOOKS[:WATCHED]))
    lines = [
        "# How often a verdict is wrong",
        "",
        f"Made by `python benchmarks/coverage.py --out docs/coverage.md`: {count:,} experiments per"
        " row in which the claim is just not true, looked at with more and more seeds. The columns"
        " are the share, in per cent, that any look so far supports; it should be at most 5. The"
        " last column is what the same intervals would give without spending, at 95 % each.",
        "",
        f"| criterion | {looks} seeds | without spending |",
        "|---|" + "---|" * (WATCHED + 1),
    ]
    for place, (row, (name, null)) in enumerate(NULLS.items()):
        rates, naive = false_support(name, null, count, place)
        cells = " | ".join(f"{100 * rate:.2f}" for rate in rates)
        lines.append(f"| {row} | {cells} | {100 * naive:.2f} |")
        print(lines[-1], flush=True)
    cells = " | ".join(f"{100 * rate:.2f}" for rate in conjunction(count, 99))
    lines.append(f"| nine of ten correlated groups | {cells} | |")
    lines += [
        "",
        "Most are far below 5: verdicts are two-sided, the union bound over looks counts errors"
        " twice that happen together, and two one-sided tests or several groups must all pass. The"
        " row with a long tail, of exponential values, is outside what Student's t assumes, and"
        " says how far it can be off with few seeds. Factors, which have such tails, are therefore"
        " judged by their logarithms.",
    ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=EXPERIMENTS, help="per criterion")
    parser.add_argument("--out", type=Path, required=True, help="page to write")
    arguments = parser.parse_args(argv)
    arguments.out.write_text(page(arguments.experiments), encoding="utf-8")


if __name__ == "__main__":
    main()
