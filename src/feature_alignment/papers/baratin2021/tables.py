"""The tables of baratin2021's figures, from the measurements of its runs."""

from collections.abc import Sequence

import pandas as pd

from feature_alignment.run.collecting import (
    SERIES,
    Collect,
    Collection,
    Table,
    is_last,
    layer_places,
    with_column,
    with_place,
)

EASY_FITTED = 0.9
"""Accuracy on the easy examples from which on they count as fitted."""

RANDOM_LABELS = "random_labels"
NORMS = ("frobenius_product", "path_norm")
"""Capacity measures that an untrained network has too."""


def eigenfunctions(collection: Collection) -> Table:
    """Return all rows, with ``radius`` (of the ring's middle) where a measure is ring by ring."""
    return with_place(collection.measurements, "radius")


def kernel_maps(collection: Collection) -> Table:
    """Return all rows, and ``class_margin``, ``class_correlation`` minus that of the other task."""
    table = collection.measurements
    by_measure = table.set_index([*SERIES, "step"]).sort_index()
    own, other = (
        by_measure[by_measure["measure"] == f"class_correlation{which}"] for which in ("", "_other")
    )
    margin = own.assign(measure="class_margin", value=own["value"] - other["value"])
    return pd.concat([table, margin.reset_index()], ignore_index=True)


def spectrum(collection: Collection) -> Table:
    """Return accuracies and spectra; ``stretch`` is the largest eigenvalue over the median.

    Trace ratios and energies of the labels are called ``trace_ratio_40``, ``label_energy_40`` and
    so on, by the number of eigenvalues.
    """
    table = collection.measurements
    counted = table["at"].notna()
    counts = table.loc[counted, "at"].astype(int).astype(str)
    table = table.assign(
        measure=table["measure"].where(~counted, table["measure"] + "_" + counts), at=pd.NA
    )
    chosen = table[
        table["layer"].isna() & (table["measure"] != "alignment") & (table["measure"] != "loss")
    ]
    by_measure = chosen.set_index([*SERIES, "step", "split"])
    largest, median = (
        by_measure[by_measure["measure"] == f"eigenvalue_{which}"]
        for which in ("largest", "median")
    )
    ratio = (largest["value"] / median["value"]).reindex(largest.index)
    stretch = largest.assign(measure="stretch", value=ratio).reset_index()
    return pd.concat([chosen, stretch], ignore_index=True)


def alignment(collection: Collection) -> Table:
    """Return accuracies and alignments, by layer too, with the layer's place as ``depth``.

    Derived: ``maximum_alignment`` of the whole kernel along the run; at the end of the run,
    ``final_layer_alignment`` by layer and ``layer_spread``, the largest of them over the least.
    """
    table = collection.measurements
    table = table[table["measure"].isin(["accuracy", "alignment"])]
    table = with_column(table, "depth", layer_places(table))
    whole = table[(table["measure"] == "alignment") & table["layer"].isna()]
    layers = table[(table["measure"] == "alignment") & table["layer"].notna()]
    highest = whole.loc[whole.groupby([*SERIES, "split"])["value"].idxmax()]
    final = layers[is_last(table)[layers.index]]
    groups = final.groupby([*SERIES, "split"])["value"]
    spread = final.loc[groups.idxmax()].assign(
        measure="layer_spread",
        value=(groups.max() / groups.min()).to_numpy(),
        layer=pd.NA,
        depth=pd.NA,
    )
    return pd.concat(
        [
            table,
            highest.assign(measure="maximum_alignment"),
            final.assign(measure="final_layer_alignment"),
            spread,
        ],
        ignore_index=True,
    )


def learning_rate(collection: Collection) -> Table:
    """Return what :func:`spectrum` and :func:`alignment` return, once each."""
    spectra, alignments = spectrum(collection), alignment(collection)
    alignments = alignments[alignments["measure"] != "accuracy"]
    return pd.concat([with_column(spectra, "depth", pd.NA), alignments], ignore_index=True)


def rates(collection: Collection) -> Table:
    """Return accuracies and alignments of the whole kernel.

    Derived: ``onset_step`` of the alignment on training examples, the step at which half of its
    rise from start to maximum is done, within the steps that all runs have.
    """
    table = collection.measurements
    table = table[table["measure"].isin(["accuracy", "alignment"]) & table["layer"].isna()]
    common = table.groupby("run")["step"].max().min()
    curves = table[
        (table["measure"] == "alignment") & (table["split"] == "train") & (table["step"] <= common)
    ].sort_values([*SERIES, "step"], kind="stable")
    onsets = curves.groupby(SERIES, sort=False).tail(1).assign(measure="onset_step")
    reached = curves.set_index("step").groupby(SERIES, sort=False)["value"]
    onsets["value"] = [_first_reaching(curve, 0.5) for _, curve in reached]
    return pd.concat([table, onsets], ignore_index=True)


def uncentred(collection: Collection) -> Table:
    """Return accuracies, alignments and spectra of both kernels, with ``depth`` for layers.

    The trace ratio of the centred kernel is that of 40 eigenvalues alone, ``trace_ratio_40``.
    """
    table = collection.measurements
    counted = table["at"].notna()
    ratio = (table["measure"] == "trace_ratio") & (table["at"] == 40)
    table = table.assign(measure=table["measure"].where(~ratio, "trace_ratio_40"), at=pd.NA)
    table = table[(ratio | ~counted) & (table["measure"] != "loss")]
    return with_column(table, "depth", layer_places(table))


def difficulty(collection: Collection) -> Table:
    """Return the rows of figure 4 by what makes examples ``difficult``.

    That is random labels, or their dataset; see :func:`easy_against_difficult`.
    """

    def kind(run: str) -> object:
        noise = collection.setting(run, "difficult.label_noise")
        return RANDOM_LABELS if noise else collection.setting(run, "difficult.name")

    return easy_against_difficult(collection.with_condition("difficult", kind))


def easy_against_difficult(collection: Collection) -> Table:
    """Return accuracies and alignments of the whole kernel, and what is derived from them.

    ``alignment_ratio`` is easy over difficult. Once for each run and seed, at its last step:
    ``maximum_ratio`` (in figure 4 also ``maximum_ratio_random_labels`` or
    ``maximum_ratio_other_dataset``); of the alignment on easy examples, ``onset_step``, where half
    of its rise from start to maximum is done, and ``rise_factor``, the step where three quarters
    are over that where one quarter is; of that on difficult examples, ``growth_before`` and
    ``growth_after`` the first time that the easy ones are fitted, or up to the end if they never
    are, as factors.
    """
    table = collection.measurements
    table = table[
        table["layer"].isna() & table["measure"].isin(["accuracy", "alignment"])
    ].reset_index(drop=True)
    table = table.sort_values([*SERIES, "step"], kind="stable", ignore_index=True)
    alignments = table[table["measure"] == "alignment"].set_index([*SERIES, "step"])
    easy, difficult = (alignments[alignments["split"] == split] for split in ("easy", "difficult"))
    quotient = (easy["value"] / difficult["value"]).reindex(easy.index)
    ratio = easy.assign(measure="alignment_ratio", value=quotient, split=pd.NA).reset_index()
    derived = []
    for (run, seed), ratios in ratio.groupby(SERIES, sort=False):
        at = {
            name: part["value"].loc[run, seed]
            for name, part in (("easy", easy), ("difficult", difficult))
        }
        mine = table[(table["run"] == run) & (table["seed"] == seed)]
        accuracy = mine[(mine["measure"] == "accuracy") & (mine["split"] == "easy")]
        fitted = accuracy.loc[accuracy["value"] >= EASY_FITTED, "step"]
        values = {"maximum_ratio": ratios["value"].max()}
        if "difficult" in ratios:
            random = ratios["difficult"].iloc[0] == RANDOM_LABELS
            kind = "random_labels" if random else "other_dataset"
            values[f"maximum_ratio_{kind}"] = values["maximum_ratio"]
        values["onset_step"] = _first_reaching(at["easy"], 0.5)
        quarter, three_quarters = (
            max(_first_reaching(at["easy"], share), 1) for share in (0.25, 0.75)
        )
        values["rise_factor"] = three_quarters / quarter
        hard = at["difficult"]
        since = fitted.min() if len(fitted) else hard.index[-1]
        values["growth_before"] = hard[since] / hard.iloc[0]
        values["growth_after"] = hard.iloc[-1] / hard[since]
        last = ratios.iloc[[-1]]
        derived += [last.assign(measure=name, value=value) for name, value in values.items()]
    return pd.concat([table, ratio, *derived], ignore_index=True)


def _first_reaching(curve: pd.Series, share: float) -> float:
    """Return the first step at which a share of the rise from start to maximum is done."""
    start = curve.iloc[0]
    return float(curve.index[curve >= start + share * (curve.max() - start)].min())


def complexity(collection: Collection) -> Table:
    """Return the measurements at the end of every run, once for each sweep it belongs to.

    They are marked by ``sweep``; see :func:`by_sweep`. Derived: ``reached``, 1 where the loss of
    the whole training set ends below the run's ``stop.loss`` and 0 where the run ended before; and
    ``initial_frobenius_product`` and ``initial_path_norm``, of the untrained network, where the
    measures that look at what training changes are zero.
    """
    return by_sweep(pd.concat(_at_the_end(collection, NORMS), ignore_index=True))


def capacity(collection: Collection) -> Table:
    """Return what :func:`complexity` does, of the measure of Neyshabur et al., and the gaps.

    Derived: ``loss_gap``, the loss on test examples minus that on training examples, and
    ``error_gap``, the same of the share of wrong answers; ``reached``; and
    ``initial_neyshabur_capacity``, of the untrained network.
    """
    final, *derived = _at_the_end(collection, ["neyshabur_capacity"])
    gaps = []
    for measure, name, sign in (("loss", "loss_gap", 1), ("accuracy", "error_gap", -1)):
        chosen = final[final["measure"] == measure].set_index(SERIES)
        train, test = (chosen[chosen["split"] == split] for split in ("train", "test"))
        value = sign * (test["value"] - train["value"])
        gaps.append(test.assign(measure=name, split=pd.NA, value=value).reset_index())
    return by_sweep(pd.concat([final, *derived, *gaps], ignore_index=True))


def _at_the_end(collection: Collection, initial: Sequence[str]) -> list[Table]:
    """Return the last measurements, whether their loss was reached, and some of the first ones."""
    table = collection.measurements
    final = table[is_last(table)]
    losses = final[(final["measure"] == "loss") & (final["split"] == "train")]
    goals = losses["run"].map(lambda run: collection.setting(run, "stop.loss"))
    reached = losses.assign(measure="reached", value=(losses["value"] < goals).astype(float))
    first = table[(table["step"] == 0) & table["measure"].isin(initial)]
    return [final, reached, first.assign(measure="initial_" + first["measure"])]


def by_sweep(table: Table) -> Table:
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
        parts.append(with_column(table[rows], "sweep", sweep))
    return pd.concat(parts, ignore_index=True)


TABLES: dict[str, Collect] = {
    "fig1_eigenfunctions": eigenfunctions,
    "a1_half_disk": eigenfunctions,
    "fig2_spectrum": spectrum,
    "fig3_alignment": alignment,
    "fig4_difficulty": difficulty,
    "fig6_complexity": complexity,
    "f6n_neyshabur": capacity,
    "a2_depth": easy_against_difficult,
    "a3_resnet": alignment,
    "a4_learning_rate": learning_rate,
    "a4r_rates": rates,
    "f3u_uncentred": uncentred,
    "a5_kernel_maps": kernel_maps,
    "a6_yin_yang": kernel_maps,
}
