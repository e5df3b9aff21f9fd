"""Instruments for feature alignment in neural networks, and four papers replicated with them.

``import feature_alignment as fa`` loads nothing until a name of
:data:`feature_alignment.surface.NAMES` is asked for.
"""

import importlib


def __getattr__(name: str) -> object:
    # By name, so that no experiment depends on what is offered to users
    return importlib.import_module("feature_alignment.surface").find(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *importlib.import_module("feature_alignment.surface").NAMES})
