"""The tables of beaglehole2024's figures, from the measurements of its runs."""

from collections.abc import Sequence

import pandas as pd

from feature_alignment.papers.beaglehole2024.matched import MATCHED, differences, matched
from feature_alignment.run.collecting import Collect, Collection, Table, with_column, with_place
from feature_alignment.tables import tidy

CORRELATIONS = ("uc_nfa_pearson", "uc_nfa_cosine", "c_nfa_pearson", "c_nfa_cosine")
NULLS = tuple(
    f"{name}_{form}"
    for name in ("null_uc_nfa", "permuted_uc_nfa", "null_c_nfa", "independent")
    for form in ("pearson", "cosine")
)
LEFT = ("uc_left_alignment", "c_left_alignment")


def networks(collection: Collection) -> Table:
    """Return the measurements with epochs counted as the paper does.

    0 is the end of the first epoch, whose rate is tiny. Measurements before it, at initialisation,
    are left out.
    """
    measurements = collection.measurements
    shifted = measurements.assign(epoch=measurements["epoch"] - 1)
    return shifted[shifted["epoch"] >= 0].reset_index(drop=True)


def emergence(collection: Collection) -> Table:
    """Return the rows of B1: the four correlations of every layer after every epoch."""
    return _of(networks(collection), *CORRELATIONS)


def loss_and_weight_change(collection: Collection) -> Table:
    """Return the rows of B2: loss, accuracy and each layer's weight change after every epoch."""
    return _of(networks(collection), "loss", "accuracy", "weight_change")


def initial_and_final(collection: Collection) -> Table:
    """Return the rows of B3: the correlations at epoch 0 and at the end, marked by ``stage``."""
    return stages(_of(networks(collection), *CORRELATIONS))


def convolutions(collection: Collection) -> Table:
    """Return the rows of B4: correlations, weight change, loss and accuracy of VGG networks."""
    return _of(networks(collection), *CORRELATIONS, "weight_change", "loss", "accuracy")


def initial_scale(collection: Collection) -> Table:
    """Return the rows of B5, at epoch 0 and at the end, by ``gain``.

    Those of B4; ``centred_share``; the alignments of left singular vectors, the null models and
    independent matrices, see :mod:`feature_alignment.probes.ansatz`; and
    ``null_minus_independent``, the difference of their Pearson correlations.
    """
    measured = networks(collection)
    kept = (*CORRELATIONS, *NULLS, *LEFT, "centred_share", "weight_change", "loss", "accuracy")
    table = stages(_of(measured, *kept))
    keys = [name for name in table.columns if name not in ("measure", "value")]
    null, independent = (
        table[table["measure"] == f"{name}_pearson"] for name in ("null_c_nfa", "independent")
    )
    both = null.merge(independent, on=keys, suffixes=("", "_independent"))
    gap = both[keys].assign(
        measure="null_minus_independent", value=both["value"] - both["value_independent"]
    )
    return pd.concat([table, gap], ignore_index=True)


def early_alignment(collection: Collection) -> Table:
    """Return the rows of B6: all measurements, and per seed and ``alpha`` their mean error.

    ``mean_relative_error`` is the mean of ``relative_error`` over sizes, ε and readouts: of all
    networks of a seed, whose errors a single network's scatter would hide. ``mean_error_size``, by
    ``dimension``, is the mean of |``relative_error``| over networks of all dimensions alike: those
    whose width and number of examples, relative to the dimension, every dimension has.
    """
    measured = collection.measurements.astype({"dimension": "Int64", "width": "Int64"})
    errors = measured[measured["measure"] == "relative_error"]
    means = errors.groupby(["paper", "run", "seed", "alpha"], as_index=False)["value"].mean()
    means = means.assign(measure="mean_relative_error")
    shape = [errors[name] / errors["dimension"] for name in ("width", "examples")]
    dimensions = errors["dimension"].groupby(shape).transform("nunique")
    alike = errors[dimensions == errors["dimension"].nunique()]
    sizes = alike.assign(value=alike["value"].abs())
    sizes = sizes.groupby(["paper", "run", "seed", "dimension"], as_index=False)["value"].mean()
    sizes = sizes.assign(measure="mean_error_size")
    found = [*means.to_dict("records"), *sizes.to_dict("records")]
    conditions = ("dimension", "width", "examples", "alpha", "epsilon", "readout")
    return pd.concat([measured, tidy(found, conditions)[measured.columns]], ignore_index=True)


def speed_limits(collection: Collection) -> Table:
    """Return the rows of B7 by task (``rank``, ``dimension``) and ``method``.

    All measurements of the runs by epoch, but for cosines; the same, prefixed
    with ``matched_``, where the training losses of all methods are equal, see
    :mod:`feature_alignment.papers.beaglehole2024.matched`; and differences there, of the
    method that favours the first layer: ``uc_nfa_gain``, by layer, and ``nfm_share_gain`` over SGD,
    ``uc_nfa_gain_over_equal`` and ``nfm_share_gain_over_equal`` over equal speeds.
    """
    kept = ("loss", "relative_loss", "nfm_share", "agop_share", "weight_change", *CORRELATIONS[::2])
    measured = _of(collection.measurements, *kept)
    conditions = ["rank", "dimension"]
    equal = matched(measured, conditions, "relative_loss")
    compared = {f"{MATCHED}uc_nfa_pearson": "uc_nfa_gain", f"{MATCHED}nfm_share": "nfm_share_gain"}
    gains = [
        row
        for other, suffix in (("sgd", ""), ("equal", "_over_equal"))
        for row in differences(equal, compared, "favoured", other, suffix)
    ]
    return _joined(measured, equal, gains, [*conditions, "method"])


def speed_ratios(collection: Collection) -> Table:
    """Return the rows of B7 with several ratios of speeds, by ``method`` and ``ratio``.

    As for :func:`speed_limits`; methods are ``sgd``, without a ratio, and ``ratio_N``. The
    differences ``uc_nfa_gain``, by layer, and ``nfm_share_gain`` are those of each over SGD, at the
    training loss that these two reach, however slow the others are.
    """
    kept = ("loss", "relative_loss", "nfm_share", "weight_change", *CORRELATIONS[::2])
    measured = _of(collection.measurements, *kept)
    conditions = ["rank", "dimension"]
    equal = matched(measured, conditions, "relative_loss")
    compared = {f"{MATCHED}uc_nfa_pearson": "uc_nfa_gain", f"{MATCHED}nfm_share": "nfm_share_gain"}
    methods = [name for name in measured["method"].unique() if name != "sgd"]
    gains = [
        {**row, "method": method}
        for method in methods
        for row in differences(
            matched(
                measured[measured["method"].isin(["sgd", method])], conditions, "relative_loss"
            ),
            compared,
            method,
            "sgd",
            "",
        )
    ]
    table = _joined(measured, equal, gains, [*conditions, "method"])
    ratios = table["method"].str.extract(r"^ratio_(\d+)$", expand=False)
    return with_column(table, "ratio", pd.to_numeric(ratios).astype("Int64"))


def favoured_layers(collection: Collection) -> Table:
    """Return the rows of B7's images by ``dataset`` and ``method``.

    As for :func:`speed_limits`; the differences, a row per layer, are those of the method that
    favours this layer: ``uc_nfa_gain`` over SGD, ``uc_nfa_gain_over_equal`` over equal speeds and
    ``uc_nfa_rise`` over the layer's initial value.
    """
    measured = _of(collection.measurements, "loss", "accuracy", "weight_change", *CORRELATIONS[::2])
    equal = matched(measured, ["dataset"], "loss")
    compared = {f"{MATCHED}uc_nfa_pearson": "uc_nfa_gain"}
    favouring = sorted(name for name in equal["method"].unique() if name.startswith("layer "))
    gains = [
        row
        for method in favouring
        for other, suffix in (("sgd", ""), ("equal", "_over_equal"))
        for row in differences(equal, compared, method, other, suffix)
        if row["layer"] == method.replace("layer ", "linear")
    ]
    start = measured[measured["epoch"] == 0].assign(measure=lambda t: MATCHED + t["measure"])
    for method in favouring:
        own = equal[equal["method"] == method]
        both = pd.concat([own, start[start["method"] == method].assign(method="start")])
        gains += [
            {**row, "measure": "uc_nfa_rise"}
            for row in differences(both, compared, method, "start", "")
            if row["layer"] == method.replace("layer ", "linear")
        ]
    return _joined(measured, equal, gains, ["dataset", "method"])


def exponents(collection: Collection) -> Table:
    """Return UC-NFA and C-NFA at the end with the AGOP to the power ``exponent``.

    Networks are told apart by ``dataset``, ``network`` and ``gain``, which multiplied the initial
    weights. ``half_minus_one`` is how much higher UC-NFA (Pearson) is with the square root of the
    AGOP than with the AGOP itself, and ``half_minus_one_initial`` how much at epoch 0, in the
    untrained network.
    """
    ends = stages(networks(collection))
    final, initial = (_powers(collection, ends, stage) for stage in ("final", "initial"))
    gaps = initial[initial["measure"] == "half_minus_one"]
    return pd.concat([final, gaps.assign(measure="half_minus_one_initial")], ignore_index=True)


def _powers(collection: Collection, ends: Table, stage: str) -> Table:
    """Return UC-NFA and C-NFA by ``exponent`` and ``half_minus_one`` at one stage."""
    measured = ends[ends["stage"] == stage].drop(columns="stage")
    powers = measured["measure"].str.contains("_power_", regex=False)
    parts = []
    for exponent in sorted(measured.loc[powers, "at"].unique()):
        for measure in CORRELATIONS:
            kind, _, form = measure.rpartition("_")
            named = measured["measure"] == f"{kind}_power_{form}"
            rows = measured[named & (measured["at"] == exponent)]
            parts.append(with_place(rows.assign(measure=measure), "exponent"))
    table = pd.concat(parts, ignore_index=True)
    architectures = {run: collection.setting(run, "model.architecture") for run in collection.specs}
    table = with_column(table, "network", table["run"].map(architectures))
    own = table[table["measure"] == "uc_nfa_pearson"]
    keys = [name for name in table.columns if name not in ("exponent", "measure", "value")]
    half, one = (own[own["exponent"] == exponent] for exponent in (0.5, 1.0))
    both = half.merge(one, on=keys, suffixes=("", "_one"))
    gap = both[keys].assign(measure="half_minus_one", value=both["value"] - both["value_one"])
    return pd.concat([table, gap], ignore_index=True)


def stages(table: Table) -> Table:
    """Return the rows at epoch 0 and at the last epoch of each run and seed, by ``stage``."""
    last = table.groupby(["run", "seed"])["epoch"].transform("max")
    parts = [
        with_column(table[rows], "stage", stage)
        for stage, rows in (("initial", table["epoch"] == 0), ("final", table["epoch"] == last))
    ]
    return pd.concat(parts).reset_index(drop=True)


def _of(measurements: Table, *measures: str) -> Table:
    return measurements[measurements["measure"].isin(measures)].reset_index(drop=True)


def _joined(
    measured: Table, equal: Table, gains: Sequence[dict], conditions: Sequence[str]
) -> Table:
    found = pd.concat([measured, equal, tidy(gains, conditions)], ignore_index=True)
    return found[measured.columns]


TABLES: dict[str, Collect] = {
    "b1_nfa_emergence": emergence,
    "b2_loss_and_weight_change": loss_and_weight_change,
    "b3_initial_and_final": initial_and_final,
    "b4_convolutions": convolutions,
    "b5_initial_scale": initial_scale,
    "b6_early_alignment": early_alignment,
    "b7_speed_limits": speed_limits,
    "b7r_ratios": speed_ratios,
    "b7c_favoured_layers": favoured_layers,
    "c1_exponents": exponents,
}
