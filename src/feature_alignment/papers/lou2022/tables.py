"""Collect the tables of lou2022's figures from the measurements of the networks."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from feature_alignment import command
from feature_alignment.measures.hierarchy import profile
from feature_alignment.papers.lou2022 import theory
from feature_alignment.run.collecting import (
    Collection,
    collect_figure,
    layer_places,
    with_column,
)

INITIAL, CUT_OFF = "initial", "cut off"
SERIES = ["run", "seed"]
AT_INITIALISATION = ("equilibrium_layer", "equilibrium_layer_mean_field", "input_correlation")

Table = pd.DataFrame
Settings = Mapping[str, object]
Condition = Callable[[Settings], object]

CONDITIONS: dict[str, Condition] = {
    "dataset": lambda settings: settings["dataset"]["name"],
    "architecture": lambda settings: settings["model"]["architecture"],
    "family": lambda settings: settings["model"]["architecture"].rstrip("0123456789"),
    "depth": lambda settings: settings["model"].get("depth"),
    "width": lambda settings: settings["model"]["width"],
    "learning_rate": lambda settings: settings.get("learning_rate"),
    "batch_size": lambda settings: settings["batch_size"],
    "optimizer": lambda settings: settings["optimizer"],
    "input_offset": lambda settings: settings["input_offset"],
}


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one figure; see ``--help`` for the arguments."""
    collect_figure("feature_alignment.papers.lou2022.tables", __doc__, FIGURES, argv)


def hierarchy(collection: Collection) -> Table:
    """Return the layers' alignment at each stage of training, by dataset and architecture."""
    return by_stage(collection, "dataset", "architecture")


def architectures(collection: Collection) -> Table:
    """Return the layers' alignment at each stage, with ``layers``, the number of layers."""
    table = by_stage(collection, "architecture", "family")
    counts = table.groupby("run")["layer_index"].max()
    return with_column(table, "layers", table["run"].map(counts))


def peaks_over_depth(collection: Collection) -> Table:
    """Return the final alignments of networks of several depths, set against the theory.

    See :func:`feature_alignment.papers.lou2022.theory.against_theory`.
    """
    table = final(by_stage(collection, "dataset", "depth", "learning_rate"))
    return pd.concat([table, theory.against_theory(table)], ignore_index=True)


def input_correlation(collection: Collection) -> Table:
    """Return the final alignments with ``distance_to_equilibrium``, peak minus equilibrium.

    It is in layers; the equilibrium is that of the infinitely wide network for the run's inputs.
    """
    table = final(by_stage(collection, "depth", "input_offset"))
    keys = ["run", "seed"]
    predicted = table[table["measure"] == "equilibrium_layer_mean_field"].set_index(keys)["value"]
    peaks = table[table["measure"] == "peak_layer"]
    places = pd.MultiIndex.from_frame(peaks[keys])
    distance = peaks["value"].to_numpy() - predicted.reindex(places).to_numpy()
    rows = peaks.assign(measure="distance_to_equilibrium", value=distance)
    return pd.concat([table, rows], ignore_index=True)


def hyperparameters(collection: Collection) -> Table:
    """Return the final alignments by optimiser, learning rate and batch size, and the fit."""
    conditions = ("architecture", "optimizer", "learning_rate", "batch_size")
    return final(by_stage(collection, *conditions))


def evolution(collection: Collection) -> Table:
    """Return the layers' alignment at every measured step, with their ``spread`` at each of them.

    Once per run and seed: ``final_spread`` and ``reached``, 1 where the last loss was reached.
    """
    collection = _with_conditions(collection, "learning_rate")
    table = _weights(collection.measurements)
    table = with_column(table, "layer_index", layer_places(table))
    alignments = table[(table["measure"] == "alignment") & table["layer"].notna()]
    spreads = pd.concat(
        [
            _of_curve(curve, {"spread": profile(curve["value"]).spread})
            for _, curve in alignments.groupby([*SERIES, "step", "split"], sort=False)
        ]
    )
    ends = spreads[_is_last(spreads)].assign(measure="final_spread")
    fits = table[table["measure"].isin(["loss", "accuracy"])]
    reached = _reached(table, collection.specs)
    return pd.concat([alignments, spreads, ends, fits, reached], ignore_index=True)


def information(collection: Collection) -> Table:
    """Return what :func:`feature_alignment.papers.lou2022.theory.information` does."""
    collection = _with_conditions(collection, "depth", "width")
    table = collection.measurements
    trained = (table["measure"] == "alignment") & (table["split"] == "test")
    trained &= _is_last(table) & (table["step"] > 0)
    initial = table["measure"].str.startswith(("forward", "backward"))
    kept = trained | initial | table["measure"].isin(AT_INITIALISATION)
    return theory.information(table[kept].reset_index(drop=True))


def by_stage(collection: Collection, *conditions: str) -> Table:
    """Return alignments at initialisation and where each loss is reached, layer by layer.

    Condition columns are those named, ``stage`` (``initial``, ``loss 0.1``, …; ``cut off`` at the
    end of a run that did not reach its last loss) and ``layer_index``, from 1, over the linear and
    convolutional layers; normalisation layers are left out. Rows: ``alignment`` of each layer;
    for each split, of its smoothed curve over layers, ``peak_layer``, ``peak_share`` (peak over
    number of layers), ``near_peak_low`` and ``near_peak_high``, the outermost layers within 5 % of
    the peak, ``spread`` and ``interior_rise``, see
    :class:`feature_alignment.measures.hierarchy.Profile`; of the curve itself
    ``maximum_alignment``, ``mean_alignment`` and ``rise_above_last``, the maximum over the last
    layer; ``loss``, ``accuracy`` and ``error``; once per run and seed ``reached``, 1 where the
    last loss was reached; and what was measured of the network at initialisation.
    """
    collection = _with_conditions(collection, *conditions)
    table = _weights(collection.measurements)
    table = with_column(table, "stage", _stages(table, collection.specs))
    table = with_column(table, "layer_index", layer_places(table))
    once = table[table["measure"].isin(AT_INITIALISATION)]
    table = table[table["stage"].notna()]
    alignments = table[(table["measure"] == "alignment") & table["layer"].notna()]
    rows = []
    for _, curve in alignments.groupby([*SERIES, "stage", "split"], sort=False):
        shape = profile(curve["value"])
        values = curve["value"]
        place = curve["layer_index"].tolist()
        summary = {
            "peak_layer": place[shape.peak - 1],
            "peak_share": place[shape.peak - 1] / place[-1],
            "near_peak_low": place[shape.near[0] - 1],
            "near_peak_high": place[shape.near[-1] - 1],
            "spread": shape.spread,
            "interior_rise": shape.interior_rise,
            "maximum_alignment": values.max(),
            "mean_alignment": values.mean(),
            "rise_above_last": values.max() / values.iloc[-1],
        }
        rows.append(_of_curve(curve, summary))
    fits = table[table["measure"].isin(["loss", "accuracy"])]
    accuracy = fits[fits["measure"] == "accuracy"]
    errors = accuracy.assign(measure="error", value=1 - accuracy["value"])
    reached = _reached(table, collection.specs)
    return pd.concat([alignments, *rows, fits, errors, reached, once], ignore_index=True)


def final(table: Table) -> Table:
    """Return the rows of the last stage, and those of the network at initialisation."""
    chosen = table["measure"].isin(AT_INITIALISATION) | _is_last(table)
    return table[chosen].reset_index(drop=True)


def _reached(table: Table, specs: Mapping[str, Mapping]) -> Table:
    """Return for every run and seed whether its last loss was reached."""
    ends = table[(table["measure"] == "losses_reached") & _is_last(table)]
    goals = ends["run"].map(lambda run: len(specs[run]["settings"]["stop"]["losses"]))
    return ends.assign(measure="reached", value=(ends["value"] == goals).astype(float))


def _is_last(table: Table) -> pd.Series:
    return table["step"] == table.groupby(SERIES)["step"].transform("max")


def _with_conditions(collection: Collection, *names: str) -> Collection:
    for name in names:
        collection = collection.with_condition(
            name, lambda spec, name=name: CONDITIONS[name](spec["settings"])
        )
    return collection


def _weights(table: Table) -> Table:
    """Return the rows but those of normalisation layers."""
    return table[~table["layer"].str.contains("norm").fillna(False)].reset_index(drop=True)


def _stages(table: Table, specs: Mapping[str, Mapping]) -> pd.Series:
    """Say at which stage each row was measured, nothing between two stages."""
    counts = table[table["measure"] == "losses_reached"].sort_values("step")
    names: dict[tuple, str] = {}
    for (run, seed), rows in counts.groupby(SERIES):
        losses = specs[run]["settings"]["stop"]["losses"]
        before = 0
        for step, count in zip(rows["step"], rows["value"].astype(int), strict=True):
            if count > before:
                names[run, seed, step] = f"loss {losses[count - 1]:g}"
            before = count
        names.setdefault((run, seed, rows["step"].iloc[-1]), CUT_OFF)
        names[run, seed, 0] = INITIAL
    keys = zip(table["run"], table["seed"], table["step"], strict=True)
    return pd.Series([names.get(key) for key in keys], index=table.index, dtype="string")


def _of_curve(curve: Table, values: Mapping[str, float]) -> Table:
    """Return one row per value for the curve over layers that ``curve`` holds."""
    row = curve.iloc[[0]].assign(layer=pd.NA, layer_index=pd.NA)
    return pd.concat([row.assign(measure=name, value=value) for name, value in values.items()])


FIGURES: dict[str, Callable[[Collection], Table]] = {
    "e1_hierarchy": hierarchy,
    "e2_information": information,
    "e3_peak_depth": peaks_over_depth,
    "e4_architectures": architectures,
    "e5_hyperparameters": hyperparameters,
    "e6_evolution": evolution,
    "c1_equal_rates": peaks_over_depth,
    "c2_input_correlation": input_correlation,
}


if __name__ == "__main__":
    command.run(main)
