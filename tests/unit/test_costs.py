import os
from pathlib import Path

import pytest
from made_up import provenance

from feature_alignment.publish import costs
from feature_alignment.tables import tidy, write_table

METAS = {
    Path("tables/paper/fig1.csv"): {
        "wall_time_s": 3,
        "runs": [
            {"spec": {"run": "a"}, "seed": 0, "wall_time_s": 60},
            {"spec": {"run": "a"}, "seed": 1, "wall_time_s": 90},
        ],
    },
    Path("tables/paper/fig2.csv"): {
        "wall_time_s": 6,
        "runs": [{"spec": {"run": "a"}, "seed": 0, "wall_time_s": 60}],
    },
    Path("tables/other/fig1.csv"): {"wall_time_s": 12},
}


def test_a_shared_run_counts_once_in_the_total():
    table = costs.costs(METAS)
    found = {(r.paper, r.figure): (r.jobs, r.core_minutes) for r in table.itertuples()}
    assert found == {
        ("paper", "fig1"): (3, 2.55),
        ("paper", "fig2"): (2, 1.1),
        ("paper", "total"): (4, 2.65),
        ("other", "fig1"): (1, 0.2),
        ("other", "total"): (1, 0.2),
    }
    assert list(table["paper"]) == ["other", "other", "paper", "paper", "paper"]


BENCHMARKS = {  # file: time of the file, seconds, CPU seconds, memory in MiB
    "train/a.0.tsv": (1060, "60", "55.5", "300.2"),
    "train/a.1.tsv": (1090, "60", "50", "400"),
    "plot.tsv": (1150, "30", "20", "-"),
}
HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"


@pytest.fixture
def benchmarks(tmp_path):
    folder = tmp_path / "benchmarks"
    for name, (time, seconds, cpu, memory) in BENCHMARKS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{HEAD}\n{seconds}\t0:00:00\t{memory}\t0\t0\t0\t0\t0\t0\t{cpu}\n")
        os.utime(path, (time, time))
    return folder


def test_a_job_began_when_its_benchmark_says(benchmarks):
    found = costs.jobs(benchmarks).to_dict("split", index=False)
    assert found["data"] == [
        ["train/a.0", 0.0, 60.0, 55.5, 300.0],
        ["train/a.1", 30.0, 60.0, 50.0, 400.0],
        ["plot", 120.0, 30.0, 20.0, 0.0],
    ]


def test_a_run_is_summed_up(benchmarks):
    assert costs.summary(costs.jobs(benchmarks)) == {
        "jobs": 3,
        "wall_minutes": 2.5,
        "busy_minutes": 2.0,
        "core_minutes": 2.5,
        "at_once": 2,
        "memory_mib": 400,
        "memory_together_mib": 700,
    }
    assert [job["job"] for job in costs.slowest(costs.jobs(benchmarks), 2)] == [
        "train/a.0",
        "train/a.1",
    ]


def test_what_is_no_benchmark_is_an_error(benchmarks, tmp_path):
    (benchmarks / "other.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(ValueError, match=r"other\.tsv is not a benchmark file; it has: a, b"):
        costs.jobs(benchmarks)
    with pytest.raises(ValueError, match="expected benchmark files of a run"):
        costs.jobs(tmp_path / "nothing")


def test_the_program_writes_and_prints_them(tmp_path, capsys, benchmarks):
    tables = [tmp_path / path for path in METAS]
    for path, meta in zip(tables, METAS.values(), strict=True):
        seeds = range(len(meta.get("runs", [0])))
        run = {"paper": path.parent.name, "run": "a", "measure": "m", "value": 1.0}
        table = tidy([run | {"seed": seed} for seed in seeds])
        whole = provenance(table, path.stem) | {"wall_time_s": meta["wall_time_s"]}
        for made, own in zip(whole["runs"], meta.get("runs", ()), strict=False):
            made["wall_time_s"] = own["wall_time_s"]
        if "runs" not in meta:
            del whole["runs"]
        write_table(path, table, whole)
    out = tmp_path / "costs.tsv"
    jobs = tmp_path / "jobs.tsv"
    costs.main(
        ["--tables", *map(str, tables), "--benchmarks", str(benchmarks)]
        + ["--out", str(out), "--jobs", str(jobs)]
    )
    assert "paper\ttotal\t4\t2.65" in out.read_text().splitlines()
    assert "train/a.1\t30.0\t60.0\t50.0\t400.0" in jobs.read_text().splitlines()
    printed = capsys.readouterr().out
    assert "2.65" in printed
    assert "wall_minutes: 2.5" in printed
