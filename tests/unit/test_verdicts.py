import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from feature_alignment.audit import inference
from feature_alignment.audit.criterion import (
    AT_THRESHOLD,
    CONTRADICTED,
    EQUIVALENT,
    OPEN,
    SUPPORTED,
    UNFIT,
    Gap,
    Question,
    Range,
)
from feature_alignment.audit.judging import REACH, back, forth
from feature_alignment.audit.looks import ERROR, LOOKS, level, look_of, phase
from feature_alignment.audit.verdicts import census, decide


def question(groups, claimed, **options):
    """A question of {group: [value of seed 0, 1, …]}; of a list, of one group."""
    named = groups if isinstance(groups, dict) else {"only": groups}
    index = [(seed, name) for name, values in named.items() for seed in range(len(values))]
    values = [value for ones in named.values() for value in ones]
    series = pd.Series(values, pd.MultiIndex.from_tuples(index, names=["seed", "layer"]))
    return Question(series, claimed, **options)


def test_levels_of_any_number_of_looks_sum_to_less_than_the_error():
    assert sum(level(look) for look in range(1, len(LOOKS) + 1)) == pytest.approx(
        ERROR * (1 - 1 / (len(LOOKS) + 1))
    )
    assert [look_of(n) for n in (1, 3, 4, 5, 800, 9999)] == [0, 1, 1, 2, 13, 13]
    with pytest.raises(ValueError, match="expected a look from 1 to 13, got 14"):
        level(14)


def test_seeds_from_100_on_confirm():
    assert phase([100, 101]) == "confirmation"
    assert phase([99, 100]) == "exploration"


def test_the_interval_is_students_at_the_level_of_the_look():
    outcome = decide(question([1.0, 2.0, 3.0], Range(0.0)))
    # mean 2, standard deviation 1, n = 3; the first look spends half of 5 %
    assert outcome.high - outcome.estimate == pytest.approx(stats.t.ppf(0.9875, 2) / math.sqrt(3))
    assert (outcome.estimate, outcome.seeds) == (pytest.approx(2.0), [0, 1, 2])
    assert (outcome.verdict, outcome.needed) == (OPEN, 8)


def test_seeds_beyond_a_look_wait_and_are_told():
    outcome = decide(question([1.0, 1.1, 0.9, 100.0], Range(0.0)))
    assert outcome.verdict == SUPPORTED
    assert outcome.values == pytest.approx([1.0, 1.1, 0.9])
    assert outcome.reason == "3 of 4 seeds; the next look is at 5"


def test_a_contradicted_claim_shows_the_group_that_contradicts_it():
    # the wide group reaches further to the other side, the other one lies there wholly
    groups = {"wide": [-4.0, 1.0, 6.0], "narrow": [0.1, 0.2, 0.3], "good": [2.0, 2.1, 2.2]}
    outcome = decide(question(groups, Range(1.0)))
    assert (outcome.verdict, outcome.group) == (CONTRADICTED, "layer narrow")
    assert outcome.high < 1.0
    open_ = decide(question(groups, Range(0.0)))
    assert (open_.verdict, open_.group) == (OPEN, "layer wide")


def test_support_needs_every_group_or_the_share_that_is_claimed():
    groups = {str(i): [1.0, 1.1, 0.9, 1.05, 0.95] for i in range(9)} | {"bad": [-1.0, -2, 0, 1, 2]}
    assert decide(question(groups, Range(0.0))).verdict == OPEN
    assert decide(question(groups, Range(0.0), share=0.9)).verdict == SUPPORTED
    assert decide(question(groups, Range(0.0), share=0.91)).verdict == OPEN


def test_a_mean_difference_can_be_small_where_seeds_scatter():
    values = [0.9, -1.1, 1.0, -0.8, 0.3, -0.4, 0.2, -0.1]
    outcome = decide(question(values, Range(-1.5, 1.5)))
    assert outcome.verdict == EQUIVALENT
    assert decide(question(values, Range(-0.5, 0.5))).verdict == OPEN
    assert decide(question([v + 9 for v in values], Range(-1.5, 1.5))).verdict == CONTRADICTED


def test_an_interval_in_the_band_around_the_bound_is_at_the_threshold():
    values = [0.999, 1.001, 1.0005]
    assert decide(question(values, Range(1.0))).verdict == AT_THRESHOLD
    assert decide(question(values, Range(1.0), band=0.001)).verdict == OPEN
    assert decide(question([0.998, 1.004, 1.001], Range(most=1.0))).verdict == AT_THRESHOLD
    # of a claim of no difference the band is a tenth of the tolerance
    assert decide(question([0.999, 1.002, 1.0], Range(-1.0, 1.0))).verdict == AT_THRESHOLD


@pytest.mark.parametrize(
    "other, spread, verdict", [(0.2, 1, SUPPORTED), (0.9, 4, OPEN), (0.6, 1.5, OPEN)]
)
def test_support_needs_to_beat_the_untrained_network(other, spread, verdict):
    trained = question([1.0, 1.1, 0.9, 1.0, 1.05], Range(0.5))
    untrained = [other + spread * part for part in (-0.3, 0.2, 0.1, -0.1, 0.1)]
    untrained = question(untrained, Range(0.5))
    outcome = decide(trained, {"untrained": untrained})
    assert outcome.verdict == verdict
    assert outcome.beaten["untrained"]["holds"] is False
    if verdict == OPEN:
        assert "not told from what is found in the untrained network" in outcome.reason


def test_what_holds_untrained_is_not_supported_however_far_it_is_beaten():
    trained = question([5.0, 5.1, 4.9], Range(0.5))
    outcome = decide(trained, {"untrained": question([1.0, 1.01, 0.99], Range(0.5))})
    assert (outcome.verdict, outcome.needed) == (OPEN, None)
    assert outcome.beaten == {"untrained": {"holds": True, "beaten": True}}
    assert outcome.reason == "it holds in the untrained network too"


def test_a_reference_without_the_groups_of_a_claim_is_that_of_each():
    index = pd.MultiIndex.from_product([range(3)], names=["seed"])
    alone = Question(pd.Series([0.1, 0.2, 0.0], index), Range(0.5))
    groups = {"a": [1.0, 1.1, 0.95], "b": [0.8, 0.85, 0.7]}
    assert decide(question(groups, Range(0.5)), {"control": alone}).verdict == SUPPORTED
    fewer = Question(pd.Series([0.1, 0.2], index[:2]), Range(0.5))
    with pytest.raises(ValueError, match="control: expected the seeds and groups of the claim"):
        decide(question(groups, Range(0.5)), {"control": fewer})


def test_a_group_without_a_value_in_a_column_pairs_up_with_its_reference():
    keys = [(seed, layer, gain) for gain in (0.5, math.nan) for layer in "ab" for seed in range(3)]
    levels = ["seed", "layer", "gain"]

    def asked(low, keys):
        index = pd.MultiIndex.from_frame(pd.DataFrame(keys, columns=levels))
        values = [low * (1 + 0.01 * seed) for seed, _, _ in keys]
        return Question(pd.Series(values, index=index), Range(0.5))

    outcome = decide(asked(1.0, keys), {"untrained": asked(0.1, keys)})
    assert outcome.verdict == SUPPORTED
    assert outcome.beaten == {"untrained": {"holds": False, "beaten": True}}
    with pytest.raises(ValueError, match="expected the seeds and groups of the claim"):
        decide(asked(1.0, keys), {"untrained": asked(0.1, keys[:-1])})


def test_seeds_that_are_all_alike_are_judged_by_their_sign():
    assert decide(question([1.0] * 5, Range(0.0))).verdict == OPEN
    assert decide(question([1.0] * 5, Range(0.0))).needed == 12
    assert decide(question([1.0] * 12, Range(0.0))).verdict == SUPPORTED
    assert decide(question([0.0] * 12, Range(0.0))).verdict == SUPPORTED
    assert decide(question([0.0] * 12, Range(0.0, strict=True))).verdict == CONTRADICTED


def test_rank_correlations_are_judged_by_every_order():
    # three points in one order in three seeds: (1/6)^3 one-sided
    outcome = decide(question([1.0, 1.0, 1.0], Range(0.0, strict=True), points=3))
    assert outcome.p == pytest.approx(2 * 2 / 6**3)
    assert outcome.verdict == SUPPORTED
    against = decide(question([-1.0, -1.0, -1.0], Range(0.0, strict=True), points=3))
    assert against.verdict == CONTRADICTED
    assert decide(question([0.5, 1.0, 0.5], Range(0.0, strict=True), points=3)).verdict == OPEN


def test_the_permutation_test_is_that_of_scipy_for_one_seed():
    y = np.array([2.0, 1.0, 4.0, 3.0, 5.0])
    found = stats.spearmanr(range(5), y).statistic
    positive, negative = inference.rank_tails(np.array([[found]]), 5)
    exact = stats.permutation_test(
        (y,),
        lambda a: stats.spearmanr(range(5), a).statistic,
        permutation_type="pairings",
        alternative="greater",
        n_resamples=np.inf,
    )
    assert positive[0] == pytest.approx(exact.pvalue)
    assert negative[0] > 0.9
    with pytest.raises(ValueError, match="expected a rank correlation over 2 to 8 points, got 9"):
        inference.rank_tails(np.zeros((3, 1)), 9)


def test_what_has_no_value_lies_outside():
    assert decide(question([math.inf] * 12, Range(0.0, 1.0))).verdict == CONTRADICTED
    assert decide(question([0.5] * 2 + [math.inf], Range(0.0, 1.0))).verdict == OPEN


def test_a_gap_is_open_where_it_is_censored_else_unfit():
    assert decide(Gap("why", censored=True)).verdict == OPEN
    outcome = decide(Gap("seed 2 lacks m", censored=False))
    assert (outcome.verdict, outcome.reason) == (UNFIT, "seed 2 lacks m")


def test_a_check_is_of_every_seed_and_not_of_their_mean():
    assert census(question([2.0, 2.1, 2.2], Range(1.0))).verdict == SUPPORTED
    outcome = census(question([0.9, 9.0, 9.0], Range(1.0)))
    assert (outcome.verdict, outcome.group) == (CONTRADICTED, "seed 0")


@pytest.mark.parametrize("scale", REACH)
def test_intervals_stay_where_values_can_lie(scale):
    low, high = REACH[scale]
    values = {"log": [1e-9, 5.0, 40.0], "fisher": [0.999, -0.9, 0.99], "logit": [0.999, 0.01, 0.9]}
    shown = [forth(value, scale) for value in values.get(scale, [1.0, -4.0, 2.0])]
    outcome = decide(question(shown, Range(), scale=scale))
    assert low <= outcome.low < outcome.estimate < outcome.high <= high
    assert back(forth(0.3, scale), scale) == pytest.approx(0.3)
    assert (back(math.inf, scale), back(-math.inf, scale)) == (math.inf, -math.inf)


def test_partial_conjunctions_are_the_largest_and_bonferronis_at_their_ends():
    p = np.array([0.01, 0.2, 0.03])
    assert inference.at_least_so_many(p, 3) == pytest.approx(0.2)
    assert inference.at_least_so_many(p, 1) == pytest.approx(0.03)
    assert inference.at_least_so_many(p, 2) == pytest.approx(0.06)


def test_the_seeds_that_would_decide_do_so_in_four_of_five_experiments():
    mean, spread = 0.8, 1.0
    n = inference.seeds_needed(np.array([mean]), np.array([spread]), [Range(0.0)], 1.0, 3)
    look = LOOKS.index(n) + 1
    draws = np.random.default_rng(0).normal(mean, spread, (n, 4000))
    above, _ = inference.tails(draws, 0.0, 1.0)
    assert (above <= level(look) / 2).mean() >= 0.8
    fewer = LOOKS[look - 2]
    above, _ = inference.tails(draws[:fewer], 0.0, 1.0)
    assert (above <= level(look - 1) / 2).mean() < 0.8


def test_false_discoveries_are_benjamini_and_hochbergs():
    assert inference.false_discovery([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert inference.false_discovery([]) == []
