import copy
import re
from pathlib import Path

import pytest
import yaml

from conftest import ROOT
from feature_alignment.run.spec import SCALES, Experiments, merge, read_all_experiments, read_yaml
from feature_alignment.run.spec import validate as check

SCHEMAS = ROOT / "workflow" / "schemas"
EXPERIMENTS = ROOT / "config" / "experiments"


def edited(tmp_path: Path, change) -> Path:
    content = read_yaml(EXPERIMENTS / "beaglehole2024.yaml")
    content = copy.deepcopy(content)
    change(content)
    path = tmp_path / "beaglehole2024.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("scale", SCALES)
def test_every_run_of_every_paper_resolves(scale):
    for paper, experiments in read_all_experiments(EXPERIMENTS, SCHEMAS).items():
        for run in experiments.runs_at(scale):
            spec = experiments.resolve(run, scale)
            assert (spec["paper"], spec["run"], spec["scale"]) == (paper, run, scale)
            assert "seeds" not in spec["settings"]


def test_later_layers_win():
    experiments = Experiments.read(EXPERIMENTS / "beaglehole2024.yaml", SCHEMAS)
    paper = experiments.resolve("mlp_mnist", "paper")["settings"]
    laptop = experiments.resolve("mlp_mnist", "laptop")["settings"]
    smoke = experiments.resolve("mlp_mnist", "smoke")["settings"]
    assert (paper["epochs"], laptop["epochs"], smoke["epochs"]) == (50, 20, 3)
    assert paper["learning_rate"] == {"first_epoch": 1e-4, "value": 10.0}
    assert laptop["learning_rate"]["value"] == 5.0
    assert smoke["dataset"]["name"] == "digits"
    assert experiments.seeds("mlp_mnist", "laptop") == 3
    assert experiments.seeds("mlp_mnist", "smoke") == 2


def test_merge_goes_key_by_key_and_leaves_its_arguments():
    base = {"a": {"x": 1, "y": [1]}, "b": 2}
    merged = merge(base, {"a": {"y": [2, 3]}, "c": {"z": 0}})
    assert merged == {"a": {"x": 1, "y": [2, 3]}, "b": 2, "c": {"z": 0}}
    assert base == {"a": {"x": 1, "y": [1]}, "b": 2}


def misspell_setting(content):
    content["families"]["ansatz_mlp"]["laptop"]["epoch"] = 3


def misspell_nested_setting(content):
    content["runs"]["mlp_mnist"]["settings"]["dataset"]["nam"] = "mnist"


def misspell_dataset(content):
    content["runs"]["mlp_mnist"]["settings"]["dataset"]["name"] = "minst"


def forget_setting(content):
    del content["families"]["ansatz_mlp"]["settings"]["batch_size"]


def float_for_integer(content):
    content["families"]["ansatz_mlp"]["settings"]["batch_size"] = 128.0


def wrong_type(content):
    content["families"]["ansatz_mlp"]["settings"]["batch_size"] = "many"


@pytest.mark.parametrize(
    "change, message",
    [
        (misspell_setting, r"unknown key 'epoch' \(did you mean 'epochs'\?\); allowed: batch_size"),
        (misspell_nested_setting, r"dataset: unknown key 'nam' \(did you mean 'name'\?\)"),
        (misspell_dataset, r"unknown value 'minst' \(did you mean 'mnist'\?\); allowed: mnist"),
        (forget_setting, "'batch_size' is a required property"),
        (float_for_integer, "batch_size: 128.0 is not of type 'integer'"),
        (wrong_type, "batch_size: 'many' is not of type 'integer'"),
    ],
)
def test_errors_in_settings_say_how_to_fix_them(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as error:
        Experiments.read(edited(tmp_path, change), SCHEMAS)
    assert re.search(r"beaglehole2024\.yaml: run 'mlp_\w+' at scale '\w+'", str(error.value))


def misspell_family(content):
    content["runs"]["mlp_mnist"]["family"] = "ansatz_mpl"


def misspell_run_in_figure(content):
    content["figures"]["b1_nfa_emergence"] = ["mlp_minst"]


def misspell_experiment(content):
    content["families"]["ansatz_mlp"]["experiment"] = "ansats"


def misspell_at_another_scale(content):
    content["runs"]["mlp_gtsrb"]["settings"]["dataset"]["n_trian"] = 1


def override_where_it_is_not_defined(content):
    content["runs"]["mlp_gtsrb"]["smoke"] = {"epochs": 3}


def misspell_key_of_run(content):
    content["runs"]["mlp_mnist"]["setings"] = {}


@pytest.mark.parametrize(
    "change, message",
    [
        (misspell_family, r"unknown family 'ansatz_mpl' \(did you mean 'ansatz_mlp'\?\)"),
        (misspell_run_in_figure, r"unknown run 'mlp_minst' \(did you mean 'mlp_mnist'\?\)"),
        (misspell_experiment, r"unknown experiment 'ansats' \(did you mean 'ansatz'\?\)"),
        (misspell_at_another_scale, r"'mlp_gtsrb' at scale 'paper'.*\n.*unknown key 'n_trian'"),
        (override_where_it_is_not_defined, "runs.mlp_gtsrb: settings for 'smoke', not in 'at'"),
        (misspell_key_of_run, r"unknown key 'setings' \(did you mean 'settings'\?\)"),
    ],
)
def test_errors_in_the_file_are_found_on_reading(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        Experiments.read(edited(tmp_path, change), SCHEMAS)


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


def test_a_run_knows_the_scales_it_is_defined_at():
    experiments = Experiments.read(EXPERIMENTS / "beaglehole2024.yaml", SCHEMAS)
    assert "mlp_svhn" not in experiments.runs_of("b1_nfa_emergence", "laptop")
    assert "mlp_svhn" in experiments.runs_of("b1_nfa_emergence", "paper")
    with pytest.raises(ValueError, match="'mlp_svhn' is not defined at scale 'laptop'"):
        experiments.resolve("mlp_svhn", "laptop")


def _objects(schema):
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            yield schema
        for value in schema.values():
            yield from _objects(value)


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_schema_is_closed(path):
    if path.stem == "claims.schema":
        closed = [s for s in _objects(read_yaml(path)) if "criterion" not in s["properties"]]
    else:
        closed = list(_objects(read_yaml(path)))
    assert closed
    assert all(schema.get("additionalProperties") is False for schema in closed)


def test_the_default_configuration_is_valid():
    config = read_yaml(ROOT / "config" / "config.yaml")
    check(config, read_yaml(SCHEMAS / "config.schema.yaml"), "config")
    with pytest.raises(ValueError, match=r"unknown key 'scle' \(did you mean 'scale'\?\)"):
        check(config | {"scle": "smoke"}, read_yaml(SCHEMAS / "config.schema.yaml"), "config")
