"""Collect the tables of lejeune2024's figures from the measurements of the runs."""

import math
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from feature_alignment import command
from feature_alignment.experiments.collecting import Collection, collect_figure, with_column
from feature_alignment.measures.sample_complexity import (
    early_stopping,
    geometric_interval,
    mean_ratio,
    ratio_at,
)
from feature_alignment.tables import tidy

Table = pd.DataFrame

CONDITIONS = ("dataset", "protocol", "variant", "model", "n_train")
PROTOCOLS = {
    "fresh": {"published": "test"},
    "one": {"corrected": "held_out", "corrected-oracle": "test"},
}
"""By the setting ``subset``: the protocols that a training serves, and what selects its epoch."""
PAPERS_STOPPING = {"patience": 20, "least_epochs": 0}
BASELINE = "baseline"
"""The variant with the paper's settings."""
ERRORS = (
    0.9,
    0.85,
    0.8,
    0.75,
    0.7,
    0.65,
    0.6,
    0.5,
    0.4,
    0.3,
    0.25,
    0.2,
    0.15,
    0.12,
    0.1,
    0.07,
    0.05,
)
"""Test errors whose first epoch is looked for."""


KERNELS = {"fixed": "initial", "full": "final", "adaptive": "adaptive"}
"""Which kernel the tangent kernel of each model is."""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one figure; see ``--help`` for the arguments."""
    collect_figure("feature_alignment.experiments.lejeune2024.collect", __doc__, FIGURES, argv)


def kernel_alignment(collection: Collection) -> Table:
    """Return the cosines of kernels with K_y by the student's target, and other end results.

    ``sign_minus_smooth`` and ``centered_sign_minus_smooth`` are differences, between the targets,
    of ``cosine_averaged`` and ``centered_cosine_averaged``.
    """
    measured = collection.measurements
    kept = measured["measure"].str.contains("cosine") | measured["measure"].isin(
        ["loss", "path_identity_error", "teacher_loss", "teacher_sign_agreement"]
    )
    chosen = measured[kept & is_last(measured)]
    found = []
    for name, measure in (
        ("sign_minus_smooth", "cosine_averaged"),
        ("centered_sign_minus_smooth", "centered_cosine_averaged"),
    ):
        rows = chosen[chosen["measure"] == measure].set_index(["paper", "run", "seed", "target"])
        wide = rows["value"].unstack("target")
        difference = (wide["sign"] - wide["smooth"]).rename("value").reset_index()
        found.append(difference.assign(measure=name))
    return pd.concat([chosen, *found], ignore_index=True)


def kernel_diagonal(collection: Collection) -> Table:
    """Return the medians of the kernels' diagonals near and far from the teacher's boundary."""
    measured = collection.measurements
    kept = measured["measure"].str.startswith(("diagonal", "peak_ratio"))
    return measured[kept].reset_index(drop=True)


def kernel_spectra(collection: Collection) -> Table:
    """Return ``eigenvalue_share`` by target, kernel and rank, and alignments with classes.

    The target ``classes`` is that of the networks of figure 4 at the largest number of images:
    their kernel at the start (``initial``), of the trained network (``final``) and of the adapted
    features (``adaptive``), with ``kernel_alignment`` on test images and ``alignment_gain``, that
    alignment minus the initial one.
    """
    measured = collection.measurements
    students = measured[measured["target"].notna()]
    kernel = students["measure"].str.extract("^eigenvalue_(initial|averaged|final)$")[0]
    chosen = students[kernel.notna()]
    spectra = with_column(chosen, "kernel", kernel.dropna())
    spectra = with_column(spectra, "rank", chosen["layer"].astype(float))
    spectra = spectra.assign(measure="eigenvalue_share", layer=pd.NA)
    trained = measured[measured["n_train"] == measured["n_train"].max()]
    rank = trained["measure"].str.extract(r"^eigenvalue_share_(\d+)$")[0]
    kept = rank.notna() | (trained["measure"] == "kernel_alignment")
    own = with_column(trained[kept], "kernel", trained.loc[kept, "model"].map(KERNELS))
    own = with_column(own, "rank", rank[kept].astype(float)).assign(target="classes")
    own.loc[own["rank"].notna(), "measure"] = "eigenvalue_share"
    aligned = own[own["measure"] == "kernel_alignment"]
    initial = aligned[aligned["kernel"] == "initial"].set_index(["run", "seed"])["value"]
    places = pd.MultiIndex.from_frame(aligned[["run", "seed"]])
    gains = aligned.assign(
        measure="alignment_gain", value=aligned["value"].to_numpy() - initial[places].to_numpy()
    )
    joined = pd.concat([spectra, own, gains[gains["kernel"] != "initial"]], ignore_index=True)
    return joined.drop(columns=["model", "n_train"])


def sample_complexity(collection: Collection) -> Table:
    """Return test errors by dataset, protocol, model and number of images.

    Per seed: ``error`` on the test set at the selected epoch, ``selected_epoch``,
    ``stopped_epoch``, ``last_error`` where this selection stops, ``train_error`` at the end of the
    training, when all selections have stopped, ``cut_off``, 1 where that was the last epoch
    allowed, ``distinct_images`` seen up to the selected epoch and, per image of the x axis,
    ``distinct_ratio``; ``published_error``, what the paper's figure shows. Differences of models
    on the same images: ``adaptive_minus_fixed``, ``fixed_minus_full``; of the selections,
    ``selection_cost``, corrected minus corrected-oracle. The latter stops as the paper does, so
    that it differs from the published protocol by its images alone. The model ``ridge`` is ridge
    regression on the fixed features, see :func:`robustness`.
    """
    trained, solved = by_kind(collection)
    rows = list(selected(trained))
    return table([*rows, *differences(rows), *ridge_errors(solved)])


def sample_ratios(collection: Collection) -> Table:
    """Return how many times as many images the fixed features need as the adaptive ones.

    Per seed: ``mean_ratio`` over the errors that both reach, ``log10_mean_ratio``, its logarithm,
    and, for each number of images of the adaptive features, ``sample_ratio``, see
    :mod:`feature_alignment.measures.sample_complexity`; where the curves give a bound alone, its
    measure ends in ``_below`` (the ratio is at most that) or ``_above``. Over seeds, with
    bootstrap intervals: ``mean_ratio_low`` and ``mean_ratio_high``, ``sample_ratio_low`` and
    ``sample_ratio_high``. With the prefix ``published_`` the same of the paper's figure, of which
    all numbers of images are taken; with ``exact_`` the same for exact ridge regression on the
    fixed features in place of their training.
    """
    trained, solved = by_kind(collection)
    rows = [*selected(trained), *ridge_errors(solved)]
    return table(
        [
            *ratios(rows, ""),
            *published_ratios(collection),
            *ratios(rows, "exact_", fixed="ridge"),
        ]
    )


def optimisation_speed(collection: Collection) -> Table:
    """Return the first epoch at which each model's test error is at most each of :data:`ERRORS`.

    ``epochs_to_error`` by ``test_error``; ``epochs_ratio``, those of the fixed features over
    those of the adaptive ones, where both get there.
    """
    rows = []
    for identity, _, curve in curves(collection):
        protocol = next(iter(PROTOCOLS[identity.pop("subset")]))
        for level in ERRORS:
            reached = curve.index[(curve["test"] <= level) & (curve.index > 0)]
            if len(reached):
                condition = {"protocol": protocol, "test_error": level}
                value = {"measure": "epochs_to_error", "value": reached[0]}
                rows.append({**identity, **condition, **value})
    keys = ["paper", "seed", "dataset", "protocol", "variant", "n_train", "test_error"]
    epochs = pd.DataFrame(rows).pivot(index=keys, columns="model", values="value")
    ratio = (epochs["fixed"] / epochs["adaptive"]).dropna()
    rows += [
        {**dict(zip(keys, place, strict=True)), "measure": "epochs_ratio", "value": value}
        for place, value in ratio.items()
    ]
    return table(rows, "test_error")


def robustness(collection: Collection) -> Table:
    """Return the errors of the variants at the numbers of images that all of them have.

    Measures of :func:`sample_complexity`, protocols with a held-out set alone. Ridge regression on
    the tangent kernel is the model ``ridge``: ``error`` with the ridge that the held-out images
    select, ``oracle_error`` with the one that the test images do; ``ridge_minus_fixed``, error
    minus that of the fixed features trained on the same images. ``adaptive_minus_baseline`` is the
    error of adaptive features minus that of fixed ones in the baseline, on the same images.
    """
    trained, solved = by_kind(collection)
    rows = [row for row in selected(trained) if row["protocol"] == "corrected"]
    ridges = list(ridge_errors(solved))
    sizes = set.intersection(
        *({r["n_train"] for r in rows if r["run"] == run} for run in trained.specs)
    )
    rows += differences(rows)
    kept = [row for row in rows if row["n_train"] in sizes]
    adapted = [row for row in kept if row.get("model") == "adaptive"]
    return table(
        [
            *kept,
            *ridges,
            *distances(ridges, rows, "ridge_minus_fixed"),
            *distances(adapted, rows, "adaptive_minus_baseline"),
        ]
    )


def learned_displacements(collection: Collection) -> Table:
    """Return ``singular_value`` of each layer's displacement at the end, by ``rank``."""
    measured = with_settings(collection)
    found = measured["measure"].str.extract(r"^singular_value_(\d+)$")[0]
    chosen = measured[found.notna()].assign(measure="singular_value")
    chosen = with_column(chosen, "rank", found.dropna().astype(int))
    return chosen.drop(columns="subset").reset_index(drop=True)


FIGURES = {
    "fig1_kernel_alignment": kernel_alignment,
    "fig3_kernel_diagonal": kernel_diagonal,
    "fig4_sample_complexity": sample_complexity,
    "c1_sample_ratios": sample_ratios,
    "c2_optimisation_speed": optimisation_speed,
    "c3_robustness": robustness,
    "n1_learned_displacements": learned_displacements,
    "n2_kernel_spectra": kernel_spectra,
}


def table(rows: Sequence[Mapping], *conditions: str) -> Table:
    """Return rows as a tidy table with the conditions of this paper."""
    known = {*CONDITIONS, *conditions}
    columns = {"paper", "run", "seed", "step", "epoch", "layer", "split", "measure", "value"}
    kept = [{k: v for k, v in row.items() if k in known | columns} for row in rows]
    return tidy(kept, [*CONDITIONS, *conditions])


def is_last(measured: Table) -> pd.Series:
    """Say which measurements are of the last step of their run, seed and target."""
    return measured["step"] == measured.groupby(["run", "seed", "target"])["step"].transform("max")


def by_kind(collection: Collection) -> tuple[Collection, Collection]:
    """Return the collections of trained models and of ridge regressions."""
    solved = [run for run, spec in collection.specs.items() if "ridges" in spec["settings"]]
    trained = [run for run in collection.specs if run not in solved]
    return of_runs(collection, trained), of_runs(collection, solved)


def of_runs(collection: Collection, runs: Sequence[str]) -> Collection:
    """Return the collection of some runs alone."""
    chosen = collection.measurements["run"].isin(runs)
    specs = {run: collection.specs[run] for run in runs}
    measurements = collection.measurements[chosen]
    return Collection(collection.figure, measurements, specs, collection.sources, collection.out)


def with_settings(collection: Collection) -> Table:
    """Return the measurements with dataset, subset and variant of their run as columns."""
    for name, of_settings in (
        ("dataset", lambda settings: settings["dataset"]["name"]),
        ("subset", lambda settings: settings["subset"]),
        ("variant", lambda settings: settings["variant"]),
    ):
        collection = collection.with_condition(
            name, lambda spec, of_settings=of_settings: of_settings(spec["settings"])
        )
    return collection.measurements


def curves(collection: Collection) -> Iterator[tuple[dict, Mapping, Table]]:
    """Yield what identifies a training, its settings, and its errors by epoch and split."""
    identity = ["paper", "run", "seed", "dataset", "subset", "variant", "model", "n_train"]
    for place, rows in with_settings(collection).groupby(identity, sort=False):
        named = dict(zip(identity, place, strict=True))
        errors = rows[rows["measure"] == "error"]
        curve = errors.pivot(index="epoch", columns="split", values="value")
        distinct = rows[rows["measure"] == "distinct_images"].set_index("epoch")["value"]
        yield named, collection.specs[named["run"]]["settings"], curve.assign(distinct=distinct)


def selected(collection: Collection) -> Iterator[dict]:
    """Yield the measures of each training under each protocol it serves."""
    for identity, settings, curve in curves(collection):
        trained = curve[curve.index > 0]
        for protocol, split in PROTOCOLS[identity["subset"]].items():
            own = {name: settings["stop"][name] for name in ("patience", "least_epochs")}
            stopping = PAPERS_STOPPING if protocol == "corrected-oracle" else own
            chosen = early_stopping(trained.index.tolist(), trained[split].tolist(), **stopping)
            n = identity["n_train"]
            distinct = trained["distinct"][chosen.epoch]
            values = {
                "error": trained["test"][chosen.epoch],
                "selected_epoch": chosen.epoch,
                "stopped_epoch": chosen.stopped,
                "last_error": trained["test"][chosen.stopped],
                "train_error": trained["train"].iloc[-1],
                "cut_off": float(trained.index[-1] == settings["epochs"]),
                "distinct_images": distinct,
                "distinct_ratio": distinct / n,
                "published_error": published_error(settings, identity["model"], n),
            }
            for measure, value in values.items():
                if value is not None:
                    row = {"protocol": protocol, "measure": measure, "value": value}
                    yield {**identity, "split": "test", **row}


def published_error(settings: Mapping, model: str, n: int) -> float | None:
    """Return what the paper's figure shows for a model and number of images, if anything."""
    published = settings["published"]
    if published is None or n not in published["sizes"]:
        return None
    return published[model][published["sizes"].index(n)]


def differences(rows: Sequence[Mapping]) -> list[dict]:
    """Return differences of errors on the same images: of models, and of selections."""
    keys = ["paper", "seed", "split", "dataset", "variant", "n_train"]
    errors = pd.DataFrame([row for row in rows if row["measure"] == "error"])
    found = []
    for name, column, greater, lesser in (
        ("adaptive_minus_fixed", "model", "adaptive", "fixed"),
        ("fixed_minus_full", "model", "fixed", "full"),
        ("selection_cost", "protocol", "corrected", "corrected-oracle"),
    ):
        other = "protocol" if column == "model" else "model"
        index = [*keys, other, "run"]
        wide = errors.pivot(index=index, columns=column, values="value")
        if {greater, lesser} <= set(wide.columns):
            for place, value in (wide[greater] - wide[lesser]).dropna().items():
                identity = dict(zip(index, place, strict=True))
                found.append({**identity, "measure": name, "value": value})
    return found


def ratios(rows: Sequence[Mapping], prefix: str, fixed: str = "fixed") -> list[dict]:
    """Return ratios of the images that fixed and adaptive features need, and their intervals."""
    keys = ["paper", "dataset", "protocol", "variant"]
    errors = pd.DataFrame([row for row in rows if row["measure"] == "error"])
    found = []
    for place, own in errors.groupby([*keys, "seed"], sort=False):
        identity = dict(zip([*keys, "seed"], place, strict=True))
        by_model = {
            model: rows.set_index("n_train")["value"].to_dict()
            for model, rows in own.groupby("model")
        }
        if {fixed, "adaptive"} <= set(by_model):
            measured = compared(by_model[fixed], by_model["adaptive"], prefix)
            found += [{**identity, **row} for row in measured]
    return found + intervals(found, [*keys, "n_train", "measure"])


def published_ratios(collection: Collection) -> list[dict]:
    """Return the same of the paper's figure, from all its numbers of images, without a seed."""
    found = {}
    for spec in collection.specs.values():
        settings = spec["settings"]
        if settings["published"] is not None:
            curves = {
                model: dict(
                    zip(settings["published"]["sizes"], settings["published"][model], strict=True)
                )
                for model in ("fixed", "adaptive")
            }
            place = (spec["paper"], settings["dataset"]["name"])
            found[place] = compared(curves["fixed"], curves["adaptive"], "published_")
    return [
        {"paper": paper, "dataset": dataset, "protocol": "published", **row}
        for (paper, dataset), rows in found.items()
        for row in rows
    ]


def compared(fixed: Mapping, adaptive: Mapping, prefix: str) -> Iterator[dict]:
    """Yield the ratios of two curves, over all errors and at each number of images."""
    mean = mean_ratio(fixed, adaptive)
    ending = "" if mean.side == "at" else f"_{mean.side}"
    yield {"measure": f"{prefix}mean_ratio{ending}", "value": mean.value}
    yield {"measure": f"{prefix}log10_mean_ratio{ending}", "value": math.log10(mean.value)}
    for n in adaptive:
        ratio = ratio_at(n, fixed, adaptive)
        ending = "" if ratio.side == "at" else f"_{ratio.side}"
        yield {"n_train": n, "measure": f"{prefix}sample_ratio{ending}", "value": ratio.value}


def intervals(rows: Sequence[Mapping], keys: Sequence[str]) -> list[dict]:
    """Return bootstrap intervals over seeds of the ratios that are no bounds."""
    found = []
    ratios = pd.DataFrame(rows, columns=[*keys, "value"])
    for place, own in ratios.groupby(list(keys), sort=False, dropna=False):
        identity = dict(zip(keys, place, strict=True))
        is_ratio = identity["measure"].endswith(("mean_ratio", "sample_ratio"))
        if is_ratio and "log10" not in identity["measure"]:
            ends = geometric_interval(own["value"].tolist())
            for end, value in zip(("low", "high"), ends, strict=True):
                name = f"{identity['measure']}_{end}"
                found.append({**identity, "measure": name, "value": value})
    return found


def ridge_errors(collection: Collection) -> Iterator[dict]:
    """Yield the errors of ridge regression with the ridge that each split selects."""
    keys = ["paper", "run", "seed", "dataset", "variant", "n_train"]
    measured = with_settings(collection)
    for place, rows in measured[measured["measure"] == "error"].groupby(keys, sort=False):
        wide = rows.pivot(index="step", columns="split", values="value")
        identity = {**dict(zip(keys, place, strict=True)), "model": "ridge", "split": "test"}
        for measure, split in (("error", "held_out"), ("oracle_error", "test")):
            value = wide["test"][wide[split].idxmin()]
            entry = {"protocol": "corrected", "measure": measure, "value": value}
            yield {**identity, **entry}
        settings = collection.specs[identity["run"]]["settings"]
        published = published_error(settings, "fixed", identity["n_train"])
        if published is not None:
            entry = {"protocol": "corrected", "measure": "published_error", "value": published}
            yield {**identity, **entry}


def distances(rows: Sequence[Mapping], trained: Sequence[Mapping], name: str) -> list[dict]:
    """Return errors minus those of fixed features trained in the baseline on the same images."""
    keys = ("seed", "dataset", "n_train")
    errors = {
        tuple(row[key] for key in keys): row["value"]
        for row in trained
        if row["measure"] == "error" and (row["model"], row["variant"]) == ("fixed", BASELINE)
    }
    return [
        {**row, "measure": name, "value": row["value"] - errors[place]}
        for row in rows
        if row["measure"] == "error" and (place := tuple(row[key] for key in keys)) in errors
    ]


if __name__ == "__main__":
    command.run(main)
