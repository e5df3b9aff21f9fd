"""Runs that share a process: each keeps what it has finished until all of them have."""

import gc
import importlib
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from feature_alignment.integrity import verify
from feature_alignment.run.context import Run
from feature_alignment.storage import replacing
from feature_alignment.tables import meta_path, read_meta, read_table
from feature_alignment.training.readings import DivergenceError

log = logging.getLogger(__name__)


def perform_together(runs: Sequence[Run]) -> None:
    """Perform runs one after the other, as if each had a process of its own.

    To start a process takes longer than a short training. A workflow that runs a job again
    removes the files of all its runs, so what is finished is kept next to the checkpoints until the
    last run has ended; a run that is killed or fails costs the others nothing.

    Args:
        runs: Runs that differ by their seeds.

    Raises:
        DivergenceError: If some training diverged; the other runs are finished, and kept.
    """
    waiting = [kept(run) for run in runs]
    errors = []
    for run in waiting:
        if _is_finished(run):
            log.info("seed %d was finished before", run.seed)
            continue
        try:
            importlib.import_module(run.module).measure(replace(run, started=time.monotonic()))
        except DivergenceError as error:
            errors.append(error)
        gc.collect()
    if errors:
        measured = [entry for error in errors for entry in error.measurements]
        raise DivergenceError("; ".join(map(str, errors)), measured)
    for run, finished in zip(runs, waiting, strict=True):
        for source, target in zip(_files(finished), _files(run), strict=True):
            with replacing(target) as temporary:
                shutil.copyfile(source, temporary)
    for finished in waiting:
        for path in _files(finished):
            path.unlink()


def kept(run: Run) -> Run:
    """Return the run as one that is written next to its checkpoint."""
    return replace(run, out=run.checkpoint.with_suffix(".csv"))


def _files(run: Run) -> list[Path]:
    return [run.out, run.out.with_suffix(".npz"), meta_path(run.out)]


def _is_finished(run: Run) -> bool:
    """Say whether a run was finished by the same code, data and versions, and lies there whole."""
    if not all(path.is_file() for path in _files(run)):
        return False
    try:
        finished = read_meta(run.out).get("fingerprint") == run.fingerprint
        if finished:
            read_table(run.out)
            verify(run.out.with_suffix(".npz"))
        return finished
    except ValueError as error:
        log.warning("seed %d is measured anew: %s", run.seed, error)
        return False
