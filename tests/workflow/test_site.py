"""The site of all pages, as a reader meets it: links lead somewhere, and nothing overflows."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from browsers import NEEDS_BROWSER, set_width, started

from conftest import ROOT

pytestmark = pytest.mark.workflow

PAGES = [
    path.relative_to(ROOT)
    for pattern in ("README.md", "docs/*.md", "papers/*/README.md", "data/README.md")
    for path in ROOT.glob(pattern)
]


SHOWN = """
    const done = arguments[0], images = [...document.querySelectorAll("article img")];
    Promise.all(images.map(image => {
        image.loading = "eager";
        return image.decode().then(() => null, () => image.src);
    })).then(broken => done([document.scrollingElement.scrollWidth, broken.filter(Boolean)]));
"""
"""Tells how wide a page is, and which of its pictures cannot be shown."""


class Links(HTMLParser):
    """What a page links to and loads, and the places in it."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.loaded, self.places = set(), set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.places |= {given[key] for key in ("id", "name") if given.get(key)}
        for key in ("href", "src"):
            if address := given.get(key):
                is_link = tag == "a" or given.get("rel") in ("author", "canonical", "index")
                (self.targets if is_link else self.loaded).add(address)


def dead(site):
    """Return the links of a site that lead nowhere, and what it loads from elsewhere."""
    pages = {path: Links(path.read_text()) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for address in page.targets | page.loaded:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if address in page.loaded and parts.scheme != "data":
                    found.append(f"{path.relative_to(site)} loads {address}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment)
            named = target in pages and target.name != "ledger.html"  # whose places are filters
            if not target.is_file() or (place and named and place not in pages[target].places):
                found.append(f"{path.relative_to(site)}: {address}")
    for path in site.rglob("*.css"):
        found += re.findall(r"url\(['\"]?(?!data:)(?:\w+:)?//[^)]*|@import[^;]*", path.read_text())
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, made as ``make site`` makes it: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "-c", "docs/site"]
    done = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), ".", str(folder / "site")],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "site"


def test_every_page_is_there_and_in_the_contents(site):
    first = Links((site / "index.html").read_text())
    for page in PAGES:
        assert (site / page).with_suffix(".html").is_file(), page
        if page.as_posix() != "README.md":
            assert page.with_suffix(".html").as_posix() in first.targets
    for ledger in ROOT.glob("reference/*/ledger.html"):
        assert ledger.relative_to(ROOT).as_posix() in first.targets


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    assert dead(site) == []


def test_a_dead_link_would_be_seen(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="b"><a href="#b"><a href="#c"><a href="d.html"><a href="https://e.f">'
        '<img src="g.png"><script src="https://h.i/j.js"></script>'
    )
    (tmp_path / "k.css").write_text("@import 'https://l.m'; p { background: url(//n.o/p.png) }")
    assert len(dead(tmp_path)) == 6


def test_public_names_lead_to_their_code(site):
    text = (site / "docs" / "site" / "reference.html").read_text()
    assert "_modules/feature_alignment/api/kernels.html#layer_kernels" in text


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with started(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.mark.browser
@NEEDS_BROWSER
@pytest.mark.parametrize("width", [1400, 390])
def test_no_page_scrolls_sideways_and_every_picture_is_shown(site, browser, width):
    set_width(browser, width)
    found = []
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site).as_posix()
        browser.get(path.as_uri())
        widest, broken = browser.execute_async_script(SHOWN)
        found += [f"{name} is {widest} wide"] if widest > width else []
        found += [f"{name} does not show {address}" for address in broken]
    assert found == []
    said = [entry["message"] for entry in browser.get_log("browser")]
    assert [text for text in said if "SEVERE" in text or "Refused" in text] == []
