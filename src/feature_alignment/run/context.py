"""What every training run shares: its arguments, its checkpoint, its table."""

import argparse
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from feature_alignment import provenance
from feature_alignment.data.loading import Task, load_task
from feature_alignment.randomness import generator
from feature_alignment.storage import read_json
from feature_alignment.tables import meta_path, tidy, write_table
from feature_alignment.training.loop import Checkpointing, DivergenceError, Measurement

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset: its array file and its manifest."""

    arrays: Path
    manifest: dict


@dataclass(frozen=True)
class Run:
    """One named run with one seed, the datasets it reads, by name, and where it writes."""

    module: str
    spec: dict
    seed: int
    datasets: Mapping[str, Dataset]
    out: Path
    checkpoint: Path
    checkpoint_interval_s: float
    device: torch.device
    threads: int
    dtype: str = "float32"
    """What the run's networks compute in, for the record."""

    @property
    def name(self) -> str:
        """The run's name, ``paper/run``."""
        return f"{self.spec['paper']}/{self.spec['run']}"

    @property
    def settings(self) -> dict:
        """The resolved settings."""
        return self.spec["settings"]

    @property
    def draws(self) -> str:
        """What random choices depend on beside seed and purpose: the run's name.

        Runs of a paper with the same setting ``draws`` share weights, images and orders instead,
        so that their difference is not one of luck.
        """
        shared = self.settings.get("draws")
        return self.name if shared is None else f"{self.spec['paper']}/{shared}"

    def task(self, **changes: object) -> Task:
        """Load the run's data; see :func:`feature_alignment.data.loading.load_task`.

        Args:
            **changes: Replace entries of the setting ``dataset``.

        Raises:
            ValueError: If the dataset was not given to the run.
        """
        chosen = {**self.settings["dataset"], **changes}
        name = chosen.pop("name")
        if name not in self.datasets:
            given = ", ".join(self.datasets) or "none"
            raise ValueError(f"the run needs the dataset {name!r}, but --data gave: {given}")
        dataset = self.datasets[name]
        return load_task(dataset.arrays, dataset.manifest, **chosen, run=self.draws, seed=self.seed)

    def generator(self, purpose: str, *indices: int) -> torch.Generator:
        """Return the run's random generator for ``purpose``."""
        return generator(self.draws, self.seed, purpose, *indices)

    def shuffled(self, count: int) -> Callable[[int], Tensor]:
        """Return the epoch order that visits ``count`` examples in a new random order each time."""
        return lambda epoch: torch.randperm(count, generator=self.generator("order", epoch))

    def checkpointing(self) -> Checkpointing:
        """Return where this run saves its state, bound to its spec, code, data and device."""
        identity = [
            self.spec,
            self.seed,
            provenance.code_hash(self.module),
            [dataset.manifest["sha256"] for dataset in self.datasets.values()],
            str(self.device),
            self.threads,
            torch.__version__,
            np.__version__,
        ]
        fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return Checkpointing(self.checkpoint, fingerprint, self.checkpoint_interval_s)

    def complete(self, train: Callable[[Checkpointing], list[Measurement]]) -> None:
        """Train and write the table of measurements.

        Args:
            train: Runs the training with the checkpoint it is given.

        Raises:
            DivergenceError: If the training diverged; the measurements taken before lie beside
                the checkpoint, where the message says.
        """
        self._complete((), {(): train}, {(): self.checkpointing()}, lambda: None)

    def complete_parts(
        self,
        conditions: Sequence[str],
        parts: Mapping[tuple, Callable[[Checkpointing], list[Measurement]]],
        *,
        beside: Callable[[], None] = lambda: None,
    ) -> None:
        """Run several trainings one after the other and write their measurements as one table.

        Small trainings are not worth a process each. A part that is finished is not repeated
        when the run is resumed.

        Args:
            conditions: Names of the columns that tell the parts apart.
            parts: From the values in those columns to the training, as in :meth:`complete`.
            beside: Writes what lies beside the table, while the checkpoints are still there.

        Raises:
            DivergenceError: As in :meth:`complete`; what is kept has the finished parts too.
        """
        whole = self.checkpointing()
        checkpoints = {values: whole.part(".".join(map(str, values))) for values in parts}
        self._complete(conditions, parts, checkpoints, beside)

    def _complete(
        self,
        conditions: Sequence[str],
        parts: Mapping[tuple, Callable[[Checkpointing], list[Measurement]]],
        checkpoints: Mapping[tuple, Checkpointing],
        beside: Callable[[], None],
    ) -> None:
        kept = self.checkpoint.with_suffix(".partial.csv")
        rows: list[dict] = []
        for values, train in parts.items():
            constant = dict(zip(conditions, values, strict=True))
            try:
                measurements = train(checkpoints[values])
            except DivergenceError as error:
                rows += [{**asdict(entry), **constant} for entry in error.measurements]
                self._write(kept, rows, conditions)
                where = "".join(f", {name} {value}" for name, value in constant.items())
                message = (
                    f"{self.name}, seed {self.seed}{where}: {error}. Measurements so far: {kept}"
                )
                raise DivergenceError(message, error.measurements) from error
            rows += [{**asdict(entry), **constant} for entry in measurements]
        beside()
        self._write(self.out, rows, conditions)
        finished = [checkpoint.path for checkpoint in checkpoints.values()]
        for stale in (*finished, kept, meta_path(kept)):
            stale.unlink(missing_ok=True)

    def _write(self, path: Path, rows: Iterable[Mapping], conditions: Sequence[str]) -> None:
        identity = {"paper": self.spec["paper"], "run": self.spec["run"], "seed": self.seed}
        table = tidy(({**identity, **row} for row in rows), conditions)
        machine = {"device": str(self.device), "dtype": self.dtype, "threads": self.threads}
        manifests = [dataset.manifest for dataset in self.datasets.values()]
        meta = provenance.describe(self.module, self.spec, manifests, seed=self.seed, **machine)
        write_table(path, table, meta)


def parse_run(
    module: str, description: str, argv: Sequence[str] | None, *, dtype: str = "float32"
) -> Run:
    """Read the arguments of a training run and set torch up to be deterministic.

    Args:
        module: Dotted name of the module that runs.
        description: Text for ``--help``.
        argv: Arguments, ``None`` for the command line's.
        dtype: What the run's networks compute in.

    Raises:
        ValueError: If the device is not there or a file is not JSON.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--spec", type=Path, required=True, help="resolved spec (JSON)")
    parser.add_argument("--seed", type=int, required=True, help="replicate, 0, 1, …")
    parser.add_argument(
        "--data", type=Path, nargs="*", default=[], help="prepared datasets (safetensors)"
    )
    parser.add_argument(
        "--manifest", type=Path, nargs="*", default=[], help="their manifests (JSON), in order"
    )
    parser.add_argument("--out", type=Path, required=True, help="table of measurements (CSV)")
    parser.add_argument("--checkpoint", type=Path, required=True, help="where to save the state")
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
    given = [
        Dataset(arrays, read_json(manifest))
        for arrays, manifest in zip(arguments.data, arguments.manifest, strict=True)
    ]
    datasets = {dataset.manifest["name"]: dataset for dataset in given}
    torch.set_num_threads(arguments.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats itself only so
    torch.set_deterministic_debug_mode("error")
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # by default tf32, good to three digits
    return Run(
        module=module,
        spec=read_json(arguments.spec),
        seed=arguments.seed,
        datasets=datasets,
        out=arguments.out,
        checkpoint=arguments.checkpoint,
        checkpoint_interval_s=arguments.checkpoint_interval,
        device=device,
        threads=arguments.threads,
        dtype=dtype,
    )
