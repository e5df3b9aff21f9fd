"""How the kernels and targets of figures 1 and 3 are called."""

KERNELS = {"initial": "$K_0$", "averaged": r"$\bar K$", "final": "$K_T$"}
TARGETS = {"smooth": "$y$", "sign": "sign $y$"}
TARGET_COLOURS = {"smooth": "blue", "sign": "orange"}
KERNEL_COLOURS = {"initial": "grey", "averaged": "blue", "final": "green"}
VARIANTS = {"code": "code", "text": "text", "variance": "text,\nvariance 1"}
"""Students with the settings of the authors' code, of the paper's text, of the text literally."""
