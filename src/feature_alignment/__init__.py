"""Instruments for feature alignment in neural networks, and four papers replicated with them.

``import feature_alignment as fa`` loads nothing until a name of
:data:`feature_alignment.surface.NAMES` is asked for.
"""

import gc
import importlib
import sys

if sys.argv[:1] == ["-m"] and any(name.startswith(f"{__name__}.") for name in sys.orig_argv):
    gc.disable()  # Python loads a program of ours, in which command.run enables it again


def __getattr__(name: str) -> object:
    # By name, so that no experiment depends on what is offered to users
    return importlib.import_module("feature_alignment.surface").find(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *importlib.import_module("feature_alignment.surface").NAMES})
