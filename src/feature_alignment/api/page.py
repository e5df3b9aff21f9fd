"""Write the page of the public names, from their docstrings.

python -m feature_alignment.api.page --out docs/api.md
"""

import argparse
import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from feature_alignment import command, surface
from feature_alignment.storage import replacing

HEAD = """# Public names

"""
ABOUT = (
    "`import feature_alignment as fa` offers what is here, and loads nothing until a name is used."
    " This page is made of the docstrings, by"
    " `python -m feature_alignment.api.page --out docs/api.md`. [Measure your own"
    " network](measure-your-network.md) shows them at work, and [which instrument answers which"
    " question](instruments.md) helps to choose.\n"
)
SECTIONS = ("Args", "Returns", "Raises", "References", "Attributes", "Departs from", "Yields")
RETURNED = {
    "layer_kernels": ("LayerKernels",),
    "layer_alignment": ("LayerAlignments",),
    "spectrum": ("Spectrum",),
    "nfa": ("LayerAnsatz",),
}
"""What functions return that has a description of its own, by name of the function."""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="page to write (Markdown)")
    arguments = parser.parse_args(argv)
    with replacing(arguments.out) as temporary:
        temporary.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the page."""
    parts = [HEAD + ABOUT, *(_described(name, surface.find(name)) for name in surface.NAMES)]
    return "\n".join(parts)


def _described(name: str, value: object) -> str:
    """Return the section on a function or a class."""
    parts = [f"## `fa.{name}`\n"]
    parts += _entry(name, value)
    module = inspect.getmodule(value)
    for other in RETURNED.get(name, ()):
        parts += [f"### `{other}`\n", _text(getattr(module, other).__doc__)]
    return "\n".join(parts)


def _entry(name: str, value: object) -> Iterator[str]:
    yield f"```python\n{_signature(name, value)}\n```\n"
    yield _text(value.__doc__)
    if not inspect.isclass(value):
        return
    yield _text(value.__init__.__doc__)
    for method, member in vars(value).items():
        if method == "__call__":
            yield f"### `{name}.__call__`\n\n```python\n{_signature('probe', member)}\n```\n"
        elif method.startswith("_"):
            continue
        else:
            yield f"### `{name}.{method}`\n"
        yield _text((member.fget if isinstance(member, property) else member).__doc__)


def _signature(name: str, value: object) -> str:
    signature = inspect.signature(value)
    kept = [part for part in signature.parameters.values() if part.name != "self"]
    returned = signature.return_annotation
    known = returned not in (inspect.Signature.empty, None) and not inspect.isclass(value)
    hint = f" -> {_shown(returned)}" if known else ""
    lines: list[str] = []
    for part in kept:
        if part.kind is part.KEYWORD_ONLY and "*" not in lines:
            lines.append("*")
        sign = {part.VAR_POSITIONAL: "*", part.VAR_KEYWORD: "**"}.get(part.kind, "")
        text = f"{sign}{part.name}: {_shown(part.annotation)}"
        if part.default is not part.empty:
            text += f" = {_default(part.default)}"
        lines.append(text)
    body = ",\n".join(f"    {line}" for line in lines)
    return f"fa.{name}(\n{body},\n){hint}" if name != "probe" else f"probe(\n{body},\n){hint}"


def _shown(annotation: object) -> str:
    """Return a type as it is written, without the names of modules."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", text)


def _default(value: object) -> str:
    if isinstance(value, Path):
        return f"…/{value.name}"
    return repr(value)


def _text(docstring: str | None) -> str:
    """Return a docstring as Markdown: its sections as bold words, arguments as a list."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    found: list[str] = []
    block: list[str] = []
    title = None

    def close() -> None:
        nonlocal block
        if title is None:
            found.extend(_prose(block))
        else:
            found.extend([f"**{title}**", "", *_items(title, block)])
        block = []

    for line in lines:
        named = line.partition(":")[0]
        if named in SECTIONS and line.startswith(f"{named}:"):
            close()
            title = named
            block = [rest] if (rest := line.partition(":")[2].strip()) else []
        else:
            block.append(line)
    close()
    return "\n".join(found).rstrip() + "\n"


def _prose(lines: list[str]) -> list[str]:
    """Return paragraphs, each in one line, and tables of reStructuredText as blocks."""
    found = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines).strip()):
        if paragraph.startswith("===") or re.match(r"^\s{4}", paragraph):
            found += ["```text", textwrap.dedent(paragraph), "```", ""]
        elif paragraph:
            found += [_marked(" ".join(paragraph.split())), ""]
    return found


def _items(title: str, lines: list[str]) -> list[str]:
    text = textwrap.dedent("\n".join(lines)).strip()
    if title in ("Returns", "References", "Departs from", "Yields"):
        return _prose(text.splitlines())
    found = []
    for item in re.split(r"\n(?=\S)", text):
        name, _, rest = item.partition(":")
        found.append(f"- `{name}`: {_marked(' '.join(rest.split()))}")
    return [*found, ""]


def _marked(text: str) -> str:
    """Return text whose roles and doubled marks are those of Markdown."""
    text = re.sub(r":\w+:`(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")


if __name__ == "__main__":
    command.run(main)
