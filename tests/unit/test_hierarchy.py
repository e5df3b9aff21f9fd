import numpy as np
import pytest

from feature_alignment.measures.hierarchy import profile, smoothed


def test_smoothing_averages_what_there_is_of_the_window():
    curve = [1.0, 2.0, 6.0, 4.0]
    assert smoothed(curve) == pytest.approx([1.5, 3.0, 4.0, 5.0])
    assert smoothed(curve, window=1) == pytest.approx(curve)
    assert smoothed(curve, window=5) == pytest.approx([3.0, 3.25, 3.25, 4.0])
    assert smoothed([7.0]) == pytest.approx([7.0])


def test_the_peak_is_that_of_the_smoothed_curve():
    curve = [0.1, 0.1, 0.9, 0.1, 0.1, 0.5, 0.5, 0.5, 0.1]
    assert np.argmax(curve) == 2
    assert profile(curve).peak == 7
    assert profile(curve, window=1).peak == 3


def test_layers_near_the_peak_and_the_spread():
    found = profile([1.0, 9.6, 10.0, 9.4, 9.5, 2.0], window=1)
    assert found.near == (2, 3, 5)
    assert found.spread == pytest.approx(9.0)
    assert found.interior_rise == pytest.approx(5.0)
    assert profile([3.0, 2.0, 1.0]).peak == 1
    assert profile([3.0, 2.0, 1.0]).interior_rise == 1
    assert profile([1.0, 2.0, 3.0]).peak == 3
    assert profile([1.0, 2.0, 3.0]).interior_rise == 1
    assert profile([2.0, 2.0, 2.0]).peak == 1


def test_ill_posed_questions_are_errors():
    for curve in ([], [1.0, float("nan")], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="one finite value per layer"):
            profile(curve)
    with pytest.raises(ValueError, match="odd window"):
        profile([1.0, 2.0], window=2)
    with pytest.raises(ValueError, match="positive values at the ends"):
        profile([-1.0, -1.0, 3.0, 0.0, -1.0], window=1)
