"""The running mean beside a raw curve: against its formula, with reports every step and every few steps."""

import numpy as np
import pytest

from synthct.smoothing import ALPHA, RunningMean


def test_reports_at_every_step_give_the_weighted_mean_of_the_formula():
    values = np.random.default_rng(0).normal(3.0, 1.0, 40)
    mean = RunningMean(0.1)
    for step, value in enumerate(values, 1):
        weights = 0.1 * 0.9 ** np.arange(step - 1, -1, -1)
        expected = (weights * values[:step]).sum() / weights.sum()
        assert mean.add(step, value) == pytest.approx(expected)


def test_a_report_stands_for_the_steps_before_it():
    every, seldom = RunningMean(0.05), RunningMean(0.05)
    for report, value in enumerate((5.0, 1.0, 4.0)):
        for step in range(10 * report + 1, 10 * report + 11):
            often = every.add(step, value)
        assert seldom.add(10 * report + 10, value) == pytest.approx(often)


def test_the_first_value_is_taken_as_it_is_and_does_not_stick():
    mean = RunningMean()
    assert ALPHA == 0.001 and mean.add(1, 100.0) == pytest.approx(100.0)
    assert mean.add(2, 0.0) == pytest.approx(50.0, abs=0.1)


@pytest.mark.parametrize("alpha", [0.0, -1.0, 1.5])
def test_an_alpha_that_is_no_weight_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        RunningMean(alpha)
