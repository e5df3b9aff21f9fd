import math
import shutil
from pathlib import Path

import pytest
import yaml

from conftest import ROOT
from feature_alignment.run.schema import read_settings
from feature_alignment.run.spec import (
    SCALES,
    Paper,
    at_path,
    figure_titles,
    merge,
    read_papers,
    read_yaml,
)
from feature_alignment.run.spec import validate as check

SCHEMAS = ROOT / "workflow" / "schemas"
PAPERS = ROOT / "papers"
FILE = PAPERS / "beaglehole2024" / "paper.yaml"


@pytest.fixture(scope="module")
def papers():
    return read_papers(PAPERS, SCHEMAS)


def edited(tmp_path: Path, changes: str) -> Path:
    """Write a paper with changes to its file, which leave out what they give null."""
    path = tmp_path / "beaglehole2024" / "paper.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(_with(read_yaml(FILE), yaml.safe_load(changes))))
    shutil.copy(FILE.with_name("settings.yaml"), path.parent)
    return path


def _with(content: dict, changes: dict) -> dict:
    content = content | {
        key: _with(content.get(key, {}), part) if isinstance(part, dict) else part
        for key, part in changes.items()
    }
    return {key: part for key, part in content.items() if part is not None}


@pytest.mark.parametrize("scale", SCALES)
def test_every_run_of_every_paper_resolves(papers, scale):
    for key, paper in papers.items():
        for run in paper.runs_at(scale):
            spec = paper.resolve(run, scale)
            assert (spec["paper"], spec["run"], spec["scale"]) == (key, run, scale)
            assert spec["experiment"] == paper.experiment(run)
            assert "seeds" not in spec["settings"]
            assert (paper.seeds(run, scale) == 0) == (run == "penalties")


@pytest.mark.parametrize("figure", ["fig2", "fig3", "fig4", "fig6", "a2", "a4"])
@pytest.mark.parametrize("scale", SCALES)
def test_runs_that_a_figure_of_baratin2021_contrasts_share_their_draws(papers, figure, scale):
    paper = papers["baratin2021"]
    [record] = [r for name, r in paper.figures.items() if name.startswith(f"{figure}_")]
    runs = [run for run in record["runs"] if run in paper.runs_at(scale)]
    assert runs
    assert len({paper.resolve(run, scale)["settings"]["draws"] for run in runs}) == 1


def test_a_family_says_how_many_seeds_share_a_process(tmp_path):
    path = edited(tmp_path, "families: {ansatz_mlp: {together: {laptop: 3}}}")
    paper = Paper.read(path, SCHEMAS)
    mlp = [paper.together("mlp_mnist", scale) for scale in ("smoke", "laptop", "paper")]
    vgg = [paper.together("vgg_cifar10", scale) for scale in ("smoke", "laptop", "paper")]
    assert (mlp, vgg) == ([2, 3, 1], [2, 1, 1])


def test_later_layers_win(papers):
    of = papers["beaglehole2024"]
    paper, laptop, smoke = (
        of.resolve("mlp_mnist", scale)["settings"] for scale in ("paper", "laptop", "smoke")
    )
    assert (paper["epochs"], laptop["epochs"], smoke["epochs"]) == (50, 20, 3)
    assert paper["learning_rate"] == {"first_epoch": 1e-4, "value": 10.0}
    assert laptop["learning_rate"]["value"] == 5.0
    assert smoke["dataset"]["name"] == "digits"
    assert of.seeds("mlp_mnist", "laptop") == 3
    assert of.seeds("mlp_mnist", "smoke") == 2


def test_a_resolved_spec_can_be_changed_without_harm(papers):
    papers["joint"].resolve("mlp_mnist", "smoke")["settings"]["model"]["width"] = 1
    assert papers["joint"].resolve("mlp_mnist", "smoke")["settings"]["model"]["width"] == 32


def test_merge_goes_key_by_key_and_leaves_its_arguments():
    base = {"a": {"x": 1, "y": [1]}, "b": 2}
    merged = merge(base, {"a": {"y": [2, 3]}, "c": {"z": 0}})
    assert merged == {"a": {"x": 1, "y": [2, 3]}, "b": 2, "c": {"z": 0}}
    assert base == {"a": {"x": 1, "y": [1]}, "b": 2}


MLP, MNIST = "families: {ansatz_mlp: ", "runs: {mlp_mnist: "
VGG_MODEL, B1 = "families: {ansatz_vgg: {settings: {model: ", "figures: {b1_nfa_emergence: "


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            MLP + "{laptop: {epoch: 3}}}",
            r"unknown key 'epoch' \(did you mean 'epochs'\?\); allowed",
        ),
        (MNIST + "{settings: {dataset: {nam: mnist}}}}", r"dataset: unknown key 'nam' .*'name'"),
        (MNIST + "{settings: {dataset: {name: mni}}}}", "unknown value 'mni' .*allowed: mnist"),
        (MLP + "{settings: {batch_size: null}}}", "'batch_size' is a required property"),
        (
            VGG_MODEL + "{architecture: vgg12}}}}",
            r"'vgg12' \(did you mean 'vgg1\d'\?\); allowed: vgg11",
        ),
        (VGG_MODEL + "{bias: true}}}}", "model: unknown key 'bias'; allowed: architecture"),
        (MLP + "{settings: {batch_size: 128.0}}}", "batch_size: 128.0 is not of type 'integer'"),
        (MLP + "{settings: {batch_size: many}}}", "batch_size: 'many' is not of type 'integer'"),
        (MLP + "{settings: {batch_size: 10000000000}}}", "batch_size: 10000000000 is greater than"),
        (MLP + "{settings: {seeds: 10001}}}", "seeds: 10001 is greater than the maximum of 10000"),
        (MLP + "{settings: {seeds: true}}}", "seeds: True is not of type 'integer'"),
        (
            MLP + "{settings: {learning_rate: {first_epoch: 1e-4}}}}",
            r"rate\.first_epoch: '1e-4' is not of type 'number'; YAML reads it as text",
        ),
    ],
)
def test_errors_in_settings_say_how_to_fix_them(tmp_path, changes, message):
    place = r"beaglehole2024/paper\.yaml: run '(mlp|vgg)_\w+' at scale '\w+'"
    with pytest.raises(ValueError, match=f"(?s){place}.*{message}"):
        Paper.read(edited(tmp_path, changes), SCHEMAS)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            MLP + "{settings: {learning_rate: {first_epoch: .nan}}}}",
            r"families\.ansatz_mlp\.settings\.learning_rate\.first_epoch: expected a finite number",
        ),
        (
            MLP + "{settings: {epochs: 1180591620717411303424}}}",
            r"settings\.epochs: expected a number of at most",
        ),
        ("runs: {mlp_gtsrb: {at: [paper, paper]}}", r"runs\.mlp_gtsrb\.at: 'paper' is given twice"),
        (
            B1 + "{published: {a: [1]}}}",
            r"published: expected its schema, 'published', in settings",
        ),
        ("figures: []", r"figures: \[\] is not of type 'object'"),
        ("runs: [a]", r"runs: \['a'\] is not of type 'object'"),
        (MNIST + "{family: ansatz_mpl}}", r"unknown family 'ansatz_mpl' .*'ansatz_mlp'\?\)"),
        (B1 + "{runs: [mlp_minst]}}", r"unknown run 'mlp_minst' \(did you mean 'mlp_mnist'\?\)"),
        (
            B1 + "{columns: {dataset: dataset.nam}}}",
            "columns.dataset: .*unknown setting 'nam' .*'name'",
        ),
        (B1 + "{tilte: Emergence}}", r"unknown key 'tilte' \(did you mean 'title'\?\)"),
        (B1 + "{caption: null}}", "'caption' is a required property"),
        (MLP + "{experiment: ansats}}", r"unknown experiment 'ansats' \(did you mean 'ansatz'\?\)"),
        (
            "runs: {mlp_gtsrb: {settings: {dataset: {n: 1}}}}",
            "'mlp_gtsrb' at .*'paper'.*\n.*key 'n'",
        ),
        (
            "runs: {mlp_gtsrb: {smoke: {epochs: 3}}}",
            "'mlp_gtsrb' has settings for 'smoke', not in 'at'",
        ),
        (MNIST + "{setings: {}}}", r"unknown key 'setings' \(did you mean 'settings'\?\)"),
    ],
)
def test_errors_in_the_file_are_found_on_reading(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        Paper.read(edited(tmp_path, changes), SCHEMAS)


PUBLISHED = [
    (["mnist", "full", 0], -0.1, r"mnist\.full\.0: -0.1 is less than the minimum of 0"),
    (["mnist", "fixed", 1], 17.5, r"mnist\.fixed\.1: 17.5 is greater than the maximum of 1"),
    (["mnist", "sizes", 0], 250, r"mnist\.sizes: 250 is given twice"),
    (["mnist", "sizes", 0], 0, r"mnist\.sizes\.0: 0 is less than the minimum of 1"),
    (["mnist", "fixd"], [0.1], r"mnist: unknown key 'fixd' \(did you mean 'fixed'"),
    (["mnist", "full"], {}, r"mnist\.full: \{\} is not of type 'array'"),
    (["mnist"], None, "mnist: None is not of type 'object'"),
    (["mnist", "full", 0], math.nan, r"mnist\.full\.0: expected a finite number, got nan"),
]


@pytest.mark.parametrize("path, value, message", PUBLISHED, ids=range(len(PUBLISHED)))
def test_numbers_that_no_paper_can_have_published_are_an_error(tmp_path, path, value, message):
    shutil.copytree(PAPERS / "lejeune2024", tmp_path / "lejeune2024")
    file = tmp_path / "lejeune2024" / "paper.yaml"
    content = read_yaml(file)
    *parents, last = path
    part = content["figures"]["fig4_sample_complexity"]["published"]
    for name in parents:
        part = part[name]
    part[last] = value
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(ValueError, match=message) as error:
        Paper.read(file, SCHEMAS)
    assert "lejeune2024/paper.yaml" in str(error.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("figures: []", r"figures: \[\] is not of type 'object'"),
        ("[]", r"top level: \[\] is not of type 'object'"),
        ("runs: {}", "top level: 'figures' is a required property"),
        ("figures: {a: [1]}", r"figures\.a: \[1\] is not of type 'object'"),
        ("figures: {a: {caption: b}}", r"figures\.a: 'title' is a required property"),
        ("figures: {a: {title: [b]}}", r"figures\.a\.title: \['b'\] is not of type 'string'"),
    ],
)
def test_titles_are_those_of_figures_by_name(tmp_path, text, message):
    (tmp_path / "paper.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        figure_titles([tmp_path / "paper.yaml"])


def test_a_paper_without_its_file_does_not_vanish(tmp_path):
    shutil.copytree(PAPERS, tmp_path / "papers")
    path = tmp_path / "papers" / "lou2022" / "paper.yaml"
    path.unlink()
    with pytest.raises(ValueError, match=r"papers/lou2022 has no paper\.yaml"):
        read_papers(tmp_path / "papers", SCHEMAS)
    path.symlink_to(path)
    with pytest.raises(ValueError, match=r"papers/lou2022 has no paper\.yaml"):
        read_papers(tmp_path / "papers", SCHEMAS)


def test_a_folder_without_papers_is_an_error_that_says_where_to_start(tmp_path):
    with pytest.raises(
        ValueError, match=r"/<key>/paper\.yaml in .*, found none; start in the root"
    ):
        read_papers(tmp_path, SCHEMAS)


def test_a_key_given_twice_is_an_error_with_its_line(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("a: 1\nb:\n  c: 2\n  c: 3\n")
    with pytest.raises(ValueError, match=r"twice\.yaml.*line 4: key 'c' is given twice"):
        read_yaml(path)


def test_a_merged_mapping_gives_what_is_not_given(tmp_path):
    path = tmp_path / "merged.yaml"
    path.write_text("a: &a {k: 1, l: 2}\nb:\n  <<: *a\n  k: 3\n")
    assert read_yaml(path)["b"] == {"k": 3, "l": 2}
    path.write_text("a: &a {k: 1}\nb:\n  <<: *a\n  k: 3\n  k: 4\n")
    with pytest.raises(ValueError, match="line 5: key 'k' is given twice"):
        read_yaml(path)


def test_a_run_knows_the_scales_it_is_defined_at(papers):
    of = papers["beaglehole2024"]
    assert "mlp_svhn" not in of.runs_of("b1_nfa_emergence", "laptop")
    assert "mlp_svhn" in of.runs_of("b1_nfa_emergence", "paper")
    with pytest.raises(ValueError, match="'mlp_svhn' is not defined at scale 'laptop'"):
        of.resolve("mlp_svhn", "laptop")


def test_an_unknown_run_or_figure_is_an_error(papers):
    of = papers["beaglehole2024"]
    for ask in (of.experiment, of.labels, lambda run: of.resolve(run, "smoke")):
        with pytest.raises(ValueError, match=r"unknown run 'mlp_minst' \(did you mean 'mlp_mnist'"):
            ask("mlp_minst")
    with pytest.raises(ValueError, match="unknown figure 'b1'"):
        of.runs_of("b1", "smoke")


def _objects(schema):
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            yield schema
        for key, value in schema.items():
            if key != "if":
                yield from _objects(value)
    elif isinstance(schema, list):
        for part in schema:
            yield from _objects(part)


@pytest.mark.parametrize("name", ["claims", "config", "paper", "quotes"])
def test_every_schema_is_closed(name):
    found = list(_objects(read_yaml(SCHEMAS / f"{name}.schema.yaml")))
    if name == "claims":
        found = [schema for schema in found if "criterion" not in schema["properties"]]
    assert found
    assert all(schema.get("additionalProperties") is False for schema in found)


@pytest.mark.parametrize("paper", sorted(path.parent.name for path in PAPERS.glob("*/paper.yaml")))
def test_every_schema_of_settings_is_closed_used_and_that_of_a_module(paper, papers):
    schemas = read_settings(PAPERS / paper / "settings.yaml", SCHEMAS)
    assert set(schemas) == {family["experiment"] for family in papers[paper].families.values()}
    for name, schema in schemas.items():
        assert (ROOT / f"src/feature_alignment/papers/{paper}/{name}.py").is_file()
        found = list(_objects(schema))
        assert found
        own_models = [schema for schema in found if schema["additionalProperties"] is not False]
        assert all(list(schema["properties"]) == ["architecture"] for schema in own_models)


def test_the_default_configuration_is_valid():
    config = read_yaml(ROOT / "config" / "config.yaml")
    check(config, read_yaml(SCHEMAS / "config.schema.yaml"), "config")
    with pytest.raises(ValueError, match=r"unknown key 'scle' \(did you mean 'scale'\?\)"):
        check(config | {"scle": "smoke"}, read_yaml(SCHEMAS / "config.schema.yaml"), "config")


def writing(
    tmp_path, runs, figures=None, settings="ridge: {properties: {seeds: {}, a: {}, b: {}}}"
):
    """Read a paper with one experiment and these runs."""
    folder = tmp_path / "lejeune2024"
    folder.mkdir(exist_ok=True)
    (folder / "settings.yaml").write_text(settings)
    family = {"experiment": "ridge", "labels": {"x": 1, "y": 1}}
    family["settings"] = {"seeds": 1, "a": 0, "b": {"c": 0}}
    content = {"families": {"all": family}, "runs": runs, "figures": figures or {}}
    (folder / "paper.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return Paper.read(folder / "paper.yaml", SCHEMAS)


def grid(axes, **others):
    return {"family": "all", "sweep": axes, **others}


def test_a_grid_stands_for_its_runs(tmp_path):
    axes = [
        {"{name}": ["x", "y"], "a": [1, None], "at": [None, ["paper"]], "smoke.b.c": [5, None]},
        {"b.c": [3, 4]},
    ]
    runs = {"first": {"family": "all"}, "r_{name}{b.c}": grid(axes), "last": {"family": "all"}}
    figure = {"title": "T.", "caption": "C.", "runs": ["last", "r_{name}{b.c}"]}
    paper = writing(tmp_path, runs, {"f": figure})
    assert paper.runs_at("paper") == ["first", "r_x3", "r_x4", "r_y3", "r_y4", "last"]
    assert paper.runs_at("smoke") == ["first", "r_x3", "r_x4", "last"]
    assert paper.runs_of("f", "laptop") == ["last", "r_x3", "r_x4"]
    assert paper.resolve("r_x4", "laptop")["settings"] == {"a": 1, "b": {"c": 4}}
    assert paper.resolve("r_x4", "smoke")["settings"] == {"a": 1, "b": {"c": 5}}
    assert paper.resolve("r_y3", "paper")["settings"] == {"a": 0, "b": {"c": 3}}


@pytest.mark.parametrize(
    "runs, message",
    [
        (
            {"r_{a}": grid({"a": [0.5]})},
            r"runs\.r_\{a\}: expected the name of a run .* got 'r_0\.5'",
        ),
        ({"r_{c}": grid({"a": [1]})}, r"got 'r_\{c\}'; a grid can put a in a name"),
        ({"r": grid({"a": [1, 2]})}, "there is already a run 'r'"),
        ({"r1": {"family": "all"}, "r{a}": grid({"a": [1]})}, "there is already a run 'r1'"),
        ({"r{a}": grid({"a": [1, 2], "b": [1]})}, "expected lists of one length"),
        ({"r{a}": grid({"a": [1], "at": [["lapton"]]})}, "unknown scale 'lapton' .*'laptop'"),
        ({"r{a}": grid({"a": [1], "smoke.a": [2]}, at=["paper"])}, "settings for 'smoke', not in"),
        ({"r{a}": grid({"a": [1], "smoke.d": [2]})}, "unknown key 'd'; allowed: a, b"),
        ({"R": {"family": "all"}}, "expected the name of a run in lower-case letters"),
    ],
)
def test_errors_in_a_grid_say_where_they_are(tmp_path, runs, message):
    with pytest.raises(ValueError, match=message):
        writing(tmp_path, runs)


def test_a_run_twice_in_a_figure_is_an_error(tmp_path):
    figure = {"title": "T.", "caption": "C.", "runs": ["r1", "r{a}"]}
    with pytest.raises(ValueError, match=r"figures\.f: expected every run once"):
        writing(tmp_path, {"r{a}": grid({"a": [1, 2]})}, {"f": figure})


def test_an_experiment_needs_a_module(tmp_path):
    folder = tmp_path / "joint"
    folder.mkdir()
    (folder / "settings.yaml").write_text("ridge: {properties: {seeds: {}}}")
    family = {"experiment": "ridge", "settings": {"seeds": 1}}
    content = {"families": {"all": family}, "runs": {}, "figures": {}}
    (folder / "paper.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(
        ValueError, match=r"expected a module .*papers/joint/ridge\.py; there is no"
    ):
        Paper.read(folder / "paper.yaml", SCHEMAS)


def test_labels_of_a_run_are_over_those_of_its_family_and_not_in_its_spec(tmp_path):
    paper = writing(tmp_path, {"r": {"family": "all", "labels": {"y": "own"}}})
    assert paper.labels("r") == {"x": 1, "y": "own"}
    assert set(paper.resolve("r", "smoke")["settings"]) == {"a", "b"}


def test_what_no_training_reads_is_not_a_setting(papers):
    of = papers["lejeune2024"]
    for run in of.runs:
        settings = of.resolve(run, "paper")["settings"]
        assert not {"published", "variant"} & set(settings)
    assert of.labels("mnist_published") == {"variant": "baseline", "published": "mnist"}
    assert of.labels("mnist_corrected") == {"variant": "baseline"}
    assert of.labels("mnist_he") == {"variant": "He initialisation"}
    published = of.figures["fig4_sample_complexity"]["published"]
    for figure in ("c1_sample_ratios", "c3_robustness"):
        assert of.figures[figure]["published"] == published
    for run in of.runs:
        assert of.labels(run).get("published", "mnist") in published


def test_a_published_value_is_in_no_spec(tmp_path, papers):
    folder = tmp_path / "lejeune2024"
    shutil.copytree(PAPERS / "lejeune2024", folder)
    path = folder / "paper.yaml"
    assert path.read_text().count("0.068") == 1
    path.write_text(path.read_text().replace("0.068", "0.069"))
    other = Paper.read(path, SCHEMAS)
    assert other.settings == papers["lejeune2024"].settings
    assert other.figures != papers["lejeune2024"].figures


def test_every_figure_has_a_title_a_caption_and_known_columns(papers):
    titles = figure_titles(sorted(PAPERS.glob("*/paper.yaml")))
    assert list(titles) == list(papers)
    for key, paper in papers.items():
        assert list(titles[key]) == list(paper.figures)
        for figure, record in paper.figures.items():
            assert record["title"] == titles[key][figure]
            assert record["title"].endswith((".", "?"))
            assert record["caption"].endswith(".")
            assert record["arrays"] in (True, False)
            assert isinstance(record["columns"], dict)
    assert sum(map(len, titles.values())) >= 37


def test_a_setting_is_found_by_its_path():
    assert at_path({"a": {"b": 1}}, "a.b", "here") == 1
    for path in ("a.c", "a.b.c"):
        with pytest.raises(ValueError, match="here: unknown setting 'c'"):
            at_path({"a": {"b": 1}}, path, "here")


@pytest.mark.parametrize(
    "model, message",
    [
        ({"architecture": "my.module:build"}, None),
        ({"architecture": "my.module:build", "width": 3, "whatever": {"else": 1}}, None),
        ({"architecture": "my module:build"}, "does not match"),
        ({"architecture": "vgg11_bn", "width": 4, "initialisation": "pytorch"}, None),
        ({"architecture": "vgg11", "width": 4, "initialisation": "pytorch", "dropout": 0.5}, None),
        (
            {"architecture": "cnn", "width": 4, "initialisation": "pytorch", "dropout": 0.5},
            "dropout",
        ),
        ({"architecture": "vg11", "width": 4, "initialisation": "pytorch"}, "did you mean 'vgg11'"),
        ({"width": 4}, "'architecture' is a required property"),
    ],
)
def test_a_model_has_the_settings_of_its_architecture(tmp_path, model, message):
    (tmp_path / "settings.yaml").write_text(
        'e: {properties: {model: {$ref: "common#/$defs/model"}}}'
    )
    schema = read_settings(tmp_path / "settings.yaml", SCHEMAS)["e"]
    if message is None:
        check({"model": model}, schema, "settings")
    else:
        with pytest.raises(ValueError, match=message):
            check({"model": model}, schema, "settings")


def test_an_unknown_definition_is_an_error(tmp_path):
    (tmp_path / "settings.yaml").write_text('e: {properties: {a: {$ref: "common#/$defs/cuont"}}}')
    with pytest.raises(ValueError, match=r"unknown definition 'cuont' \(did you mean 'count'\?\)"):
        read_settings(tmp_path / "settings.yaml", SCHEMAS)


def test_a_new_dataset_is_a_row(tmp_path):
    schemas = tmp_path / "workflow" / "schemas"
    shutil.copytree(SCHEMAS, schemas)
    (tmp_path / "data").mkdir()
    table = (ROOT / "data" / "datasets.csv").read_text()
    rows = [line for line in table.splitlines() if line.startswith("mnist,")]
    more = "\n".join(row.replace("mnist,", "mine,", 1) for row in rows)
    (tmp_path / "data" / "datasets.csv").write_text(f"{table.rstrip()}\n{more}\n")
    settings = read_settings(PAPERS / "joint" / "settings.yaml", schemas)["both_instruments"]
    assert "mine" in settings["properties"]["dataset"]["properties"]["name"]["enum"]
