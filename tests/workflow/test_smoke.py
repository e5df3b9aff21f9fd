"""The whole workflow at smoke scale, and what an edit re-runs."""

import json
import re
import shutil
import zipfile

import pytest
from repository import SMOKE, Repository

from conftest import ROOT
from feature_alignment.run.spec import read_papers
from feature_alignment.tables import read_meta

pytestmark = pytest.mark.workflow

PAPERS = read_papers(ROOT / "papers", ROOT / "workflow/schemas")
FIGURES = [f"{paper}/{figure}" for paper in PAPERS for figure in PAPERS[paper].figures]
FIRST = [next(name for name in FIGURES if name.startswith(paper)) for paper in PAPERS]
PLOTS = {f"plot_{name.split('/')[0]}_{name.split('/')[1].split('_')[0]}" for name in FIGURES}


SEEDED = [
    run
    for paper in PAPERS.values()
    for run in paper.runs_at("smoke")
    if paper.seeds(run, "smoke") == 2
]


def test_the_run_says_how_many_claims_it_judged(made_once):
    assert "claims at scale smoke:" in (made_once.path / "results/made.txt").read_text()


def test_that_no_claim_can_be_judged_is_said_before_anything_is_made(made_once):
    text = (made_once.path / "results/made.txt").read_text()
    said = re.search(
        r"At scale smoke none of the (\d+) claims of papers and ours can be judged: they need scale"
        r" laptop, --config scale=laptop",
        text,
    )
    ledger = json.loads((made_once.path / "results/smoke/audit/ledger.json").read_text())
    assert int(said[1]) == sum(row["class"] in ("paper", "ours") for row in ledger)
    assert said.start() < text.index("Finished jobid")


def test_every_figure_is_there(finished):
    for name in FIGURES:
        for ending in ("pdf", "png"):
            assert (finished.path / f"figures/smoke/{name}.{ending}").stat().st_size > 5000
        [table] = finished.files(f"results/smoke/tables/{name}.csv").values()
        assert finished.files(f"figures/smoke/{name}.csv") == {f"figures/smoke/{name}.csv": table}


def test_claims_that_need_more_than_smoke_are_not_run(finished):
    ledger = json.loads((finished.path / "results/smoke/audit/ledger.json").read_text())
    needs = {row["needs"]: set() for row in ledger}
    for row in ledger:
        needs[row["needs"]].add(row["verdict"])
    assert needs["laptop"] == needs["paper"] == {"not run"}
    assert "not run" not in needs["smoke"]


def test_every_table_has_its_provenance(finished):
    tables = finished.files("results/smoke/tables/*/*.csv")
    assert len(tables) == len(FIGURES)
    for path in tables:
        meta = json.loads((finished.path / path.replace(".csv", ".meta.json")).read_text())
        assert meta["spec"]["scale"] == "smoke"
        assert {"code_hash", "git", "packages", "datasets", "wall_time_s"} <= set(meta)


def test_runs_tell_what_they_compute_in(finished):
    computed_in = {"float32": set(), "float64": set()}
    for content in finished.files("results/smoke/runs/*/*/0.meta.json").values():
        meta = json.loads(content)
        computed_in[meta["dtype"]].add(meta["module"].rpartition(".")[2])
    assert computed_in["float64"] == {
        "early_alignment", "penalties", "reversing", "ridge", "supernat",
    }  # fmt: skip
    assert {"memorisation", "hierarchy", "sample_complexity"} <= computed_in["float32"]


def test_no_output_names_a_folder_of_the_machine(finished):
    written = finished.files("results/smoke/tables/**/*") | finished.files("data/prepared/*.json")
    assert written
    assert [
        path for path, content in written.items() if str(finished.path).encode() in content
    ] == []


def test_the_second_run_has_nothing_to_do(finished):
    assert finished.planned(*SMOKE) == {}


def test_a_docstring_re_runs_nothing(edited):
    edited.edit(
        "src/feature_alignment/tangents/preactivations.py",
        '"""Covariance of the gradients with respect to pre-activations.',
        '"""Another docstring.',
    )
    assert edited.planned(*SMOKE) == {}


def test_a_plot_module_re_runs_that_plot(edited):
    path = "src/feature_alignment/papers/lejeune2024/plots/fig2_penalties.py"
    edited.edit(path, '"w1": "blue"', '"w1": "red"')
    assert edited.planned(*SMOKE) == {"plot_lejeune2024_fig2": 1, "write_ledger_page": 1}


def test_an_instrument_re_runs_what_it_measures(edited):
    path = "src/feature_alignment/tangents/preactivations.py"
    edited.edit(path, "covariances[names[-1]] *= chain.readout.T @ chain.readout", "pass")
    jobs = edited.planned(*SMOKE)
    # Two networks of B1, B4, B5, B7 and its two variants, and seven networks of the joint figures,
    # of which the one of R5 only shares the module that names hidden layers
    assert jobs.pop("compute_run_0_1") == 14
    names = ("b1", "b2", "b3", "b4", "b5", "b7", "b7c", "b7r", "c1")
    figures = [f"beaglehole2024_{name}" for name in names]
    figures += [f"joint_{name}" for name in ("both", "r1", "r2", "r5")]
    assert set(jobs) == {
        *(f"{kind}_{figure}" for kind in ("collect", "plot") for figure in figures),
        "keep_arrays",
        "judge_claims",
        "plot_forest",
        "write_ledger_page",
        "write_captions",
        "tell_costs",
    }


def test_a_setting_re_runs_that_run_and_what_reads_it(edited):
    edited.edit("papers/beaglehole2024/paper.yaml", "value: 0.05}", "value: 0.06}")
    jobs = edited.planned(*SMOKE)
    assert jobs.pop("write_spec") == 1
    assert jobs.pop("compute_run_0_1") == 1
    assert {name for name in jobs if name.startswith("plot")} == {
        "plot_forest",
        *(f"plot_beaglehole2024_{name}" for name in ("b1", "b2", "b3")),
    }
    assert jobs["judge_claims"] == 1


def test_another_seed_keeps_those_that_are_there(finished):
    jobs = finished.planned(*SMOKE, "seeds=3")
    assert jobs["compute_run"] == len(SEEDED)
    assert "compute_run_0_1" not in jobs


def test_device_and_data_folder_re_run_nothing(finished):
    assert finished.planned(*SMOKE, "--set-resources", "compute_run:device=cuda") == {}
    assert finished.planned(*SMOKE, "data_dir=docs") == {}


def plot_rule(name):
    paper, figure = name.split("/")
    return f"plot_{paper}_{figure.split('_')[0]}"


@pytest.mark.parametrize("name", FIRST)
def test_a_figure_is_a_target_by_path_and_by_rule(finished, name):
    rule = plot_rule(name)
    for target in (f"figures/smoke/{name}.pdf", rule):
        jobs = finished.planned(target, "--forcerun", rule, "--config", "scale=smoke")
        assert jobs == {rule: 1}


@pytest.mark.parametrize("target", [plot_rule, lambda name: f"figures/smoke/{name}.pdf"])
def test_every_figure_is_a_target(finished, target):
    rules = [plot_rule(name) for name in FIGURES]
    targets = [target(name) for name in FIGURES]
    jobs = finished.planned(*targets, "--forcerun", *rules, "--config", "scale=smoke")
    assert jobs == dict.fromkeys(rules, 1)


@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_every_scale_can_be_planned_from_nothing(finished, scale):
    jobs = finished.planned("all", "--config", f"scale={scale}")
    assert set(jobs) >= PLOTS | {"judge_claims", "prepare_dataset", "compute_run"}


def quickest_run_of_each_experiment(finished):
    """Name the measurements of one run of every experiment, of the second seed where there is."""
    quickest = {}
    for key, paper in PAPERS.items():
        for run in paper.runs_at("smoke"):
            seed = max(1, paper.seeds(run, "smoke")) - 1
            path = f"results/smoke/runs/{key}/{run}/{seed}.csv"
            seconds = read_meta(finished.path / path)["wall_time_s"]
            told = (seconds, path)
            experiment = (key, paper.experiment(run))
            quickest[experiment] = min(told, quickest.get(experiment, told))
    return [path for _, path in quickest.values()]


def test_neither_cores_nor_processes_change_a_byte(finished, tmp_path):
    other = Repository.copy(tmp_path / "copy")
    alone = (*SMOKE[1:], "together=1")
    runs = quickest_run_of_each_experiment(finished)
    outcome = other.snakemake(*runs, *alone, cores=1)
    assert outcome.status == 0, outcome.text
    made = other.files("results/smoke/runs/*/*/*.csv") | other.files("results/smoke/runs/*/*/*.npz")
    assert len(made) == 2 * len(runs)
    assert {path: (finished.path / path).read_bytes() for path in made} == made


SHELL = r"^Shell command: (python -m feature_alignment\.{} .*)"
MAKERS = ("run.collecting", "run.keeping", "audit.ledger", "plots.draw")
MAKERS += ("publish.forest", "publish.page", "publish.captions")


def test_what_is_made_again_has_the_same_bytes_even_in_one_process(finished, tmp_path):
    other = finished.twin(tmp_path / "copy")
    for folder in ("results/smoke/tables", "results/smoke/audit"):
        shutil.rmtree(other.path / folder)
    for path in other.files("figures/smoke/**/*"):
        (other.path / path).unlink()
    plan = other.snakemake(*SMOKE, "--dry-run", "--printshellcmds").text
    made = {name: re.findall(SHELL.format(name), plan, re.M) for name in MAKERS}
    assert len(made["run.collecting"]) == len(made["plots.draw"]) == len(FIGURES)
    commands = [command for name in MAKERS for command in made[name]]
    outcome = other.python("one_process.py", "\n".join(commands))
    assert outcome.status == 0, outcome.text
    for pattern in (
        "results/smoke/tables/**/*.csv",
        "results/smoke/audit/*",
        "figures/smoke/**/*.p*",
    ):
        expected = finished.files(pattern)
        assert expected
        assert other.files(pattern) == expected


GPU = ("--profile", "profiles/gpu")


def test_a_profile_reaches_every_training(finished):
    outcome = finished.snakemake("--dry-run", "--forceall", *GPU, *SMOKE)
    assert outcome.status == 0, outcome.text
    jobs = re.findall(r"^rule (\w+):.*?^    resources: ([^\n]*)", outcome.text, re.M | re.S)
    computed = [resources for rule, resources in jobs if rule.startswith("compute_run")]
    assert len(computed) == sum(len(paper.runs_at("smoke")) for paper in PAPERS.values())
    assert all("device=cuda" in resources and "gpu=1" in resources for resources in computed)
    others = {rule for rule, resources in jobs if "device=" in resources}
    assert others == {"compute_run", "compute_run_0_1"}


def test_a_published_value_is_no_setting(edited):
    edited.edit("papers/lejeune2024/paper.yaml", "full: [0.068, ", "full: [0.069, ")
    jobs = edited.planned(*SMOKE)
    assert not {"write_spec", "compute_run"} & set(jobs)
    assert "collect_lejeune2024_fig4" in jobs


MISTAKES = {
    "scle=smoke": r"unknown key 'scle' (did you mean 'scale'?); allowed: data_dir, first_seed, ",
    "scale=smok": r"unknown value 'smok' (did you mean 'smoke'?); allowed: smoke, laptop, paper",
    "seeds=0": "seeds: 0 is less than the minimum of 1",
    "seeds=three": "seeds: expected 'archived', got 'three'",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_on_the_command_line_is_explained(finished, mistake):
    outcome = finished.snakemake("all", "--dry-run", "--config", mistake)
    assert outcome.status != 0
    assert MISTAKES[mistake] in outcome.text


def test_a_mistake_in_an_experiment_file_is_explained(edited):
    edited.edit("papers/beaglehole2024/paper.yaml", "      epochs: 150\n", "      epoch: 150\n")
    outcome = edited.snakemake("all", "--dry-run")
    assert outcome.status != 0
    assert "unknown key 'epoch' (did you mean 'epochs'?)" in outcome.text


def test_a_diverging_run_says_so_and_costs_only_what_needs_it(finished, tmp_path):
    repository = finished.twin(tmp_path / "copy")
    shutil.rmtree(repository.path / "results/smoke/audit")
    ledger = "results/smoke/audit/ledger.json"
    other = "figures/smoke/lejeune2024/fig2_penalties.pdf"
    for path in repository.files("*/smoke/**/fig2_penalties.*"):
        (repository.path / path).unlink()
    paper = "papers/beaglehole2024/paper.yaml"
    repository.edit(paper, "value: 0.05}", "value: 1.0e+9}")
    outcome = repository.snakemake(ledger, other, *SMOKE[1:])
    assert outcome.status != 0
    assert "error: beaglehole2024/mlp_cifar10, seed 0: the training loss became" in outcome.text
    assert "with learning rate 1e+09" in outcome.text
    assert repository.files("results/smoke/checkpoints/**/0.partial.csv")
    assert len(repository.files("results/smoke/runs/beaglehole2024/mlp_mnist/*.csv")) == 2
    assert repository.files(other)
    assert not repository.files("results/smoke/audit/*")

    repository.edit(paper, "value: 1.0e+9}", "value: 0.05}")
    mended = repository.snakemake(ledger, other, *SMOKE[1:])
    assert mended.status == 0, mended.text
    assert repository.files(ledger)
    assert not repository.files("results/smoke/checkpoints/**/*")


def test_mistakes_in_claims_are_found_before_anything_runs(edited):
    edited.edit("papers/lejeune2024/claims.yaml", "criterion: crosses", "criterion: croses")
    outcome = edited.snakemake(*SMOKE, "--dry-run")
    assert outcome.status != 0
    assert "unknown value 'croses' (did you mean 'crosses'?)" in outcome.text


def test_another_dataset_s_registry_entry_re_runs_nothing(edited):
    registry = edited.path / "data" / "datasets.csv"
    registry.write_text(registry.read_text().replace("Clanuwat", "Clanuwatt"))
    assert edited.planned(*SMOKE) == {}


def test_an_unknown_dataset_cannot_be_asked_for(finished):
    outcome = finished.snakemake("data/prepared/minst.safetensors", "--dry-run")
    assert outcome.status != 0
    assert "minst" in outcome.text


def test_without_data_or_network_the_ways_out_are_named(tmp_path):
    repository = Repository.copy(tmp_path / "copy")
    refused = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "all_proxy")}
    target = "data/prepared/mnist.safetensors"
    outcome = repository.snakemake(target, **refused)
    assert outcome.status != 0
    for words in ("MNIST/raw/train-images-idx3-ubyte.gz", "looked in data/raw", "scale=smoke"):
        assert words in outcome.text
    assert not repository.files("data/prepared/*")
    assert not repository.files("data/raw/**/*")


def test_the_report_holds_captions_with_verdicts_and_the_ledger(finished):
    outcome = finished.snakemake(*SMOKE, "--report", "report.zip")
    assert outcome.status == 0, outcome.text
    assert "warning" not in outcome.text.lower()
    assert "missing" not in outcome.text.lower()
    with zipfile.ZipFile(finished.path / "report.zip") as report:
        files = report.namelist()
        text = report.read("report/report.html").decode()
    assert any(path.endswith("/ledger.html") for path in files)
    for name in FIGURES:
        for ending in ("png", "csv"):
            assert any(path.endswith(f"/{name.split('/')[1]}.{ending}") for path in files)
    assert text.count("Departs from the full scale") > len(FIGURES) / 2
    assert "The neural feature ansatz during training, in every layer" in text
    assert "<em>not run</em>" in text


def test_lint_is_clean(finished):
    assert finished.snakemake("--lint", "--config", "scale=smoke").status == 0
