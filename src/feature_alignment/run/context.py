"""What every run shares: its spec, its data, its draws, its checkpoint, its table."""

import hashlib
import json
import logging
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from feature_alignment import provenance
from feature_alignment.data.loading import Task, load_task
from feature_alignment.models.architectures import model_modules
from feature_alignment.randomness import generator, seed_sequence
from feature_alignment.run.settings import Settings
from feature_alignment.storage import sha256, write_arrays
from feature_alignment.tables import meta_path, tidy, write_table
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.readings import DivergenceError, Measurement

log = logging.getLogger(__name__)

Part = Callable[[Checkpointing], list[Measurement]]
Arrays = Callable[[], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset: its array file and its manifest."""

    arrays: Path
    manifest: dict


@dataclass(frozen=True)
class Run:
    """One named run with one seed, the datasets it reads, by name, and where it writes.

    ``module`` is the experiment's; ``dtype`` is what the run's networks compute in, for the record,
    as is when it ``started``.
    """

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
    started: float = provenance.STARTED

    @property
    def name(self) -> str:
        """The run's name, ``paper/run``."""
        return f"{self.spec['paper']}/{self.spec['run']}"

    @cached_property
    def settings(self) -> Settings:
        """The resolved settings."""
        return Settings(self.spec["settings"])

    @property
    def draws(self) -> str:
        """What random choices depend on besides seed and purpose: the run's name.

        Runs of a paper with the same setting ``draws`` share weights, images and orders instead,
        so that their difference is not one of luck.
        """
        shared = self.settings.get("draws")
        return self.name if shared is None else f"{self.spec['paper']}/{shared}"

    @property
    def modules(self) -> list[str]:
        """The modules whose code decides the result: the experiment and its networks."""
        return [self.module, *model_modules(self.spec["settings"])]

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

    def seed_sequence(self, purpose: str, *indices: int) -> np.random.SeedSequence:
        """Return what NumPy's generators of the run for ``purpose`` start from."""
        return seed_sequence(self.draws, self.seed, purpose, *indices)

    @property
    def fingerprint(self) -> str:
        """What decides the result: a hash of spec, seed, code, data, device and versions."""
        identity = [
            self.spec,
            self.seed,
            provenance.code_hash(*self.modules),
            [dataset.manifest["sha256"] for dataset in self.datasets.values()],
            str(self.device),
            self.threads,
            torch.__version__,
            np.__version__,
        ]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def _processor(self) -> str:
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return provenance.processor()

    def checkpointing(self) -> Checkpointing:
        """Return where this run saves its state, bound to its fingerprint."""
        return Checkpointing(self.checkpoint, self.fingerprint, self.checkpoint_interval_s)

    def complete(self, measure: Part, arrays: Arrays = dict) -> None:
        """Measure and write the table of measurements, and arrays next to it.

        Args:
            measure: Does the work with the checkpoint it is given.
            arrays: Returns what else is kept, by name, when the measurements are there.

        Raises:
            DivergenceError: If a training diverged; the measurements taken before lie next to the
                checkpoint, where the message says.
            ValueError: If a setting was not read.
        """
        self._complete((), {(): measure}, {(): self.checkpointing()}, arrays)

    def complete_parts(
        self, conditions: Sequence[str], parts: Mapping[tuple, Part], arrays: Arrays = dict
    ) -> None:
        """Do several measurements one after the other and write them as one table.

        Small trainings are not worth a process each. A part that is finished is not repeated
        when the run is resumed.

        Args:
            conditions: Names of the columns that tell the parts apart.
            parts: From the values in those columns to what measures, as in :meth:`complete`.
            arrays: As in :meth:`complete`.

        Raises:
            DivergenceError: As in :meth:`complete`; what is kept has the finished parts too.
            ValueError: As in :meth:`complete`.
        """
        whole = self.checkpointing()
        checkpoints = {values: whole.part(".".join(map(str, values))) for values in parts}
        self._complete(conditions, parts, checkpoints, arrays)

    def _complete(
        self,
        conditions: Sequence[str],
        parts: Mapping[tuple, Part],
        checkpoints: Mapping[tuple, Checkpointing],
        arrays: Arrays,
    ) -> None:
        kept = self.checkpoint.with_suffix(".partial.csv")
        rows: list[dict] = []
        for values, measure in parts.items():
            constant = dict(zip(conditions, values, strict=True))
            try:
                measurements = measure(checkpoints[values])
            except DivergenceError as error:
                rows += [{**asdict(entry), **constant} for entry in error.measurements]
                self._write(kept, rows, conditions)
                where = "".join(f", {name} {value}" for name, value in constant.items())
                message = (
                    f"{self.name}, seed {self.seed}{where}: {error}. Measurements so far: {kept}"
                )
                raise DivergenceError(message, error.measurements) from error
            rows += [{**asdict(entry), **constant} for entry in measurements]
        if unread := self.settings.unread():
            raise ValueError(
                f"{self.name} does not read its settings {', '.join(unread)}; what no run reads "
                "belongs elsewhere, since a change of it would compute the run again"
            )
        beside = self.out.with_suffix(".npz")
        write_arrays(beside, arrays())
        self._write(self.out, rows, conditions, {"npz": sha256(beside)})
        finished = [checkpoint.path for checkpoint in checkpoints.values()]
        for stale in (*finished, kept, meta_path(kept)):
            stale.unlink(missing_ok=True)

    def _write(
        self,
        path: Path,
        rows: Iterable[Mapping],
        conditions: Sequence[str],
        checksums: Mapping[str, str] = types.MappingProxyType({}),
    ) -> None:
        identity = {"paper": self.spec["paper"], "run": self.spec["run"], "seed": self.seed}
        table = tidy(({**identity, **row} for row in rows), conditions)
        facts = {
            "seed": self.seed,
            "device": str(self.device),
            "processor": self._processor(),
            "dtype": self.dtype,
            "threads": self.threads,
            "fingerprint": self.fingerprint,
            "started": self.started,
        }
        manifests = [dataset.manifest for dataset in self.datasets.values()]
        meta = provenance.describe(self.modules, self.spec, manifests, **facts)
        write_table(path, table, meta, checksums)
