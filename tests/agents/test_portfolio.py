"""The portfolio: its members share the budget by halving, and none costs a sample more than its share."""

import contextlib
import signal
import threading
import time
from collections import Counter

import numpy as np
import pytest

from dsegym.agents import registry
from dsegym.agents.base import Agent
from dsegym.agents.portfolio import Portfolio
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import BudgetExhausted, DsegymError, MissingLibraryError, UnknownNameError
from dsegym.envs.core.evaluation import Evaluation
from dsegym.envs.core.spaces import DesignSpace, Parameter

SPACE = DesignSpace((Parameter("who", tuple(range(9))), Parameter("count", tuple(range(2000)))))


class Marked(Agent):
    """Costs designs that bear its mark, `batch` at a time."""

    summary = "marked designs"
    mark, batch, most = 0, 1, 2000

    def search(self, referee, seed):
        for start in range(0, self.most, self.batch):
            counts = np.arange(start, min(start + self.batch, self.most))
            referee.evaluate(np.stack([np.full(len(counts), self.mark), counts], axis=1))


@pytest.fixture
def members(monkeypatch):
    """Four members: mark 1 costs least, 4 most; the third asks for seventy at once. Mark 0 is the rules'."""

    def kind(mark, **fields):
        return type(f"Marked{mark}", (Marked,), {"name": f"marked{mark}", "mark": mark, **fields})

    kinds = {f"m{i}": kind(i, batch=70 if i == 3 else 1) for i in range(1, 5)}
    kinds |= {"short": kind(5, most=3), "first": kind(1, most=30), "heuristic": kind(0, most=1), "broken": kind(8)}
    kinds["broken"].search = lambda self, referee, seed: 1 / 0
    kinds |= {"portfolio": Portfolio, "same": kinds["m1"], "lacking": kind(7, libraries=("no-such-library",))}
    monkeypatch.setattr("dsegym.agents.portfolio.make_agent", lambda name, hyperparameters=None: kinds[name]())
    return ",".join(f"m{i}" for i in range(1, 5))


def spent(members, budget, **fields):
    """The marks of all samples, in order."""
    marks = []

    def ask(question, designs=None):
        if question == "samples_left":
            return budget - len(marks)
        left = budget - len(marks)
        marks.extend(designs[:left, 0].tolist())
        if left < len(designs):
            raise BudgetExhausted("spent")
        return Evaluation(None, 1.0 + designs[:, 0], np.ones(len(designs), bool), np.zeros(len(designs)))

    referee = Referee.of(ask, SPACE, budget)
    with contextlib.suppress(BudgetExhausted):
        Portfolio(members=members, **fields).search(referee, 0)
    return marks


def test_every_round_halves_the_members_by_what_they_found(members):
    marks = spent(members, 121)
    assert marks[0] == 0  # the rules first
    assert marks[1:41] == [mark for mark in (1, 2, 3, 4) for _ in range(10)]
    assert marks[41:81] == [mark for mark in (1, 2) for _ in range(20)]
    assert marks[81:] == [1] * 40


@pytest.mark.parametrize("budget", [1, 2, 5, 13, 300])
def test_it_spends_its_budget_however_small(members, budget):
    assert len(spent(members, budget)) == budget


def test_a_member_that_ends_leaves_its_share_to_the_others(members):
    counts = Counter(spent("short,m2", 200))
    assert counts == {0: 1, 5: 3, 2: 196}


def test_it_ends_when_all_its_members_have(members):
    assert spent("short", 200) == [0, 5, 5, 5]


def test_members_that_fit_models_have_so_many_samples_and_leave_the_rest_to_others(members):
    counts = Counter(spent(members, 121, fitted="m1", fitted_samples=50))
    assert counts[1] == 50
    assert counts.total() == 121
    assert Counter(spent(members, 121, fitted="m1", fitted_samples=7))[1] == 7
    assert 1 not in spent(members, 121, fitted="m1", fitted_samples=0)


def test_when_the_best_members_have_had_theirs_another_spends_what_is_left(members):
    marks = spent(members, 121, fitted="m1,m2,m3", fitted_samples=30)
    assert len(marks) == 121
    assert marks[-1] == 4
    assert all(Counter(marks)[mark] <= 30 for mark in (1, 2, 3))


def test_members_that_all_fit_models_have_all_samples(members):
    assert len(spent("m1,m2", 121, fitted="m1,m2", fitted_samples=5)) == 121


def test_where_the_best_member_ends_those_that_left_go_on_the_best_first(members):
    counts = Counter(spent("first,m4,m2", 121))
    assert counts.total() == 121
    assert counts[1] == 30
    assert counts[2] > counts[4]


def test_where_all_others_have_ended_members_that_fit_models_have_the_rest(members):
    counts = Counter(spent("short,m1,m2", 200, fitted="m1,m2", fitted_samples=20))
    assert counts == {0: 1, 5: 3, 1: 176, 2: 20}
    assert Counter(spent("short,m1", 200, fitted="m1", fitted_samples=0)) == {0: 1, 5: 3, 1: 196}


def test_an_error_of_a_member_is_the_portfolios(members):
    with pytest.raises(ZeroDivisionError):
        spent("m1,broken", 100)


def asks_nothing(*question):
    raise AssertionError(f"spent before its members are known: {question}")


@pytest.mark.parametrize("given", ["m1,m1", "m1,same", "portfolio", "m1, portfolio", " ", ",,"])
def test_members_that_are_no_different_agents_are_refused_before_a_sample_is_spent(members, given):
    with pytest.raises(DsegymError, match="different agents, none a portfolio; given: '"):
        Portfolio(members=given).search(Referee.of(asks_nothing, SPACE, 100), 0)


def test_a_member_that_is_unknown_or_lacks_a_library_is_refused_before_a_sample_is_spent(members, monkeypatch):
    with pytest.raises(MissingLibraryError, match="lacking needs the library no-such-library"):
        Portfolio(members="m1,lacking").search(Referee.of(asks_nothing, SPACE, 100), 0)
    monkeypatch.undo()
    with pytest.raises(UnknownNameError, match=r"Unknown agent 'Hill_Climb'.* Did you mean 'hill_climb'"):
        Portfolio(members="Hill_Climb").search(Referee.of(asks_nothing, SPACE, 100), 0)


def test_a_comma_too_many_is_no_member(members):
    assert spent("m1,,m2, ", 50) == spent("m1,m2", 50)


def test_a_member_that_plays_episodes_is_refused(problem):
    pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")
    referee = Referee(problem, 50)
    with pytest.raises(DsegymError, match="ppo plays episodes; a portfolio's members cost designs"):
        Portfolio(members="ppo", fitted="").search(referee, 0)


def test_its_defaults_are_agents_and_those_that_fit_models_are_among_them():
    defaults = Portfolio()
    names = defaults.members.split(",")
    assert set(names) <= set(registry.agent_names())
    assert set(defaults.fitted.split(",")) <= set(names)
    declared = {library for name in names for library in registry.load_agent(name).libraries}
    assert declared == set(defaults.libraries)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of POSIX")
def test_ctrl_c_ends_it_at_the_next_question_of_the_member_that_searches(members):
    asked = []

    def ask(question, designs=None):
        if question == "samples_left":
            return 100_000
        asked.append(len(designs))
        if len(asked) == 20:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(2e-3)
        return Evaluation(None, 1.0 + designs[:, 0], np.ones(len(designs), bool), np.zeros(len(designs)))

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Portfolio(members=members).search(Referee.of(ask, SPACE, 100_000), 0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert 20 <= len(asked) < Marked.most
