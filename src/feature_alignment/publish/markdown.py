"""Words in Markdown, shown as they are."""

import re

_MARKUP = re.compile(r"(?=[\\`|<>*\[\]~&$])|(?<![^\W_])(?=_)|(?=_(?![^\W_]))")
"""Where Markdown could see more than words; ``_`` inside a word is none of it."""
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]+")
_CODE = re.compile(r"[\w./:=, +-]+", re.ASCII)


def words(text: str) -> str:
    """Return text on one line, for a paragraph or a cell of a table, with no markup in it."""
    return _MARKUP.sub(r"\\", _BLANK.sub(" ", text).strip())


def code(name: str) -> str:
    """Return a name as code; as words if it has a character that ends code or a cell."""
    return f"`{name}`" if _CODE.fullmatch(name) else words(name)
