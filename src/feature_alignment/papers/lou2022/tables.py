"""The tables of lou2022's figures, from the measurements of its networks."""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from feature_alignment.measures.hierarchy import UNTRAINED, WINDOW, profile
from feature_alignment.run.collecting import (
    SERIES,
    Collect,
    Collection,
    Table,
    is_last,
    layer_places,
    with_column,
)

INITIAL, CUT_OFF = "initial", "cut off"
OF_UNTRAINED = ("alignment", "peak_layer", "peak_share", "interior_rise")
AT_INITIALISATION = ("equilibrium_layer", "equilibrium_layer_mean_field", "input_correlation")


def hierarchy(collection: Collection) -> Table:
    """Return the layers' alignment at each stage of training, by dataset and architecture."""
    return by_stage(collection)


def architectures(collection: Collection) -> Table:
    """Return the layers' alignment at each stage, by ``family`` and number of ``layers``."""
    table = by_stage(collection.with_condition("family", lambda run: _family(collection, run)))
    counts = table.groupby("run")["layer_index"].max()
    return with_column(table, "layers", table["run"].map(counts))


def peaks_over_depth(collection: Collection) -> Table:
    """Return the final alignments of networks of several depths, set against the theory.

    What begins with ``initial_`` is of the networks before training, see :func:`with_initial`; the
    theory is :func:`feature_alignment.papers.lou2022.theory.against_theory`.
    """
    from feature_alignment.papers.lou2022.theory import against_theory  # loads torch

    table = with_initial(by_stage(with_depth(collection)))
    return pd.concat([table, against_theory(table)], ignore_index=True)


def input_correlation(collection: Collection) -> Table:
    """Return the final alignments with ``distance_to_equilibrium``, peak minus equilibrium.

    It is in layers; the equilibrium is that of the infinitely wide network for the run's inputs.
    What begins with ``initial_`` is of the networks before training, see :func:`with_initial`.
    """
    table = with_initial(by_stage(with_depth(collection)))
    exact = table[table["measure"] == "equilibrium_layer_mean_field"]
    predicted = exact.set_index(SERIES)["value"]
    parts = [table]
    for start in ("", UNTRAINED):
        peaks = table[table["measure"] == f"{start}peak_layer"]
        places = pd.MultiIndex.from_frame(peaks[SERIES])
        distance = peaks["value"].to_numpy() - predicted.reindex(places).to_numpy()
        parts.append(peaks.assign(measure=f"{start}distance_to_equilibrium", value=distance))
    return pd.concat(parts, ignore_index=True)


def hyperparameters(collection: Collection) -> Table:
    """Return the final alignments by optimiser, learning rate and batch size, and the fit."""
    return final(by_stage(collection))


def every_layer(collection: Collection) -> Table:
    """Return the final alignment of each layer next to the network's test error.

    Rows by ``layer_index`` and split of the labels: ``alignment``, and ``accuracy`` and ``error``
    on test examples, the same for all layers of a network. Once per run and seed ``reached``.
    """
    table = final(by_stage(collection))
    alignments = table[(table["measure"] == "alignment") & table["layer_index"].notna()]
    parts = [alignments, table[table["measure"] == "reached"]]
    for measure in ("accuracy", "error"):
        tested = table[(table["measure"] == measure) & (table["split"] == "test")]
        values = tested.set_index(SERIES)["value"]
        places = pd.MultiIndex.from_frame(alignments[SERIES])
        parts.append(alignments.assign(measure=measure, value=values[places].to_numpy()))
    return pd.concat(parts, ignore_index=True)


def smoothing(collection: Collection) -> Table:
    """Return the most aligned layer at the end of training by ``window`` of smoothing.

    For each of :data:`WINDOWS`, by run, seed and split: ``peak_layer`` of the curve over layers
    smoothed over so many, and ``peak_shift``, it minus that of the window of E3; next to them
    ``equilibrium_layer_mean_field``, which has no window, repeated for each, and, of the networks
    before training, ``initial_peak_layer`` and ``initial_peak_shift``.
    """
    table = with_initial(by_stage(with_depth(collection)))
    table = with_column(table, "window", pd.NA)
    rows = []
    for start in ("", UNTRAINED):
        alignments = table[table["measure"] == f"{start}alignment"].dropna(subset="layer_index")
        for _, curve in alignments.groupby([*SERIES, "split"], sort=False):
            place = curve["layer_index"].tolist()
            peaks = {window: place[profile(curve["value"], window).peak - 1] for window in WINDOWS}
            for window, peak in peaks.items():
                values = {"peak_layer": peak, "peak_shift": peak - peaks[WINDOW]}
                named = {f"{start}{measure}": value for measure, value in values.items()}
                rows.append(_of_curve(curve, named).assign(window=window))
    exact = table[table["measure"] == "equilibrium_layer_mean_field"]
    rows += [exact.assign(window=window) for window in WINDOWS]
    return pd.concat(rows, ignore_index=True)


def evolution(collection: Collection) -> Table:
    """Return the layers' alignment at every measured step, with their ``spread`` at each of them.

    Once per run and seed: ``final_spread`` and ``reached``, 1 where the last loss was reached.
    """
    table = _weights(collection.measurements)
    table = with_column(table, "layer_index", layer_places(table))
    alignments = table[(table["measure"] == "alignment") & table["layer"].notna()]
    spreads = pd.concat(
        [
            _of_curve(curve, {"spread": profile(curve["value"]).spread})
            for _, curve in alignments.groupby([*SERIES, "step", "split"], sort=False)
        ]
    )
    ends = spreads[is_last(spreads)].assign(measure="final_spread")
    fits = table[table["measure"].isin(["loss", "accuracy"])]
    reached = _reached(table, collection)
    return pd.concat([alignments, spreads, ends, fits, reached], ignore_index=True)


def information(collection: Collection) -> Table:
    """Return what :func:`feature_alignment.papers.lou2022.theory.information` does."""
    from feature_alignment.papers.lou2022 import theory  # loads torch

    table = with_depth(collection).measurements
    trained = (table["measure"] == "alignment") & (table["split"] == "test")
    trained &= is_last(table) & (table["step"] > 0)
    initial = table["measure"].str.startswith(("forward", "backward"))
    kept = trained | initial | table["measure"].isin(AT_INITIALISATION)
    return theory.information(table[kept].reset_index(drop=True))


def with_depth(collection: Collection) -> Collection:
    """Return the collection with ``depth`` L as the number of linear layers, not of hidden ones."""
    table = collection.measurements
    return replace(collection, measurements=table.assign(depth=table["depth"] + 1))


def _family(collection: Collection, run: str) -> str:
    """Return ``vgg`` for ``vgg13``."""
    return str(collection.setting(run, "model.architecture")).rstrip("0123456789")


def by_stage(collection: Collection) -> Table:
    """Return alignments at initialisation and where each loss is reached, layer by layer.

    Further condition columns are ``stage`` (``initial``, ``loss 0.1``, …; ``cut off`` at the
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
    table = _weights(collection.measurements)
    table = with_column(table, "stage", _stages(table, collection))
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
    reached = _reached(table, collection)
    return pd.concat([alignments, *rows, fits, errors, reached, once], ignore_index=True)


def final(table: Table) -> Table:
    """Return the rows of the last stage, and those of the network at initialisation."""
    chosen = table["measure"].isin(AT_INITIALISATION) | is_last(table)
    return table[chosen].reset_index(drop=True)


def with_initial(table: Table) -> Table:
    """Return the rows of :func:`final`, and what was measured of layers before training.

    That is ``initial_alignment`` of every layer, and of the curve over layers
    ``initial_peak_layer``, ``initial_peak_share`` and ``initial_interior_rise``.
    """
    start = table[(table["stage"] == INITIAL) & table["measure"].isin(OF_UNTRAINED)]
    of_layer = start["layer"].notna() | (start["measure"] != "alignment")
    named = start.assign(measure=UNTRAINED + start["measure"])[of_layer]
    return pd.concat([final(table), named], ignore_index=True)


def _reached(table: Table, collection: Collection) -> Table:
    """Return for every run and seed whether its last loss was reached."""
    ends = table[(table["measure"] == "losses_reached") & is_last(table)]
    goals = ends["run"].map(lambda run: len(collection.setting(run, "stop.losses")))
    return ends.assign(measure="reached", value=(ends["value"] == goals).astype(float))


def _weights(table: Table) -> Table:
    """Return the rows but those of normalisation layers."""
    return table[~table["layer"].str.contains("norm").fillna(False)].reset_index(drop=True)


def _stages(table: Table, collection: Collection) -> pd.Series:
    """Say at which stage each row was measured, nothing between two stages."""
    counts = table[table["measure"] == "losses_reached"].sort_values("step")
    names: dict[tuple, str] = {}
    for (run, seed), rows in counts.groupby(SERIES):
        losses = collection.setting(run, "stop.losses")
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


def smooth_activation(collection: Collection) -> Table:
    """Return the final alignments of networks with a smooth activation, set against the theory.

    As of E3, what begins with ``initial_`` being of the networks before training, with what
    :func:`feature_alignment.papers.lou2022.theory.against_smooth_theory` returns.
    """
    from feature_alignment.papers.lou2022.theory import against_smooth_theory  # loads torch

    table = with_initial(by_stage(with_depth(collection)))
    paths = ("model.activation", "bias_variance")
    [starts] = {tuple(collection.setting(run, path) for path in paths) for run in collection.specs}
    laws = against_smooth_theory(table, *starts)
    return pd.concat([table, laws], ignore_index=True)


WINDOWS = (1, 3, 5, 7)
"""Over how many layers curves are smoothed, to see what peaks owe to it."""
TABLES: dict[str, Collect] = {
    "e1_hierarchy": hierarchy,
    "e2_information": information,
    "e3_peak_depth": peaks_over_depth,
    "e4_architectures": architectures,
    "e5_hyperparameters": hyperparameters,
    "e6_evolution": evolution,
    "e7_every_layer": every_layer,
    "e8_smoothing": smoothing,
    "c1_equal_rates": peaks_over_depth,
    "c2_input_correlation": input_correlation,
    "c3_width": input_correlation,
    "c4_smooth": smooth_activation,
}
