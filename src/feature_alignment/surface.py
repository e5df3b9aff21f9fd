"""What ``import feature_alignment as fa`` offers, and where it is defined."""

import importlib
from importlib import metadata

_KERNELS = "feature_alignment.api.kernels"
_ANSATZ = "feature_alignment.api.ansatz"
NAMES = {
    "layer_kernels": _KERNELS,
    "tangent_kernel": _KERNELS,
    "layer_alignment": _KERNELS,
    "spectrum": _KERNELS,
    "memory_needed": _KERNELS,
    "nfa": _ANSATZ,
    "agop": _ANSATZ,
    "fixed_vs_adaptive": "feature_alignment.api.comparison",
    "Probe": "feature_alignment.api.probe",
    "against": "feature_alignment.api.published",
    "judge": "feature_alignment.api.judgement",
}
"""Every public name, by the module that defines it."""


def find(name: str) -> object:
    """Return what is offered under a name.

    Raises:
        AttributeError: If there is no such name.
    """
    if name == "__version__":
        try:
            return metadata.version("feature-alignment")
        except metadata.PackageNotFoundError:
            return "unknown: the package is used without being installed"
    if name not in NAMES:
        offered = ", ".join(NAMES)
        raise AttributeError(f"feature_alignment has no {name!r}; it offers: {offered}")
    return getattr(importlib.import_module(NAMES[name]), name)
