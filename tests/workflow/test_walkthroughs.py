"""The walk-throughs in docs/ are carried out as they stand, and what does not fit is seen."""

import re
import shutil

import pytest
from repository import Repository
from walkthrough import follow, sections

from conftest import ROOT

pytestmark = pytest.mark.workflow

EXTENDING = (ROOT / "docs" / "extending.md").read_text()
EXTENSIONS = sections(EXTENDING)
MADE = ("results/", "figures/", "data/prepared/", ".snakemake/", "own_data/", ".pytest_cache/")


def fresh(folder):
    repository = Repository.copy(folder / "copy")
    shutil.copytree(ROOT / "reference", repository.path / "reference", dirs_exist_ok=True)
    return repository


def test_the_audit_of_a_claim_works_as_it_stands(tmp_path):
    follow((ROOT / "docs" / "audit-a-claim.md").read_text(), fresh(tmp_path))


def promised(title):
    """Return the files that the page's table says an extension touches."""
    anchor = title.lower().replace(" ", "-")
    [row] = re.findall(rf"^\| \[[^]]*\]\(#{anchor}\) \| (.*) \|$", EXTENDING, re.M)
    return set(re.findall("`([^`]+)`", row))


@pytest.mark.parametrize("title", EXTENSIONS)
def test_an_extension_works_as_it_stands_and_touches_what_is_said(title, tmp_path):
    repository = fresh(tmp_path)
    before = repository.files("**/*")
    follow(EXTENSIONS[title], repository)
    touched = {
        path
        for path, content in repository.files("**/*").items()
        if before.get(path) != content and not path.startswith(MADE) and "__pycache__" not in path
    }
    rooms = re.compile(r"(?<=papers/)[a-z]+\d{4}(?=/)")
    placed = {rooms.sub("<key>", path) for path in touched}
    names = {"plots/[a-z0-9_]+[.]py": "plots/<figure>.py", "linear_networks": "<experiment>"}
    for pattern, name in names.items():
        placed = {re.sub(pattern, name, path) for path in placed}
    assert placed == promised(title)


def block(before, language, *lines):
    return "\n".join([f"Some words. {before}", "", f"```{language}", *lines, "```", ""])


def test_each_kind_of_block_is_carried_out(tmp_path):
    page = [
        block("Create `a.txt`:", "yaml", "one: 1", "two: 2"),
        block("At the end of `a.txt`:", "yaml", "three: 3"),
        block("In `a.txt`:", "diff", " one: 1", "-two: 2", "+2: two", "+", "+2.5: more"),
        block("It says:", "bash", "cat a.txt"),
        block("namely", "text", "one: 1", "2: two", "thr…"),
        "<!-- fails -->\n```bash\ntrue | false\n```\n",
        "<!-- not tried -->\n```bash\nfalse\n```\n",
    ]
    follow("\n".join(page), Repository(tmp_path))
    assert (tmp_path / "a.txt").read_text() == "one: 1\n2: two\n\n2.5: more\nthree: 3\n"


SAYS = block("It says:", "bash", "printf 'one\\ntwo\\n'")
MISTAKES = {
    "expected next:\nthree": SAYS + block("namely", "text", "one", "three"),
    "expected next:\none": SAYS + block("namely", "text", "two", "one"),
    "expected next:\nthr…": SAYS + block("namely", "text", "thr…"),
    "expected next:\non\n": SAYS + block("namely", "text", "on"),
    "expected some of these lines:\none": SAYS + block("namely", "text"),
    "nothing has been printed": block("namely", "text", "one"),
    "no such command": block("Run it:", "bash", "echo no such command", "false", "true"),
    "all is well": "<!-- fails -->\n```bash\necho all is well\n```\n",
    "'old\\n' stands 2 times": block("In `file`:", "diff", "-old", "+new"),
    "'older\\n' stands 0 times": block("In `file`:", "diff", "-older", "+new"),
    "neither kept nor changed: 'old": block("In `file`:", "diff", "old", "+new"),
    "file is there already": block("Create `file`:", "yaml", "old"),
    "which file": block("Then:", "yaml", "old"),
    "a block is not understood": "```yaml title\nold\n```\n",
}


@pytest.mark.parametrize("message", MISTAKES)
def test_what_does_not_fit_is_seen(message, tmp_path):
    (tmp_path / "file").write_text("old\nold\n")
    with pytest.raises(AssertionError) as raised:
        follow(MISTAKES[message], Repository(tmp_path))
    assert message in str(raised.value)
