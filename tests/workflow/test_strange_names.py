"""Names of folders and words in files reach the shell and Snakemake as what they are."""

import json

import pytest
import yaml
from repository import Repository

FIGURE = "fig2_penalties"
RESULTS = "results/a b;$(touch pwned)"


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """A copy in a folder whose name is a command, in the rooms of a paper full of markup."""
    copy = Repository.copy(tmp_path_factory.mktemp("clone") / "q'$(touch pwned)x")
    paper = copy.path / "papers" / "lejeune2024" / "paper.yaml"
    content = yaml.safe_load(paper.read_text())
    figure = content["figures"][FIGURE]
    figure["title"] = "A {title} of {{ 6 * 7 }} $(touch pwned) </script><script>alert(1)</script>."
    figure["caption"] = "A {caption} of {{ 6 * 7 }} {%1,2} $(touch pwned) .. raw:: html"
    content["families"]["penalties"]["labels"] = {
        "said": "=cmd|' /C calc'!A0 {label} $(touch pwned)"
    }
    paper.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return copy


def test_a_workflow_runs_under_strange_names_and_runs_none_of_them(strange):
    targets = ["plot_lejeune2024_fig2", "audit_lejeune2024_fig2"]
    done = strange.snakemake(*targets, "--config", "scale=smoke", f"results={RESULTS}")
    assert done.status == 0, done.text
    [ledger] = strange.path.glob(f"results/*/smoke/audit/lejeune2024/{FIGURE}.json")
    assert ledger.relative_to(strange.path).parts[1] == RESULTS.partition("/")[2]
    assert json.loads(ledger.read_text())
    assert not list(strange.path.parent.rglob("pwned*"))


def test_a_report_shows_words_as_they_are(strange):
    config = ("--config", "scale=smoke", f"results={RESULTS}")
    strange.snakemake("plot_lejeune2024_fig2", *config)
    captions = strange.path / RESULTS / "smoke" / "captions"
    captions.mkdir(parents=True, exist_ok=True)
    (captions / f"lejeune2024.{FIGURE}.rst").write_text(
        strange.shell(
            "python -c 'import sys; from feature_alignment.publish.captions import plain;"
            " print(plain(sys.argv[1]))' 'A {{ 6 * 7 }} {%1,2} .. raw:: html <script>'"
        ).text
    )
    done = strange.snakemake("plot_lejeune2024_fig2", *config, "--report", "report.html")
    assert done.status == 0, done.text
    text = (strange.path / "report.html").read_text()
    assert "A {{ 6 * 7 }} {%1,2} .. raw:: html &lt;script&gt;" in text
    assert "<script>alert(1)" not in text
    assert "</script><script>alert" not in text


@pytest.mark.parametrize("config", [(), ("results=results/{a}",), ("results=<tables>",)])
def test_a_folder_that_snakemake_takes_for_a_variable_is_refused(config, tmp_path):
    copy = Repository.copy(tmp_path / ("plain" if config else "{x}"))
    done = copy.snakemake("--dry-run", "--config", "scale=smoke", *config)
    assert done.status != 0
    assert "expected a folder" in done.text
    assert ("meaning of its own" if config else "give it another name") in done.text
