from pathlib import Path

from feature_alignment.audit import costs
from feature_alignment.storage import write_json

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


def test_the_program_writes_and_prints_them(tmp_path, capsys):
    tables = [tmp_path / path for path in METAS]
    for table, meta in zip(tables, METAS.values(), strict=True):
        table.parent.mkdir(parents=True, exist_ok=True)
        write_json(table.with_suffix(".meta.json"), meta)
    out = tmp_path / "costs.tsv"
    costs.main(["--tables", *map(str, tables), "--out", str(out)])
    assert "paper\ttotal\t4\t2.65" in out.read_text().splitlines()
    assert "2.65" in capsys.readouterr().out
