"""What choices are worth elsewhere, by hand."""

import numpy as np
import pytest

from dsegym.costmodels.errors import DsegymError
from dsegym.experiments.scoring.generality import generality, tuned_elsewhere


def test_specialists_lose_elsewhere_what_a_generalist_does_not():
    # Two specialists and a generalist on two scenarios.
    scores = [[1.0, 0.2], [0.4, 0.8], [0.7, 0.6]]
    assert tuned_elsewhere(scores).tolist() == [[1.0, 0.2], [0.4, 0.8]]
    found = generality(scores)
    assert found.at_home == pytest.approx(0.9)
    assert found.elsewhere == pytest.approx(0.3)
    assert found.gap == pytest.approx(0.6)
    assert found.transfer == pytest.approx((0.2 / 0.8 + 0.4 / 1.0) / 2)
    assert found.general == pytest.approx(0.65)
    assert found.price == pytest.approx(0.25)


def test_one_draw_that_is_best_everywhere_has_no_gap_of_choice():
    found = generality([[0.9, 0.9, 0.9], [0.1, 0.2, 0.3]])
    assert (found.gap, found.transfer, found.price) == (0, 1, 0)


def test_the_price_of_one_choice_is_never_negative():
    scores = np.random.default_rng(0).random((200, 8, 4))
    assert min(generality(each).price for each in scores) >= 0


def test_a_score_of_zero_where_it_was_tuned_has_no_transfer():
    assert generality([[0.0, 0.0]]).transfer is None


@pytest.mark.parametrize("scores", [[], [[0.1]], [0.1, 0.2]])
def test_what_is_no_table_is_refused(scores):
    with pytest.raises(DsegymError, match="two scenarios"):
        generality(scores)
