"""Statistics of the comparison of methods, against SciPy and by hand."""

import pytest
from scipy import stats

from research.trials import (
    Interval,
    Trial,
    cells,
    markdown_table,
    paired_difference,
    rows,
)

PLAIN = {0: 0.30, 1: 0.32, 2: 0.31}
BETTER = {0: 0.33, 1: 0.36, 2: 0.32, 5: 0.90}


def trial(method, setting=1.0, seed=0, val=0.5, test=None, seconds=10.0):
    return Trial("short", method, setting, seed, val, test, seconds)


def test_the_interval_of_paired_differences():
    found = paired_difference(BETTER, PLAIN)
    reference = stats.ttest_rel([BETTER[s] for s in PLAIN], list(PLAIN.values())).confidence_interval(0.95)
    assert found.mean == pytest.approx((0.03 + 0.04 + 0.01) / 3)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high))
    assert paired_difference({0: 0.5}, PLAIN) is None and paired_difference({7: 0.5, 8: 0.5}, PLAIN) is None


def test_rows_have_the_chosen_setting_alone():
    trials = [trial("plain", seed=s, test=ap, seconds=10) for s, ap in PLAIN.items()]
    trials += [trial("a", 0.1, s, test=ap, seconds=20) for s, ap in BETTER.items()]
    trials += [trial("a", 9.0, 0, test=0.99), trial("a", 0.1, 7)]  # another setting, and one that was not tested
    plain, a = rows(trials, [("plain", 1.0), ("a", 0.1), ("none", 1.0), ("a", 0.1)], "plain")
    assert (plain.method, plain.difference, plain.values) == ("plain", None, PLAIN)
    assert plain.mean == pytest.approx(0.31) and plain.deviation == pytest.approx(0.01)
    assert a.values == BETTER and isinstance(a.difference, Interval)
    assert cells(plain) == ["plain", "1", "3", "0.310", "0.010", "", ""]
    gain = a.difference
    assert cells(a)[:6] == ["a", "0.1", "4", "0.478", "0.282", "+0.027"]
    assert cells(a)[6] == f"{gain.low:+.3f} to {gain.high:+.3f}"


def test_markdown():
    lines = markdown_table(["", "AP"], [["student", "0.283"]]).splitlines()
    assert lines == ["|  | AP |", "| --- | ---: |", "| student | 0.283 |"]
