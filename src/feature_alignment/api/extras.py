"""What is installed with an extra of the package, and what to say where it is not."""

from collections.abc import Iterator
from contextlib import contextmanager


class MissingExtraError(ModuleNotFoundError):
    """A package that an extra brings is not installed."""


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Import inside what the extra brings.

    Raises:
        MissingExtraError: If a package is not there; says how to install it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"expected the package {error.name}, which is not installed; "
            f"pip install 'feature-alignment[{extra}]' brings it",
            name=error.name,
        ) from error
