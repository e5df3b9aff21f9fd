"""What a campaign runs next, and what becomes of runs that end."""

import os
import sys
import time
from dataclasses import replace

import pytest
from archived_runs import PAPERS, write_run
from made_up import ledger_row

from feature_alignment.integrity import meta_path
from feature_alignment.run import campaign as program
from feature_alignment.run.archive import Archive
from feature_alignment.run.campaign import UNKNOWN_MINUTES, Campaign, alone, plan
from feature_alignment.run.reuse import Reuse

PAPER, FIGURE = "beaglehole2024", "b5_initial_scale"
[RUN] = PAPERS[PAPER].runs_of(FIGURE, "laptop")
PLANNED = PAPERS[PAPER].seeds(RUN, "laptop")
FIRST = 100


@pytest.fixture
def only(monkeypatch):
    """The papers, as if there were two figures of one run each."""
    other = next(
        name
        for name in PAPERS[PAPER].figures
        if RUN not in PAPERS[PAPER].runs_of(name, "laptop")
        and len(PAPERS[PAPER].runs_of(name, "laptop")) == 1
    )
    figures = {name: PAPERS[PAPER].figures[name] for name in (FIGURE, other)}
    return {PAPER: replace(PAPERS[PAPER], figures=figures)}, other


@pytest.fixture
def reuse(tmp_path, only):
    return Reuse(Archive(tmp_path / "laptop"), only[0], "laptop", FIRST)


def add(reuse, run, count, minutes=1.0):
    for seed in range(FIRST, FIRST + count):
        path = reuse.archive.folder / "runs"
        write_run(path, PAPER, run, seed, "laptop", wall_time_s=60 * minutes)
    return Reuse(Archive(reuse.archive.folder), reuse.papers, "laptop", FIRST)


def claim(figure, verdict="open", needed=8, **changes):
    row = ledger_row(table=f"{PAPER}/{figure}", verdict=verdict, needed=needed, paper=PAPER)
    return row | changes


def test_first_come_the_seeds_that_are_planned(reuse, only):
    steps = plan(reuse, [])
    assert {step.figure for step in steps} == {f"{PAPER}/{FIGURE}", f"{PAPER}/{only[1]}"}
    [step] = [step for step in steps if FIGURE in step.figure]
    assert step.runs == tuple((PAPER, RUN, FIRST + k) for k in range(PLANNED))
    assert (step.seeds, step.value) == (PLANNED, 1.0)
    assert step.minutes == PLANNED * UNKNOWN_MINUTES


def test_what_is_archived_is_not_run_again(reuse):
    steps = plan(add(reuse, RUN, PLANNED - 1), [])
    [step] = [step for step in steps if FIGURE in step.figure]
    assert step.runs == ((PAPER, RUN, FIRST + PLANNED - 1),)
    assert step.minutes == 1.0


def test_more_claims_per_minute_come_first(reuse, only):
    many = [claim(FIGURE), claim(FIGURE), claim(FIGURE)]
    one = [claim(only[1])]
    assert [FIGURE in step.figure for step in plan(reuse, many + one)] == [True, False]
    flipped = [claim(only[1]), claim(only[1]), claim(only[1]), claim(FIGURE)]
    seeds = PAPERS[PAPER].seeds(PAPERS[PAPER].runs_of(only[1], "laptop")[0], "laptop")
    assert (3 / seeds > 1 / PLANNED) == (FIGURE not in plan(reuse, flipped)[0].figure)


@pytest.mark.parametrize(
    "row, value",
    [
        ({}, 8 / 12 - 6 / 12),
        ({"class": "ours"}, (8 - 6) / 12 / 2),
        ({"needed": 8}, 1 - 6 / 8),
        ({"class": "check"}, 0),
        ({"verdict": "supported", "needed": None}, 0),
        ({"needed": None}, 0),
        ({"needs": "paper"}, 0),
        ({"scale": "paper"}, 0),
        ({"table_sha256": ""}, 0),
    ],
    ids=str,
)
def test_the_next_look_is_worth_the_share_of_open_claims(reuse, row, value):
    rows = [claim(FIGURE, needed=12, n=6) | row]
    there = max(PLANNED, 6)
    steps = [step for step in plan(add(reuse, RUN, there), rows) if FIGURE in step.figure]
    if not value:
        assert steps == []
        return
    [step] = steps
    assert (there, step.seeds) == (6, 8)
    assert step.value == pytest.approx(value)
    assert [seed for _, _, seed in step.runs] == [FIRST + 6, FIRST + 7]


def test_what_one_step_runs_costs_the_others_nothing(reuse):
    figures = {name: reuse.papers[PAPER].figures[FIGURE] for name in (FIGURE, "the_same")}
    papers = {PAPER: replace(reuse.papers[PAPER], figures=figures)}
    steps = plan(Reuse(reuse.archive, papers, "laptop", FIRST), [])
    assert len(steps) == 1


def fake(tmp_path, monkeypatch, command, minutes=1.0):
    """A campaign whose runs are processes of a command."""
    monkeypatch.setattr(program, "git_state", lambda: {"commit": "1" * 40, "dirty": False})
    campaign = Campaign(
        archive=Archive(tmp_path / "reference" / "smoke"),
        scale="smoke",
        first_seed=0,
        data=tmp_path / "prepared",
        results=tmp_path / "results" / "smoke",
        ledger=[],
    )
    figures = {"fig2_penalties": PAPERS["lejeune2024"].figures["fig2_penalties"]}
    papers = {"lejeune2024": replace(PAPERS["lejeune2024"], figures=figures)}
    campaign.__dict__["papers"] = papers
    started = []

    def start(keys, lock):
        started.append(keys)
        return program.subprocess.Popen([sys.executable, "-c", command], pass_fds=[lock])

    monkeypatch.setattr(Campaign, "_start", lambda self, keys, lock: start(keys, lock))
    with alone(campaign.results / "campaign.lock") as lock:
        campaign.run(time.monotonic() + 60 * minutes, 1, lock)
    return campaign, started


def test_a_run_that_fails_is_not_tried_again(tmp_path, monkeypatch, caplog):
    _, started = fake(tmp_path, monkeypatch, "raise SystemExit(1)")
    assert started == [[("lejeune2024", "penalties", 0)]]
    assert "lejeune2024/penalties, seeds 0 failed, see" in caplog.text


def test_what_ended_before_is_archived_and_not_run(tmp_path, monkeypatch):
    write_run(tmp_path / "results/smoke/checkpoints", "lejeune2024", "penalties", 0)
    campaign, started = fake(tmp_path, monkeypatch, "raise SystemExit(1)")
    assert started == []
    assert campaign.archive.seeds("lejeune2024", "penalties") == [0]


def test_a_damaged_run_is_said_and_does_not_end_the_campaign(tmp_path, monkeypatch, caplog):
    path = write_run(tmp_path / "results/smoke/runs", "lejeune2024", "penalties", 0)
    path.write_bytes(path.read_bytes()[:-2])
    _, started = fake(tmp_path, monkeypatch, "raise SystemExit(1)")
    assert len(started) == 1
    assert "not archived: " in caplog.text
    assert meta_path(path).is_file()


def test_time_is_up(tmp_path, monkeypatch):
    begun = time.monotonic()
    fake(tmp_path, monkeypatch, "import time; time.sleep(600)", minutes=0.02)
    assert time.monotonic() - begun < 300


def test_two_campaigns_refuse_each_other(tmp_path):
    lock, refused = tmp_path / "lock", pytest.raises(ValueError, match="another campaign")
    with alone(lock), refused, alone(lock):
        pass
    with alone(tmp_path / "lock") as lock:
        assert os.fstat(lock)


def test_a_campaign_needs_time_and_a_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(program.os, "nice", lambda by: None)
    arguments = ["--scale", "smoke", "--archive", str(tmp_path), "--results", str(tmp_path / "r")]
    with pytest.raises(ValueError, match="expected how long to run"):
        program.main(arguments)
    monkeypatch.setattr(program, "git_state", lambda: {"commit": "1" * 40, "dirty": True})
    with pytest.raises(ValueError, match="expected the code to be that of a commit"):
        program.main([*arguments, "--minutes", "1"])


def test_the_plan_tells_what_is_left_and_its_cost(tmp_path, capsys):
    program.main(["--scale", "laptop", "--plan", "--archive", str(tmp_path)])
    first, heads, *lines = capsys.readouterr().out.splitlines()
    runs = sum(
        max(1, paper.seeds(run, "laptop"))
        for paper in PAPERS.values()
        for run in {run for name in paper.figures for run in paper.runs_of(name, "laptop")}
    )
    assert first.startswith(f"{runs} runs in ")
    assert heads.split() == ["claims", "minutes", "runs", "seeds", "figure"]
    assert any(line.endswith(f"{PAPER}/{FIGURE}") for line in lines)
    assert lines[-1].startswith("Not run, since their datasets are not in data/prepared: runs on")
