"""Pages in Markdown that are carried out, block by block.

What a block is follows from its language and from the sentence before it:

- ``diff``: an edit of the file that the sentence names; what it takes away stands there once
- ``bash``: commands that succeed, or fail after the comment ``<!-- fails -->``
- ``text``: lines that the last commands printed, in this order; of one that ends in … the beginning
- any other: the content of a file, after "Create `path`", or what is added "at the end of `path`"

After the comment ``<!-- not tried -->`` a block is passed over.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from repository import Repository

_BLOCK = re.compile(
    r"(?P<before>[^\n]*)\n+```(?P<language>\w*)\n(?P<content>.*?)^```$", re.M | re.S
)
NOT_TRIED, FAILS = "<!-- not tried -->", "<!-- fails -->"


@dataclass(frozen=True)
class Block:
    """A fenced block with the line before it."""

    before: str
    language: str
    content: str


def blocks(page: str) -> Iterator[Block]:
    """Yield the blocks of a page that are to be carried out."""
    found = [Block(**match.groupdict()) for match in _BLOCK.finditer(page)]
    assert len(found) * 2 == len(re.findall("^```", page, re.M)), "a block is not understood"
    yield from (block for block in found if block.before != NOT_TRIED)


def sections(page: str) -> dict[str, str]:
    """Return the sections of a page by their titles."""
    titles = re.split(r"^## (.*)$", page, flags=re.M)[1:]
    return dict(zip(titles[::2], titles[1::2], strict=True))


def follow(page: str, repository: Repository) -> None:
    """Carry out a page in a repository."""
    printed = None
    for block in blocks(page):
        if block.language == "bash":
            outcome = repository.shell(block.content)
            assert (outcome.status != 0) == (block.before == FAILS), outcome.text
            printed = outcome.text
        elif block.language == "text":
            assert printed is not None, f"nothing has been printed before:\n{block.content}"
            expect(block.content, printed)
        else:
            change(block, repository)


def expect(lines: str, printed: str) -> None:
    """Hold lines against what was printed, where others may stand between them."""
    left = iter(printed.splitlines())
    wanted = lines.splitlines()
    assert wanted, f"expected some of these lines:\n{printed}"
    for line in wanted:
        start = line.removesuffix("…")
        found = (p for p in left if p.rstrip() == line or (start != line and p.startswith(start)))
        assert next(found, None) is not None, f"expected next:\n{line}\nin:\n{printed}"


def change(block: Block, repository: Repository) -> None:
    """Create, extend or edit the file that a block is about."""
    match = re.search(r"(Create|[Aa]t the end of|[Ii]n) `([^`]+)`:$", block.before)
    assert match, f"which file? {block.before!r}"
    kind, path = match.groups()
    file = repository.path / path
    if block.language == "diff":
        assert kind.lower() == "in", block.before
        old, new = (sides(block.content, sign) for sign in "-+")
        repository.edit(path, old, new)
    elif kind == "Create":
        assert not file.exists(), f"{path} is there already"
        file.write_text(block.content)
    else:
        assert kind.lower() == "at the end of", block.before
        with file.open("a") as end:
            end.write(block.content)


def sides(diff: str, sign: str) -> str:
    """Return the lines of a diff before (``-``) or after (``+``) it."""
    lines = diff.splitlines(keepends=True)
    unknown = [line for line in lines if line[0] not in " +-\n"]
    assert not unknown, f"neither kept nor changed: {unknown[0]!r}"
    return "".join(line[1:] or "\n" for line in lines if line[0] in (" ", "\n", sign))
