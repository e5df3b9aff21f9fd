"""How a run is shown: the records that Snakemake writes, and what comes of them."""

import io
import logging
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

import snakemake_logger_plugin_feature_alignment as progress

JOBS = {"prepare_dataset": 1, "compute_run_0_1": 3, "reuse_toy_r": 1, "collect_toy_b1": 1}
JOBS |= {"plot_toy_b1": 1, "judge_claims": 1, "all": 1, "total": 9}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def settings(**changes):
    names = ("nocolor", "stdout", "dryrun", "verbose", "debug_dag", "printshellcmds")
    return SimpleNamespace(**dict.fromkeys(names, False) | changes)


@pytest.fixture(params=[io.StringIO, Terminal], ids=["file", "terminal"])
def stream(request, monkeypatch):
    made = request.param()
    monkeypatch.setattr("sys.stderr", made)
    return made


@pytest.fixture
def handler(stream):
    made = progress.LogHandler(settings(), None)
    made.setFormatter(logging.Formatter())
    return made


def record(event=None, level=logging.INFO, message="", path="snakemake/dag.py", **facts):
    made = logging.LogRecord("snakemake", level, path, 1, message, None, None)
    made.__dict__.update(facts, event=event)
    return made


def run(handler, *rules, fail=(), log=()):
    """Begin a run and end jobs of those rules, those whose place is in ``fail`` with an error."""
    handler.emit(record(LogEvent.RUN_INFO, stats=JOBS))
    for place, rule in enumerate(rules):
        handler.emit(record(LogEvent.JOB_INFO, jobid=place, rule_name=rule))
        facts = {"jobid": place, "rule_name": rule, "output": ["made.csv"], "log": list(log)}
        if place in fail:
            handler.emit(record(LogEvent.JOB_ERROR, logging.ERROR, "Error in rule", **facts))
        else:
            handler.emit(record(LogEvent.JOB_FINISHED, job_id=place))


def test_every_stage_has_its_jobs():
    assert progress.stages_of(JOBS) == {
        "prepare": 1,
        "train": 4,
        "collect": 1,
        "plot": 1,
        "audit": 2,
    }
    assert progress.stages_of({"plot_toy_b1": 2, "total": 2}) == {"plot": 2}


def test_a_run_is_shown_by_stage(handler, stream):
    run(handler, "prepare_dataset", "compute_run_0_1", "compute_run_0_1")
    handler.close()
    text = stream.getvalue()
    assert "prepare" in text
    assert "1 of 1" in text
    assert "2 of 4" in text
    assert "3 jobs done, 0 min" in text
    assert "rule" not in text


def test_a_file_has_a_line_per_tenth(monkeypatch):
    monkeypatch.setattr("sys.stderr", stream := io.StringIO())
    handler = progress.LogHandler(settings(), None)
    handler.emit(record(LogEvent.RUN_INFO, stats={"compute_run": 200, "total": 200}))
    for job in range(200):
        handler.emit(record(LogEvent.JOB_INFO, jobid=job, rule_name="compute_run"))
        handler.emit(record(LogEvent.JOB_FINISHED, job_id=job))
    handler.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 12
    assert lines[3].endswith("train: 60 of 200")
    assert "\x1b" not in stream.getvalue()


def test_failed_jobs_are_told_last_with_the_ends_of_their_logs(handler, stream, tmp_path):
    log = tmp_path / "job.log"
    log.write_text("\n".join(f"line {n}" for n in range(100)))
    run(handler, "compute_run", "plot_toy_b1", fail=[0], log=[log])
    handler.close()
    text = stream.getvalue()
    assert "1 failed" in text
    told = text[text.index("failed: compute_run, for made.csv") :]
    assert str(log) in told
    assert told.count("line ") == progress.TAIL
    assert "line 99" in told
    assert told.strip().splitlines()[-1].startswith("1 jobs 1 failed")


def test_a_job_that_was_tried_again_is_not_told(handler, stream):
    run(handler, "compute_run", fail=[0])
    handler.emit(record(LogEvent.JOB_FINISHED, job_id=0))
    handler.close()
    assert "failed: " not in stream.getvalue()
    assert "1 jobs done" in stream.getvalue()


@pytest.mark.parametrize("content, said", [(None, "not read: No such file"), ("", "(empty)")])
def test_a_log_that_says_nothing(tmp_path, content, said):
    if content is not None:
        (tmp_path / "log").write_text(content)
    assert said in progress.tail(tmp_path / "log")[0]


def test_what_the_workflow_and_warnings_say_is_shown(handler, stream):
    handler.emit(record(message="Building DAG of jobs..."))
    handler.emit(record(message="of 3 runs", path="workflow/rules/common.smk"))
    handler.emit(record(LogEvent.RUN_INFO, stats=JOBS))
    handler.emit(record(level=logging.WARNING, message="beware"))
    handler.emit(record(LogEvent.ERROR, logging.ERROR, "no such target"))
    handler.emit(record(LogEvent.JOB_STARTED, jobs=[1]))
    handler.close()
    text = stream.getvalue()
    assert "Building" not in text
    assert all(said in text for said in ("of 3 runs", "beware", "no such target"))


def test_a_dry_run_is_as_without_the_plugin(monkeypatch):
    monkeypatch.setattr("sys.stdout", stream := io.StringIO())
    handler = progress.LogHandler(settings(dryrun=True, stdout=True), None)
    handler.setFormatter(logging.Formatter())
    handler.emit(record(LogEvent.RUN_INFO, message="Job stats:", stats=JOBS))
    handler.emit(record(LogEvent.JOB_INFO, message="rule a:", jobid=1, rule_name="a"))
    handler.close()
    assert stream.getvalue() == "Job stats:\nrule a:\n"


def test_bars_make_way_for_what_programs_write(handler, stream):
    run(handler, "plot_toy_b1")
    handler.emit(record(LogEvent.JOB_INFO, jobid=7, rule_name="judge_claims"))
    print("309 claims", file=stream)
    begin = len(stream.getvalue())
    handler.emit(record(LogEvent.JOB_INFO, jobid=8, rule_name="plot_toy_b1"))
    handler.emit(record(LogEvent.JOB_FINISHED, job_id=8))
    if isinstance(stream, Terminal):
        assert stream.getvalue()[begin:] == ""
    handler.emit(record(LogEvent.JOB_FINISHED, job_id=7))
    handler.close()
    assert "1 of 2" in stream.getvalue()[begin:]
