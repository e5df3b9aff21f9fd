"""The settings of a run, which know what was read of them."""

from collections.abc import Iterator, Mapping
from typing import Any


class Settings(Mapping):
    """A nested mapping that notes which entries are read.

    Whatever a spec holds can decide a result, so that changing it computes the run again. An entry
    that nothing reads does not belong there: :meth:`unread` finds it.
    """

    def __init__(self, content: Mapping[str, Any]):
        self._content = {
            key: Settings(value) if isinstance(value, Mapping) else value
            for key, value in content.items()
        }
        self._read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        value = self._content[key]
        self._read.add(key)
        return value

    def __contains__(self, key: object) -> bool:
        return key in self._content

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def unread(self, prefix: str = "") -> list[str]:
        """Return the paths of the entries that were not read, such as ``measure.every``."""
        found = []
        for key, value in self._content.items():
            if key not in self._read:
                found.append(prefix + key)
            elif isinstance(value, Settings):
                found += value.unread(f"{prefix}{key}.")
        return found
