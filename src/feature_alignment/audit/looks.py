"""How the error of a verdict is spent over looks, so that seeds may be added until one falls.

Verdicts are given at numbers of seeds that are fixed in advance, :data:`LOOKS`, and look k may err
with probability α/(k(k + 1)). These sum to α = 5 % over all looks, however many there are and
whatever test is used, by the union bound. Seeds beyond a look wait for the next one.

References:
    Darling and Robbins (1967), Iterated logarithm inequalities, PNAS 57: a level for each look, of
    which the sum converges. Lan and DeMets (1983), Discrete sequential boundaries for clinical
    trials, Biometrika 70: spending. ``docs/verdicts.md`` says why not a confidence sequence.
"""

ERROR = 0.05
"""The probability that any interval of a claim, over all looks, leaves out the truth."""
LOOKS = (3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300, 500, 800)
"""Numbers of seeds at which there is a verdict, each about 1.6 times the one before."""
CONFIRMING = 100
"""The first of the seeds that confirm: those before may have been looked at while claims were
written, those from here on are run after the claims are frozen."""


def look_of(seeds: int) -> int:
    """Return the number 1, 2, … of the last look that so many seeds allow; 0 if there is none."""
    return sum(number <= seeds for number in LOOKS)


def level(look: int) -> float:
    """Return the error that may be made at a look, α/(k(k + 1)).

    Raises:
        ValueError: If there is no such look.
    """
    if not 1 <= look <= len(LOOKS):
        raise ValueError(f"expected a look from 1 to {len(LOOKS)}, got {look}")
    return ERROR / (look * (look + 1))


def phase(seeds: list[int]) -> str:
    """Return whether seeds explore or confirm; both together explore."""
    return "confirmation" if seeds and min(seeds) >= CONFIRMING else "exploration"
