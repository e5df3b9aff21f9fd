"""How Sphinx makes one site of the repository's pages, ledgers and public names: ``make site``.

Pages are read where they lie, so that their links are those that a reader of the repository
follows, and what they link to keeps its place in the site.
"""

import os
import re
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import download_reference
from sphinx.application import Sphinx
from sphinx.util.osutil import relative_uri

from feature_alignment import surface

ROOT = Path(__file__).resolve().parents[2]

project = "Feature Alignment, Replicated"
author = "The Feature Alignment, Replicated developers"
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "*/README.md", "*/*/README.md"]
exclude_patterns = [".*", "benchmarks", "figures", "results", "site", "src", "tests", "workflow"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["html_image"]
myst_heading_anchors = 4
highlight_language = "none"
suppress_warnings = [
    "misc.highlighting_failure",  # of what has no colours, as mermaid and CSV
    "myst.xref_missing",  # of anchors that are written as HTML; a test follows every link
]
add_module_names = False
autodoc_typehints = "none"  # signatures have them
napoleon_use_ivar = True
napoleon_custom_sections = ["Departs from"]

html_theme = "furo"
html_title = project
html_copy_source = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]
templates_path = ["templates"]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "ledgers.html",
        "sidebar/scroll-end.html",
    ]
}
html_context = {
    "ledgers": {
        path.parent.name: path.relative_to(ROOT).as_posix()
        for path in sorted(ROOT.glob("reference/*/ledger.html"))
    }
}


def setup(app: Sphinx) -> None:
    """Connect what is done besides what Sphinx does."""
    app.connect("builder-inited", copy_ledgers)
    app.connect("source-read", add_contents)
    app.connect("source-read", add_names)
    app.connect("doctree-read", keep_places, priority=100)  # before downloads are collected
    app.connect("missing-reference", link_folder)
    app.connect("build-finished", copy_first_page)


def copy_ledgers(app: Sphinx) -> None:
    """Copy the published ledgers with the pictures that they show."""
    for path in html_context["ledgers"].values():
        shutil.copytree(
            ROOT / Path(path).parent / "pictures",
            Path(app.outdir, path).parent / "pictures",
            dirs_exist_ok=True,
        )
        shutil.copyfile(ROOT / path, Path(app.outdir, path))


def add_contents(app: Sphinx, name: str, source: list[str]) -> None:
    """Add the contents of the site to its first page: pages in the order of ``docs/index.md``."""
    if name != root_doc:
        return
    found = sorted(app.env.found_docs - {root_doc})
    index = ROOT / "docs" / "index.md"
    linked = re.findall(r"\]\(([^)#]+)\.md", index.read_text()) if index.is_file() else []
    order = ["docs/index", *(os.path.normpath(f"docs/{link}") for link in linked)]
    found.sort(key=lambda page: order.index(page) if page in order else len(order))
    for caption, pattern in {"Papers": "papers/", "Results": "reference/", "Pages": ""}.items():
        pages = [page for page in found if page.startswith(pattern)]
        found = [page for page in found if page not in pages]
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n"
        source[0] += "\n".join([*pages, "```", ""])


def add_names(app: Sphinx, name: str, source: list[str]) -> None:
    """Add the public names to their page."""
    if name == "docs/site/reference":
        kinds = {key: "class" if key[0].isupper() else "function" for key in surface.NAMES}
        lines = [
            f".. auto{kinds[key]}:: {module}.{key}" + ("\n   :members:" * (kinds[key] == "class"))
            for key, module in surface.NAMES.items()
        ]
        source[0] += "\n".join(["\n```{eval-rst}", *lines, "```", ""])


def keep_places(app: Sphinx, doctree: nodes.document) -> None:
    """Let files that are linked to lie in the site where they lie in the repository."""
    page = app.env.docname
    for node in list(doctree.findall(download_reference)):
        path, file = app.env.relfn2path(node["reftarget"], page)
        target = Path(app.outdir, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        uri = relative_uri(app.builder.get_target_uri(page), path)
        node.replace_self(nodes.reference("", "", *node.children, refuri=uri, internal=True))


def link_folder(app: Sphinx, env, node, text: nodes.Element) -> nodes.Element | None:
    """Show a link to a folder, which a site has no page of, as the words that it is on."""
    folder = Path(env.doc2path(env.docname)).parent / node["reftarget"]
    return text if folder.is_dir() else None


def copy_first_page(app: Sphinx, error: Exception | None) -> None:
    """Let the first page be found under the name that browsers look for."""
    if error is None:
        shutil.copyfile(Path(app.outdir, f"{root_doc}.html"), Path(app.outdir, "index.html"))
