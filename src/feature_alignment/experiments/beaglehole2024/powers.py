"""The powers of the AGOP that are compared, by their names in measures."""

EXPONENTS = {"quarter": 0.25, "half": 0.5, "one": 1.0}
