"""How the kernels and targets of figures 1 and 3 are called."""

KERNELS = {"initial": "$K_0$", "averaged": r"$\bar K$", "final": "$K_T$"}
TARGETS = {"smooth": "$y$", "sign": "sign $y$"}
