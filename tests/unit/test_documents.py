import copy
import dataclasses
import math
import re
import shutil

import pytest
from PIL import Image

from conftest import ROOT
from feature_alignment.audit.claims import read_claims
from feature_alignment.audit.ledger import judge_all
from feature_alignment.publish import documents, page
from feature_alignment.publish.pictures import WIDTHS
from feature_alignment.run.spec import SCALES, figure_titles
from feature_alignment.storage import read_json, sha256, write_json
from feature_alignment.tables import meta_path

PUBLISHED = "reference/laptop"
SCHEMA = ROOT / "workflow" / "schemas" / "claims.schema.yaml"
NAMES = ("findings", "gallery", "costs", "verdicts", "confirmation", "statements")
DOCUMENTS = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in NAMES),
    *sorted((ROOT / "papers").glob("*/README.md")),
]
OTHERWISE = {ROOT / "docs" / "networks.md"}
"""Documents whose generated parts are made by something else, and tested there."""
PAPERS = [path.parent.name for path in DOCUMENTS if path.name == "README.md"][1:]
LINKING = [*DOCUMENTS, *(ROOT / "docs").glob("*.md"), *(ROOT / "reference").glob("*/README.md")]
LINK = re.compile(r"""(?:\]\(|(?:src|href)=")(?![a-z]+:|#)([^)"#\s]+)""")


def filled(path, published):
    """Return a document of the repository with its generated parts made anew."""
    own = dataclasses.replace(published, root=documents.way(path, ROOT))
    return documents.fill(path.read_text(), own)


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def published():
    return documents.Published.read(ROOT / PUBLISHED, ROOT / "papers")


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_generated_parts_are_those_of_the_published_results(path, published):
    text = path.read_text()
    assert "<!-- generated: " in text
    assert filled(path, published) == text


def test_every_document_with_a_generated_part_is_published():
    found = {path for path in set(LINKING) if "<!-- generated: " in path.read_text()}
    assert found - OTHERWISE == set(DOCUMENTS)
    rules = (ROOT / "workflow" / "rules" / "common.smk").read_text()
    assert all(f'"{name}"' in rules for name in NAMES)


def test_links_begin_with_the_way_to_the_root(tmp_path):
    assert documents.way(tmp_path / "README.md", tmp_path) == ""
    assert documents.way(tmp_path / "docs" / "a.md", tmp_path) == "../"
    assert documents.way(tmp_path / "papers" / "x" / "README.md", tmp_path) == "../../"


def test_the_readme_can_be_read_in_a_few_minutes():
    assert len((ROOT / "README.md").read_text().split()) <= 900


def changed(published, path):
    """Return the published results with one number changed that a document shows."""
    other = copy.deepcopy(published)
    if path.name == "costs.md":
        other.costs.loc[0, "core_minutes"] += 1
    else:
        among = other.ledger
        if path.parent.parent == ROOT / "papers":
            among = [row for row in among if row["paper"] == path.parent.name]
        of = [row for row in among if row["class"] == "paper" and row["verdict"] == "supported"]
        (of or among)[0]["verdict"] = "unfit"
    return other


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_changed_verdict_or_cost_would_be_seen(path, published):
    assert filled(path, changed(published, path)) != path.read_text()


@pytest.mark.parametrize("paper", PAPERS)
def test_a_changed_estimate_would_be_seen(paper, published):
    path = ROOT / "papers" / paper / "README.md"
    other = copy.deepcopy(published)
    rows = [row for row in other.ledger if row["paper"] == paper]
    next(row for row in rows if row["estimate"] is not None)["estimate"] = 123.0
    assert filled(path, other) != path.read_text()


def test_the_slowest_job_and_the_memory_are_shown(published):
    path = ROOT / "docs" / "costs.md"
    for column in ("seconds", "memory_mib", "start_s"):
        other = copy.deepcopy(published)
        other.jobs[column] *= 2
        assert filled(path, other) != path.read_text()


def test_another_commit_or_package_would_be_seen(published):
    path = ROOT / "docs" / "gallery.md"
    for key, value in (("git", {"commit": "0" * 40, "tag": None, "dirty": True}), ("python", "2")):
        other = copy.deepcopy(published)
        next(iter(other.made.values()))[key] = value
        assert filled(path, other) != path.read_text()


def test_the_published_tables_come_from_commits_without_changes(published):
    for meta in published.made.values():
        for made in (meta, *meta.get("runs", ())):
            assert made["git"]["commit"]
            assert not made["git"]["dirty"]


def test_the_published_tables_are_those_that_were_judged(published):
    for row in published.ledger:
        table = ROOT / PUBLISHED / "tables" / f"{row['table']}.csv"
        if row["table"] in published.made:
            assert sha256(table) == row["table_sha256"]
            assert meta_path(table).is_file()
        else:  # some run of the figure has not been made at this scale
            assert row["verdict"] == "not run"
            assert not table.exists()


def test_a_rehearsal_is_not_published(tmp_path, published):
    write_json(tmp_path / "ledger.json", [row | {"scale": "smoke"} for row in published.ledger])
    options = ("figures", "tables", "costs", "jobs", "papers", "documents")
    nothing = [word for name in options for word in (f"--{name}", "x")]
    paths = ["--ledger", str(tmp_path / "ledger.json"), "--published", str(tmp_path / "out")]
    with pytest.raises(ValueError, match="smoke is only a rehearsal"):
        documents.main([*paths, *nothing])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("copies", WIDTHS)
def test_every_copy_of_a_figure_is_there(published, copies):
    for name in published.made:
        with Image.open(ROOT / PUBLISHED / copies / f"{name}.png") as image:
            assert WIDTHS["thumbnails"] <= image.width <= WIDTHS[copies]


def test_the_published_page_is_that_of_the_published_ledger(tmp_path):
    shown = ROOT / PUBLISHED / "ledger.html"
    ledgers = {scale: ROOT / "reference" / scale / "ledger.json" for scale in SCALES}
    own = ledgers.pop(shown.parent.name)
    twin = tmp_path / "laptop"
    shutil.copytree(shown.parent / "pictures", twin / "pictures")
    page.main(
        ["--linked", "--ledger", str(own), "--out", str(twin / "ledger.html")]
        + ["--others", *(str(path) for path in ledgers.values() if path.is_file())]
        + ["--figures", *map(str, sorted(twin.glob("pictures/*/*.png")))]
        + ["--papers", *map(str, sorted(ROOT.glob("papers/*/paper.yaml")))]
    )
    remedy = "write it again with these arguments of feature_alignment.publish.page"
    assert (twin / "ledger.html").read_text() == shown.read_text(), remedy
    addresses = set(re.findall(r'(?:data-link|src)="([^"]+)"', shown.read_text()))
    assert addresses
    assert all((shown.parent / address).is_file() for address in addresses)


@pytest.mark.parametrize("paper", PAPERS)
def test_every_published_figure_is_shown_on_the_page_of_its_paper(published, paper):
    text = (ROOT / "papers" / paper / "README.md").read_text()
    named = [name for name in published.made if name.startswith(f"{paper}/")]
    assert named
    for name in named:
        assert f"(../../reference/laptop/pictures/{name}.png)" in text


def test_a_figure_that_is_not_published_is_told_as_not_yet(published):
    titles = figure_titles((ROOT / "papers").glob("*/paper.yaml"))
    named = {f"{paper}/{figure}" for paper, figures in titles.items() for figure in figures}
    assert set(published.made) <= named
    table = documents.figure_table(published)
    assert table.count("| not yet |") == len(named - set(published.made))


def test_the_published_ledger_has_every_claim(published):
    claims = read_claims((ROOT / "papers").glob("*/claims.yaml"), SCHEMA)
    stated = {claim["id"]: claim["statement"] for claim in claims}
    assert {row["id"]: row["statement"] for row in published.ledger} == stated


def alike(one, other):
    """Whether two parts of a ledger are one, but for last digits, which systems round otherwise."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return one == other


@pytest.mark.parametrize("name", ["exploration", "sixteen_seeds"])
def test_verdicts_on_earlier_tables_are_those_of_present_claims(name):
    folder = ROOT / "reference" / name
    tables = {f"{path.parent.name}/{path.stem}": path for path in folder.glob("tables/*/*.csv")}
    claims = read_claims(sorted((ROOT / "papers").glob("*/claims.yaml")), SCHEMA)
    on_these = [claim for claim in claims if claim["evidence"]["table"] in tables]
    assert alike(
        read_json(folder / "ledger.json"), judge_all(on_these, tables, "laptop", published=True)
    )


def test_the_published_verdicts_are_those_of_their_tables(published):
    tables = {
        f"{path.parent.name}/{path.stem}": path
        for path in (ROOT / PUBLISHED / "tables").glob("*/*.csv")
    }
    claims = read_claims(sorted((ROOT / "papers").glob("*/claims.yaml")), SCHEMA)
    few = [
        claim
        for claim in claims
        if claim["paper"] in ("joint", "lejeune2024") and claim["evidence"]["table"] in tables
    ]
    rows = {row["id"]: row for row in judge_all(few, tables, "laptop")}
    for row in published.ledger:
        if row["id"] in rows:
            assert alike(row | {"q": None}, rows[row["id"]] | {"q": None}), row["id"]


def test_no_support_of_a_paper_holds_without_training(published):
    supports = [
        row
        for row in published.ledger
        if row["class"] == "paper" and row["verdict"] in ("supported", "equivalent")
    ]
    assert supports
    for row in supports:
        assert row["untrained"] != "not measured"
        assert all(found == {"holds": False, "beaten": True} for found in row["beaten"].values())


def test_no_two_claims_rest_on_the_same_numbers(published):
    seen = {}
    for row in published.ledger:
        ranks = row["criterion"] in ("rank_correlates", "ranks_better")  # these take few values
        if row["class"] in ("paper", "ours") and len(set(row["values"])) > 1 and not ranks:
            key = tuple(row["values"])
            assert seen.setdefault(key, row["id"]) == row["id"] or not same(
                row, seen[key], published
            )


def same(row, other, published):
    """Whether two claims ask the same of the same numbers, with the same bounds."""
    [one] = [found for found in published.ledger if found["id"] == other]
    asked = [(claim["least"], claim["most"], claim["group"]) for claim in (row, one)]
    return asked[0] == asked[1]


def test_every_interval_lies_where_its_values_can(published):
    for row in published.ledger:
        correlation = "correlation" in (row["asks"] or "") or (
            row["criterion"] in ("at_least", "at_most", "equals")
            and re.search(r"nfa_|cosine", row["asks"] or "")
            and not re.search("gain|rise|minus", row["asks"])
        )
        for end in (row["low"], row["high"]):
            if end is not None and correlation and row["criterion"] != "ranks_better":
                assert -1 <= end <= 1, row["id"]
            if end is not None and " over " in (row["asks"] or ""):
                assert end >= 0, row["id"]


def test_contradicted_claims_come_first(published):
    table = documents.claim_table(published.ledger)
    cells = [line.split("|")[1:3] for line in table.splitlines()[2:]]
    found = [(kind.strip(), verdict.split("<br>")[0].strip()) for kind, verdict in cells]
    classes, order = ("paper", "ours", "identity", "check"), documents.SEVERITY
    assert found == sorted(found, key=lambda pair: (classes.index(pair[0]), order.index(pair[1])))
    assert len(found) == len(published.ledger)


def test_an_unknown_part_is_an_error(published):
    text = "<!-- generated: figurs -->\n<!-- end: figurs -->\n"
    with pytest.raises(ValueError, match="unknown generated part 'figurs'"):
        documents.fill(text, published)


def test_every_page_is_in_the_index():
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in LINK.findall(index.read_text())}
    others = [ROOT / name / "README.md" for name in ("config", "data", "figures")]
    assert {*LINKING, *others} - linked == {ROOT / "README.md", index}


@pytest.mark.parametrize("path", sorted(set(LINKING)), ids=name_of)
def test_every_relative_link_leads_to_a_file(path):
    targets = set(LINK.findall(path.read_text()))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_a_link_that_leads_nowhere_would_be_seen():
    text = '[a](b.md#c) ![d](e/f.png) <img src="g.png"> [h](https://i.j) [k](#l) <a href="m.md">'
    assert LINK.findall(text) == ["b.md", "e/f.png", "g.png", "m.md"]


def test_tables_without_a_commit_are_told_with_the_reason(published):
    for state, words in (
        ({"note": "git is not installed"}, "unknown (git is not installed)"),
        ({}, "unknown (git told nothing of the source)"),
    ):
        other = copy.deepcopy(published)
        next(iter(other.made.values()))["git"] = {"commit": None, "dirty": None, **state}
        assert words in filled(ROOT / "docs" / "gallery.md", other)


ENEMY = "a | b <script>alert(1)</script> `c` **d**\n<!-- end: claims toy --> [e](javascript:f)"


def test_no_document_shows_words_as_markup(published):
    shown = documents.words(ENEMY)
    other = copy.deepcopy(published)
    paper, figure = other.ledger[0]["table"].split("/")
    other.titles[paper][figure] = ENEMY
    other.ledger[0] |= {"statement": ENEMY, "id": ENEMY, "group": ENEMY, "verdict": "supported"}
    other.jobs.loc[other.jobs["seconds"].idxmax(), "job"] = ENEMY
    other.costs.loc[0, "figure"] = ENEMY
    made = other.made[f"{paper}/{figure}"]
    made["git"] |= {"tag": ENEMY, "commit": "`<b>|</b>`"}
    made["python"] = ENEMY
    names = [
        "run",
        "verdicts",
        "supports",
        "figures",
        "slowest jobs",
        "figure costs",
        f"claims {paper}",
    ]
    text = "\n".join(f"<!-- generated: {name} -->\n<!-- end: {name} -->\n" for name in names)
    filled = documents.fill(text, other)
    assert filled.count(shown) == 9
    assert documents.fill(filled, other) == filled
    assert not re.search(r"(?<!\\)<(script|b>|!-- end: claims toy)", filled)
    tables = re.findall(r"(?:^\|.*\n)+", filled, re.M)
    assert len(tables) == 6
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
