"""Collect the table of figure 6 from the measurements of the networks."""

from collections.abc import Sequence

import pandas as pd

from feature_alignment import command
from feature_alignment.run.collecting import Collection, parse_collection

FIGURE = "fig6_complexity"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of the figure; see ``--help`` for the arguments."""
    collection = parse_collection(__doc__, argv)
    if collection.figure != FIGURE:
        raise ValueError(f"unknown figure {collection.figure!r}; expected {FIGURE}")
    collection.write(
        "feature_alignment.papers.baratin2021.collect_complexity", complexity(collection)
    )


def complexity(collection: Collection) -> pd.DataFrame:
    """Return the measurements at the end of every run, once for each sweep it belongs to.

    Condition columns are ``width``, ``label_noise``, ``learning_rate`` and ``sweep``; see
    :func:`by_sweep`. Derived: ``reached``, 1 where the loss of the whole training set ends below
    the run's ``stop.loss`` and 0 where the run was cut off before.
    """
    conditions = {
        "width": lambda settings: settings["model"]["width"],
        "label_noise": lambda settings: settings["dataset"]["label_noise"],
        "learning_rate": lambda settings: settings["learning_rate"],
    }
    for name, of_settings in conditions.items():
        collection = collection.with_condition(
            name, lambda spec, of_settings=of_settings: of_settings(spec["settings"])
        )
    table = collection.measurements
    last = table.groupby(["run", "seed"])["step"].transform("max")
    final = table[table["step"] == last]
    losses = final[(final["measure"] == "loss") & (final["split"] == "train")]
    goals = losses["run"].map(lambda run: collection.specs[run]["settings"]["stop"]["loss"])
    reached = losses.assign(measure="reached", value=(losses["value"] < goals).astype(float))
    return by_sweep(pd.concat([final, reached], ignore_index=True))


def by_sweep(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each sweep, marked by ``sweep``; a run in two sweeps appears in both.

    ``label_noise`` has the runs of the width and learning rate that all runs with label noise
    share; ``width`` those of the same learning rate without label noise; ``control`` those of
    other learning rates without label noise.

    Raises:
        ValueError: If runs with label noise differ in width or learning rate, or there are none.
    """
    noisy = table.loc[table["label_noise"] > 0, ["width", "learning_rate"]].drop_duplicates()
    if len(noisy) != 1:
        raise ValueError(
            "expected the runs with label noise to share one width and one learning rate, got "
            f"{noisy.to_dict('records')}; change their settings, or the figure's runs"
        )
    width, rate = noisy.iloc[0]
    clean, usual = table["label_noise"] == 0, table["learning_rate"] == rate
    chosen = {
        "width": clean & usual,
        "label_noise": usual & (table["width"] == width),
        "control": clean & ~usual,
    }
    parts = []
    for sweep, rows in chosen.items():
        part = table[rows].copy()
        part.insert(len(part.columns) - 2, "sweep", sweep)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


if __name__ == "__main__":
    command.run(main)
