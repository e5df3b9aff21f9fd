import html
import re

import docutils.core
import jinja2
import pytest
from docutils import nodes
from made_up import ledger_row, provenance

from conftest import ROOT
from feature_alignment.plots import style
from feature_alignment.publish import captions
from feature_alignment.run.spec import read_papers
from feature_alignment.storage import write_json
from feature_alignment.tables import tidy, write_table

SCHEMAS = ROOT / "workflow" / "schemas"
CLAIM = ledger_row(
    verdict="contradicted", estimate=-0.14, low=-0.46, high=0.18, n=5, group="depth 10"
)


@pytest.fixture(scope="module")
def papers():
    return read_papers(ROOT / "papers", SCHEMAS)


def test_a_caption_says_what_its_table_notes(tmp_path):
    rows = [{"paper": "toy", "run": "r", "seed": s, "measure": "m", "value": 1.0} for s in (0, 1)]
    table, path = tidy(rows), tmp_path / "toy" / "fig1.csv"
    meta = provenance(table, "fig1") | {"notes": ["incomplete: 5 *seeds* planned"]}
    write_table(path, table, meta)
    assert captions.made(path, "laptop") == (
        "**Scale** laptop; 2 seeds; incomplete: 5 \\*seeds\\* planned."
    )
    assert style.footer(meta).endswith("n = 2 seeds  ·  incomplete: 5 *seeds* planned")


def test_what_a_scale_cuts_is_listed(papers):
    of = papers["joint"]
    text = captions.departures(of, "both_instruments", "laptop")
    for run in of.runs_of("both_instruments", "laptop"):
        here = of.resolve(run, "laptop")["settings"]["dataset"]["n_train"]
        paper = of.resolve(run, "paper")["settings"]["dataset"]["n_train"]
        assert f"dataset.n_train {here} instead of {paper}" in text
    assert text.startswith("**Departs from the full scale:** ")


def test_nothing_is_cut_at_full_scale_or_of_what_is_the_same(papers):
    assert captions.departures(papers["joint"], "both_instruments", "paper") == ""
    assert captions.departures(papers["lejeune2024"], "fig2_penalties", "laptop") == ""


def test_runs_that_a_scale_leaves_out_are_named(papers):
    of = papers["lejeune2024"]
    left_out = set(of.runs_of("fig4_sample_complexity", "paper"))
    left_out -= set(of.runs_of("fig4_sample_complexity", "laptop"))
    text = captions.departures(of, "fig4_sample_complexity", "laptop")
    assert f"runs left out: {left_out.pop()}" in text
    assert not left_out


def test_verdicts_say_what_was_found():
    exact = ledger_row(verdict="supported", estimate=0.5, low=0.5, high=0.5, n=1)
    exact |= {"class": "identity"}
    open_ = CLAIM | {"verdict": "open", "reason": "12 seeds decide", "class": "ours"}
    claims = [CLAIM, exact, open_, ledger_row()]
    assert captions.verdicts(claims).splitlines() == [
        "**Claims:** paper: 1 contradicted, 1 not run; ours: 1 open; identity: 1 supported.",
        "",
        "- *contradicted* (paper): It rises. -0.14 (-0.46 to 0.18; n = 5) at depth 10",
        "- *supported* (identity): It rises. 0.5",
        "- *open* (ours): It rises. -0.14 (-0.46 to 0.18; n = 5) at depth 10; 12 seeds decide",
        "- *not run* (paper): It rises.; needs scale laptop",
    ]
    assert captions.verdicts([]) == "**Claims:** none is stated about this figure."


def rendered(caption):
    """Return the document that a report makes of a caption; a warning is an error."""
    text = jinja2.Template(caption, undefined=jinja2.StrictUndefined).render()
    return docutils.core.publish_doctree(text, settings_overrides={"halt_level": 1})


@pytest.mark.parametrize(
    "words",
    [
        "It is {{ 6 * 7 }}, {% include 'x' %} or {# nothing #}.",
        ".. raw:: html\n\n   <script>alert(1)</script>",
        "The end:: .. raw:: html <b>x</b>::",
        "A *b* **c** `d` ``e`` :raw:`f` |g| h_ [1]_ \\ i__ .",
        "A. An initial, not a list.",
        "12) A number.",
        "- A dash - and * a star.",
        "=====",
        "To {%1,2} and {{{x}}}, {{ cycler.__init__.__globals__.os.system('touch pwned') }}.",
        ".. include:: /etc/passwd",
        ".. |g| replace:: x",
        ".. _h: javascript:alert(1)",
        "javascript:alert(1) data:text/html,x http://example.org/a_b mailto:a@b.org a@b.org",
        "x_ y__ `z`_ `w`__ _`v` n_train a__b __c__ k_.",
        "[#]_ [*]_ [1]_ [CIT2002]_ .. [1] a note",
        "`t <javascript:alert(1)>`_ :raw-html:`<b>` :math:`x` \\*a\\*",
        "\0*a*\0 \x0b b\x85c\u2028d",
    ],
)
def test_words_are_no_markup(words):
    claim = CLAIM | {"statement": words, "group": words}
    document = rendered(captions.plain(words) + "\n\n" + captions.verdicts([claim]))
    assert document.astext().count(re.sub(r"[\s\0]+", " ", words).strip()) == 3
    kinds = [node.tagname for node in document.findall(nodes.Element)]
    paragraphs = ["paragraph", "paragraph", "strong"]  # the words; how many claims there are
    assert kinds == ["document", *paragraphs, "bullet_list", "list_item", "paragraph", "emphasis"]


def test_what_a_scale_cuts_is_words_too(papers):
    words = "{{ 6 * 7 }} *a* b_ |c| .. raw:: html <script> javascript:alert(1)"

    class Enemy:
        key = "toy"

        def runs_of(self, figure, scale):
            return [f"run_{scale}_", "both"]

        def resolve(self, run, scale):
            return {"settings": {words: f"{words} {scale}"}}

        def seeds(self, run, scale):
            return 3

    document = rendered(captions.departures(Enemy(), "fig1", "smoke"))
    assert f"{words} {words} smoke instead of {words} paper" in document.astext()
    assert "runs left out: run_paper_; runs at this scale alone: run_smoke_." in document.astext()
    kinds = {node.tagname for node in document.findall(nodes.Element)}
    assert kinds == {"document", "paragraph", "strong"}


@pytest.mark.filterwarnings("ignore:Argument")  # docutils renames it, Snakemake does not yet
def test_the_report_of_snakemake_shows_words():
    """Its own environment and writer make HTML of a caption."""
    words = "{{ 6 * 7 }} {%1,2} <script>alert(1)</script> `a <javascript:b>`_ </script> c_"
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(captions.plain(words) + "\n\n.. _c: x").render(snakemake=None)
    body = docutils.core.publish_parts(text, writer_name="html")["body"]
    assert html.escape(words, quote=False) in body.replace("&quot;", '"')
    assert "<a" not in body


def test_every_caption_is_the_words_of_its_record(papers):
    for paper in papers.values():
        for record in paper.figures.values():
            assert rendered(captions.plain(record["caption"])).astext() == record["caption"]


def test_a_caption_holds_all_of_it(tmp_path, papers):
    table = tmp_path / "tables" / "joint" / "both_instruments.csv"
    run = {"paper": "joint", "run": "a", "measure": "m", "value": 1.0}
    values = tidy([run | {"seed": seed} for seed in range(4)])
    meta = provenance(values, "both_instruments", cifar10="re-encoded copy", mnist="")
    write_table(table, values, meta)
    row = CLAIM | {"table": "joint/both_instruments"}
    write_json(tmp_path / "ledger.json", [row])
    captions.main(
        ["--ledger", str(tmp_path / "ledger.json"), "--tables", str(table), "--scale", "laptop"]
        + ["--papers", str(ROOT / "papers"), "--schemas", str(SCHEMAS)]
        + ["--out", str(tmp_path / "out")]
    )
    text = (tmp_path / "out" / "joint.both_instruments.rst").read_text()
    assert text.startswith(papers["joint"].figures["both_instruments"]["caption"])
    assert "**Scale** laptop; 4 seeds; data: cifar10 (re-encoded copy), mnist." in text
    assert "**Departs from the full scale:**" in text
    assert text.endswith(
        "- *contradicted* (paper): It rises. -0.14 (-0.46 to 0.18; n = 5) at depth 10\n"
    )
