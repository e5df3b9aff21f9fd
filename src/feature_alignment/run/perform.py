"""Perform a run with one seed or several: its experiment measures, and a table is written."""

import argparse
import importlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from feature_alignment import command
from feature_alignment.integrity import read_sealed
from feature_alignment.run.allocation import keep_freed_memory
from feature_alignment.run.context import Dataset, Run
from feature_alignment.run.together import perform_together

ROOMS = Path(__file__).resolve().parents[1] / "papers"


def main(argv: Sequence[str] | None = None) -> None:
    """Perform a run; see ``--help`` for the arguments.

    The experiment is the module that the spec names. It has a function ``measure``, which takes
    the run and completes it, and may say in ``DTYPE`` what its networks compute in.
    """
    first, *others = runs = parse(argv)
    if others:
        perform_together(runs)
    else:
        importlib.import_module(first.module).measure(first)


def parse(argv: Sequence[str] | None) -> list[Run]:
    """Read the arguments of a run, for each seed, and set torch up to be deterministic.

    Raises:
        ValueError: If the device is not there, a file is not JSON or was changed, or the spec
            names no experiment.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=Path, required=True, help="resolved spec (JSON)")
    parser.add_argument("--seed", type=int, nargs="+", required=True, help="replicates, 0, 1, …")
    parser.add_argument(
        "--data", type=Path, nargs="*", default=[], help="prepared datasets (safetensors)"
    )
    parser.add_argument(
        "--manifest", type=Path, nargs="*", default=[], help="their manifests (JSON), in order"
    )
    parser.add_argument(
        "--out", type=Path, nargs="+", required=True, help="tables of measurements (CSV), by seed"
    )
    parser.add_argument(
        "--checkpoint", type=Path, nargs="+", required=True, help="where to save states, by seed"
    )
    parser.add_argument("--checkpoint-interval", type=float, default=20, help="seconds between")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, …")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    arguments = parser.parse_args(argv)
    try:
        device = torch.device(arguments.device)
    except RuntimeError as error:
        raise ValueError(f"unknown device {arguments.device!r}: {error}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device} asked for, but torch sees no GPU; use --device cpu")
    if len(arguments.data) != len(arguments.manifest):
        raise ValueError(
            f"expected one --manifest for each --data, got {len(arguments.manifest)} for "
            f"{len(arguments.data)}"
        )
    for name, places in (("out", arguments.out), ("checkpoint", arguments.checkpoint)):
        if len({*places}) != len({*arguments.seed}) or len(places) != len(arguments.seed):
            raise ValueError(
                f"expected one --{name} for each --seed, all of them different, got"
                f" {len(places)} for {len(arguments.seed)}"
            )
    given = [
        Dataset(arrays, _read_manifest(manifest))
        for arrays, manifest in zip(arguments.data, arguments.manifest, strict=True)
    ]
    spec = read_sealed(arguments.spec)
    module = experiment_module(spec)
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats itself only so
    torch.set_deterministic_debug_mode("error")
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # by default tf32, good to three digits
    dtype = getattr(importlib.import_module(module), "DTYPE", "float32")
    return [
        Run(
            module=module,
            spec=spec,
            seed=seed,
            datasets={dataset.manifest["name"]: dataset for dataset in given},
            out=out,
            checkpoint=checkpoint,
            checkpoint_interval_s=arguments.checkpoint_interval,
            device=device,
            threads=arguments.threads,
            dtype=dtype,
        )
        for seed, out, checkpoint in zip(
            arguments.seed, arguments.out, arguments.checkpoint, strict=True
        )
    ]


def _read_manifest(path: Path) -> dict:
    """Read what ``prepare`` wrote next to an array file."""
    manifest = read_sealed(path)
    needed = ("name", "sha256", "n_train", "classes", "mean", "std", "note")
    missing = [key for key in needed if not isinstance(manifest, dict) or key not in manifest]
    if missing:
        raise ValueError(
            f"{path} is no manifest of a prepared dataset: it has no {missing[0]!r}; delete it and"
            " run snakemake again, whose rule prepare_dataset makes it anew"
        )
    return manifest


def experiment_module(spec: dict) -> str:
    """Return the dotted name of the module that a spec names as its experiment.

    Raises:
        ValueError: If there is no such module in the paper's room.
    """
    paper, experiment = (str(spec.get(key)) for key in ("paper", "experiment"))
    named = all(re.fullmatch("[a-z0-9_]+", part) for part in (paper, experiment))
    if not (named and (ROOMS / paper / f"{experiment}.py").is_file()):
        raise ValueError(
            f"the spec names the experiment {experiment!r} of {paper!r}; expected a module in "
            "src/feature_alignment/papers/<paper>/"
        )
    return f"feature_alignment.papers.{paper}.{experiment}"


if __name__ == "__main__":
    command.run(main)
