"""How far a run is: ``snakemake --logger feature-alignment``.

On a terminal there is one bar per stage, elsewhere a line whenever a stage has come a tenth
further. Jobs that failed are told at the end, each with the last lines of its log. Warnings and
errors are shown when they come; all else is in Snakemake's own log, which the last line names.
A dry run prints what it prints without the plugin.

Snakemake finds the plugin by the name of this package and needs nothing of it.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from logging import WARNING, LogRecord
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

STAGES = ("prepare", "train", "collect", "plot", "audit")
"""The stages of a run, in their order."""
_RULES = {
    "prepare": ("prepare_", "write_spec"),
    "train": ("compute_run", "reuse_"),
    "collect": ("collect_", "keep_arrays"),
    "plot": ("plot_",),
}
"""What the names of a stage's rules begin with; all others belong to the last stage."""
_TALKING = ("judge_claims", "audit_", "tell_costs", "compare")
"""What the names of rules begin with whose programs write to the terminal; bars make way for it."""
TAIL = 15
"""How many of the last lines of a failed job's log are shown."""
STEPS = 10
"""In how many steps a stage is told where there are no bars."""


def stage_of(rule: str) -> str:
    """Return the stage that a rule belongs to, by its name."""
    for stage, beginnings in _RULES.items():
        if rule.startswith(beginnings):
            return stage
    return STAGES[-1]


def stages_of(jobs: Mapping[str, int]) -> dict[str, int]:
    """Return how many jobs each stage has, in order, from those of each rule.

    Rules that only gather files, such as ``all``, count for the last stage. The number of all jobs,
    ``total``, is left out.
    """
    counts = Counter()
    for rule, count in jobs.items():
        if rule != "total":
            counts[stage_of(rule)] += count
    return {stage: counts[stage] for stage in STAGES if counts[stage]}


def tail(log: str | Path, lines: int = TAIL) -> list[str]:
    """Return the last lines of a log, or words for why there are none."""
    try:
        text = Path(log).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return [f"(not read: {error.strerror})"]
    return text.splitlines()[-lines:] or ["(empty)"]


class LogHandler(LogHandlerBase):
    """Shows a run stage by stage, on standard error."""

    def __post_init__(self) -> None:
        self.stream = sys.stdout if self.common_settings.stdout else sys.stderr
        self.started = time.monotonic()
        self.rules: dict[int, str] = {}
        self.failed: dict[int, LogRecord] = {}
        self.done: Counter = Counter()
        self.talking: set[int] = set()
        self.progress: _Bars | _Lines | None = None

    @property
    def writes_to_stream(self) -> bool:
        """Yes: it stands in for Snakemake's own lines."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """No: Snakemake keeps its log."""
        return False

    @property
    def has_filter(self) -> bool:
        """No: what the command line is quiet about stays so."""
        return False

    @property
    def has_formatter(self) -> bool:
        """No: what is shown as it is reads as it does without the plugin."""
        return False

    @property
    def needs_rulegraph(self) -> bool:
        """No."""
        return False

    def emit(self, record: LogRecord) -> None:
        """Show what a record says of the run."""
        if self.common_settings.dryrun:
            self._write(self.format(record))
            return
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO and self.progress is None:
            self._begin(stages_of(record.stats))
        elif event == LogEvent.JOB_INFO:
            self.rules[record.jobid] = record.rule_name
            if record.rule_name.startswith(_TALKING) and self.progress is not None:
                self.talking.add(record.jobid)
                self.progress.hide()
        elif event == LogEvent.JOB_FINISHED:
            self._finish(record.job_id)
        elif event == LogEvent.JOB_ERROR:
            self.failed[record.jobid] = record
            self._listen(record.jobid)
            if self.progress is not None:
                self.progress.fail(stage_of(record.rule_name), self._failures())
        elif record.levelno >= WARNING or _is_of_workflow(record):
            self._write(self.format(record))

    def close(self) -> None:
        """End the bars, tell what failed, and how long it all took."""
        if self.progress is not None:
            self.progress.show()
            self.progress.close()
            self.progress = None
            for record in self.failed.values():
                self._write("\n".join(_told(record)))
            minutes, seconds = divmod(round(time.monotonic() - self.started), 60)
            end = f"{len(self.failed)} failed" if self.failed else "done"
            self._write(f"{sum(self.done.values())} jobs {end}, {minutes} min {seconds} s")
        super().close()

    def _begin(self, totals: Mapping[str, int]) -> None:
        shown = _Bars if self.stream.isatty() and not self.common_settings.nocolor else _Lines
        self.progress = shown(totals, self.stream)

    def _finish(self, job: int) -> None:
        self.failed.pop(job, None)  # tried again
        stage = stage_of(self.rules.get(job, ""))
        self.done[stage] += 1
        if self.progress is not None:
            self.progress.advance(stage, self.done[stage])
        self._listen(job)

    def _listen(self, job: int) -> None:
        """Let bars be there again when all programs that wrote have ended."""
        if job in self.talking:
            self.talking.remove(job)
            if not self.talking and self.progress is not None:
                self.progress.show()

    def _failures(self) -> Counter:
        return Counter(stage_of(record.rule_name) for record in self.failed.values())

    def _write(self, text: str) -> None:
        if text and text != "None":
            if self.progress is not None:
                self.progress.write(text)
            else:
                print(text, file=self.stream, flush=True)


def _is_of_workflow(record: LogRecord) -> bool:
    """Whether a line was written by the workflow itself, or says how it ended."""
    of_rules = record.pathname.endswith((".smk", "Snakefile"))
    return of_rules or str(record.msg).startswith(("Nothing to be done", "Complete log"))


def _told(record: LogRecord) -> Iterable[str]:
    """Yield what a failed job was, and the ends of its logs."""
    yield f"failed: {record.rule_name}, for {', '.join(record.output) or 'no file'}"
    for log in record.log or ():
        yield f"  {log}, last lines:"
        yield from (f"    {line}" for line in tail(log))


class _Lines:
    """Lines for a file or a pipe."""

    def __init__(self, totals: Mapping[str, int], stream) -> None:
        self.totals, self.stream = totals, stream
        self.told = dict.fromkeys(totals, 0)
        self.write(", ".join(f"{stage} {total}" for stage, total in totals.items()) + " jobs")

    def advance(self, stage: str, done: int) -> None:
        total = self.totals.get(stage, done)
        step = done * STEPS // total
        if step > self.told.get(stage, 0):
            self.told[stage] = step
            self.write(f"{time.strftime('%H:%M:%S')} {stage}: {done} of {total}")

    def fail(self, stage: str, failures: Mapping[str, int]) -> None:
        self.write(f"{time.strftime('%H:%M:%S')} {stage}: {failures[stage]} failed, others go on")

    def write(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def hide(self) -> None:
        pass

    show = close = hide


class _Bars:
    """One bar per stage, for a terminal."""

    def __init__(self, totals: Mapping[str, int], stream) -> None:
        from tqdm import tqdm

        self.tqdm, self.stream, self.totals = tqdm, stream, totals
        self.done: dict[str, int] = {}
        self.failures: Mapping[str, int] = {}
        self.bars: dict[str, tqdm] = {}
        self.show()

    def show(self) -> None:
        for place, (stage, total) in enumerate(self.totals.items()):
            if stage not in self.bars:
                self.bars[stage] = self.tqdm(
                    total=total,
                    initial=self.done.get(stage, 0),
                    desc=stage.ljust(max(map(len, self.totals))),
                    position=place,
                    file=self.stream,
                    dynamic_ncols=True,
                    mininterval=0,
                    bar_format="{desc} |{bar:40}| {n_fmt} of {total_fmt}{postfix}",
                )
                self._mark(stage)

    def hide(self) -> None:
        for bar in reversed(self.bars.values()):
            bar.leave = False
            bar.close()
        self.bars.clear()

    def advance(self, stage: str, done: int) -> None:
        self.done[stage] = done
        if stage in self.bars:
            self.bars[stage].update(done - self.bars[stage].n)

    def fail(self, stage: str, failures: Mapping[str, int]) -> None:
        self.failures = failures
        self._mark(stage)

    def _mark(self, stage: str) -> None:
        if stage in self.bars and self.failures.get(stage):
            self.bars[stage].set_postfix_str(f"{self.failures[stage]} failed")

    def write(self, text: str) -> None:
        self.tqdm.write(text, file=self.stream)

    def close(self) -> None:
        for bar in self.bars.values():
            bar.close()
