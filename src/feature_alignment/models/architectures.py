"""The architectures by name, and where they are built.

Imported while the workflow is parsed, so it must stay light: models themselves are imported when
one is built.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

FULLY_CONNECTED = "fully_connected"
VGGS = ("vgg11", "vgg13", "vgg16", "vgg19")
RESNETS = ("resnet18", "resnet34", "resnet50")


@dataclass(frozen=True)
class Builder:
    """A function (shape, *, outputs, generator, …) that builds a network, and its fixed options."""

    module: str
    function: str = "build"
    options: Mapping[str, object] = field(default_factory=dict)


_MODELS = "feature_alignment.models"
ARCHITECTURES: dict[str, Builder] = {
    FULLY_CONNECTED: Builder(f"{_MODELS}.mlp"),
    "cnn": Builder(f"{_MODELS}.cnn"),
    **{
        name + ending: Builder(
            f"{_MODELS}.vgg", options={"architecture": name, "batch_norm": bool(ending)}
        )
        for ending in ("", "_bn")
        for name in VGGS
    },
    **{name: Builder(f"{_MODELS}.resnet", options={"architecture": name}) for name in RESNETS},
}


def builder_of(architecture: str) -> Builder:
    """Return where an architecture is built: one of ours, or ``module:function`` of the user's.

    The user's module is code that a run imports, see :func:`feature_alignment.models.build.build`.

    Raises:
        ValueError: If the architecture is unknown.
    """
    if architecture in ARCHITECTURES:
        return ARCHITECTURES[architecture]
    module, _, function = architecture.partition(":")
    if not all(name.isidentifier() for name in (*module.split("."), function)):
        known = ", ".join(ARCHITECTURES)
        raise ValueError(
            f"unknown architecture {architecture!r}; expected one of {known}, or module:function"
        )
    return Builder(module, function)


def model_modules(settings: Mapping) -> Iterator[str]:
    """Yield the modules that build the networks which the settings of a run describe."""
    if "architecture" in settings:
        yield builder_of(settings["architecture"]).module
    for part in settings.values():
        if isinstance(part, Mapping):
            yield from model_modules(part)
