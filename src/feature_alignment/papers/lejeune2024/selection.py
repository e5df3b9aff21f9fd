"""From curves of test error to the errors, differences and ratios of figure 4's models."""

import math
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from feature_alignment.measures.sample_complexity import (
    early_stopping,
    geometric_interval,
    mean_ratio,
    ratio_at,
)
from feature_alignment.run.collecting import Collection

PROTOCOLS = {
    "fresh": {"published": "test"},
    "one": {"corrected": "held_out", "corrected-oracle": "test"},
}
"""By the setting ``subset``: the protocols that a training serves, and what selects its epoch."""
PAPERS_STOPPING = {"patience": 20, "least_epochs": 0}
"""How the authors' scripts stop, on the test set."""
BASELINE = "baseline"
"""The variant with the paper's settings."""


def by_kind(collection: Collection) -> tuple[Collection, Collection]:
    """Return the collections of trained models and of ridge regressions."""
    solved = [run for run, spec in collection.specs.items() if "ridges" in spec["settings"]]
    trained = [run for run in collection.specs if run not in solved]
    return collection.of_runs(trained), collection.of_runs(solved)


def with_variant(collection: Collection) -> pd.DataFrame:
    """Return the measurements with the variant of their run as a column."""
    labels = collection.record["labels"]
    return collection.with_condition("variant", lambda run: labels[run]["variant"]).measurements


def curves(collection: Collection) -> Iterator[tuple[dict, Mapping, pd.DataFrame]]:
    """Yield what identifies a training, its settings, and its errors by epoch and split."""
    identity = ["paper", "run", "seed", "dataset", "subset", "variant", "model", "n_train"]
    for place, rows in with_variant(collection).groupby(identity, sort=False):
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
                "published_error": published_error(collection, identity, identity["model"]),
            }
            for measure, value in values.items():
                if value is not None:
                    row = {"protocol": protocol, "measure": measure, "value": value}
                    yield {**identity, "split": "test", **row}


def published(collection: Collection, run: str) -> Mapping | None:
    """Return the paper's curves that a run repeats, ``None`` for a run that repeats none.

    They are test errors as its figure shows them, by model, one for each of ``sizes``.

    Raises:
        ValueError: If there are none by the name that the run's label gives, or not one for each.
    """
    label = collection.record["labels"][run].get("published")
    if label is None:
        return None
    known = collection.record.get("published", {})
    if label not in known:
        raise ValueError(
            f"run {run!r} repeats the published curves {label!r}; expected one of "
            f"{', '.join(known) or 'none'}: add them to the figure's record, or change the label"
        )
    shown = known[label]
    counts = {name: len(values) for name, values in shown.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"published.{label}: expected an error for each of sizes, got {counts}")
    return shown


def published_error(collection: Collection, identity: Mapping, model: str) -> float | None:
    """Return what the paper's figure shows for a model and number of images, if anything."""
    shown = published(collection, identity["run"])
    if shown is None or identity["n_train"] not in shown["sizes"]:
        return None
    return shown[model][shown["sizes"].index(identity["n_train"])]


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
    for run, spec in collection.specs.items():
        if shown := published(collection, run):
            curves = {
                model: dict(zip(shown["sizes"], shown[model], strict=True))
                for model in ("fixed", "adaptive")
            }
            place = (spec["paper"], collection.setting(run, "dataset.name"))
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
    """Return bootstrap intervals over seeds of the ratios that are not bounds."""
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
    measured = with_variant(collection)
    for place, rows in measured[measured["measure"] == "error"].groupby(keys, sort=False):
        wide = rows.pivot(index="step", columns="split", values="value")
        identity = {**dict(zip(keys, place, strict=True)), "model": "ridge", "split": "test"}
        for measure, split in (("error", "held_out"), ("oracle_error", "test")):
            value = wide["test"][wide[split].idxmin()]
            entry = {"protocol": "corrected", "measure": measure, "value": value}
            yield {**identity, **entry}
        shown = published_error(collection, identity, "fixed")
        if shown is not None:
            entry = {"protocol": "corrected", "measure": "published_error", "value": shown}
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
