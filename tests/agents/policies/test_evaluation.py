"""Policies on instances not seen before: the values that problems give, for every kind of player."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.agents.learners.registry import load_learner
from dsegym.agents.policies.evaluation import evaluate, evaluate_rules, kind_of
from dsegym.agents.policies.players import Function, PureFunction, named_function
from dsegym.agents.registry import load_agent
from dsegym.costmodels.errors import DsegymError, UnknownNameError
from dsegym.envs.core.collections import Collection
from dsegym.envs.core.functional import FunctionalEnv
from dsegym.envs.core.scenarios import load_scenario

CASCADE, SHOP = "dsegym/ReasoningCascade-v0", "toy/Shop-v0"


def collection_of(scenario, *tests, form=None):
    """A collection whose test part has these options."""
    return Collection("mine", scenario, "", list, list, lambda: list(tests), form=form)


def first_legal(observation, mask, key):
    del key
    return jnp.argmax(mask).astype(jnp.int32) if mask is not None else jnp.int32(0)


def any_legal(observation, mask, key):
    return jax.random.categorical(key, jnp.where(mask, 0.0, -1e9)).astype(jnp.int32)


CASCADES = collection_of(CASCADE, {"budget": 5}, {"budget": 50})
PACKINGS = collection_of("dsegym/MemoryAllocation-v0", {})


def test_finished_designs_are_costed_by_their_problems():
    found = evaluate(PureFunction("any", any_legal), PACKINGS, "test", mode="sampled", samples=3, seed=1)
    (problem,), (designs,) = found.problems, found.designs
    assert designs.shape == (3, len(problem.space))
    assert found.objective.tolist() == [problem.evaluate(designs).objective.tolist()]
    assert found.searched is None
    assert found.value.tolist() == [found.objective[0][found.feasible[0]].min()]


def test_a_function_of_arrays_plays_as_the_same_function_in_jax():
    def act(observation, mask):
        assert isinstance(observation, np.ndarray)
        assert observation.ndim == 1
        return int(mask.argmax())

    def act_on_all(observation, mask):
        assert observation.ndim == 2
        return mask.argmax(axis=-1)

    act_on_all.batched = True
    own = evaluate(PureFunction("first", first_legal), CASCADES, "test")
    for function in (act, act_on_all):
        other = evaluate(Function("first", function), CASCADES, "test")
        np.testing.assert_array_equal(other.objective, own.objective)


def test_the_best_of_several_samples_is_chosen_on_the_cases_of_the_search():
    found = evaluate(PureFunction("any", any_legal), CASCADES, "test", mode="sampled", samples=4)
    assert len(set(found.searched[0].tolist())) > 1
    assert found.chosen.tolist() == found.searched.argmin(axis=1).tolist()
    assert found.value.tolist() == found.objective[[0, 1], found.chosen].tolist()
    again = evaluate(PureFunction("any", any_legal), CASCADES, "test", mode="sampled", samples=4)
    np.testing.assert_array_equal(again.objective, found.objective)
    other = evaluate(PureFunction("any", any_legal), CASCADES, "test", mode="sampled", samples=4, seed=1)
    assert (other.objective != found.objective).any()


def test_a_sample_plays_alike_however_many_are_asked_for():
    few = evaluate(PureFunction("any", any_legal), PACKINGS, "test", mode="sampled", samples=2)
    more = evaluate(PureFunction("any", any_legal), PACKINGS, "test", mode="sampled", samples=5)
    np.testing.assert_array_equal(more.designs[0][:2], few.designs[0])


def test_rules_are_worth_what_their_designs_cost_on_the_cases_of_scores():
    problem = dsegym.make_problem(CASCADE, budget=5)
    rules = evaluate_rules([problem])
    assert list(rules) == list(problem.baselines)
    for name, outcome in rules.items():
        design = problem.baselines[name]()
        assert outcome.value.tolist() == [float(problem.evaluate_held_out(design).objective[0])]
    assert rules[problem.reference.name].value.tolist() == [problem.reference.value]


@pytest.mark.slow
def test_a_policy_that_copies_nothing_is_worth_what_the_rule_is():
    """In memory mapping the first legal action serves an access from the slow memory, padded or not."""
    collection = collection_of(
        "dsegym/MemoryMapping-v0", {"program": "mlp_tiny"}, {"program": "mlp_tiny", "capacity": 0.5}
    )
    found = evaluate(PureFunction("slow", first_legal), collection, "test")
    rules = evaluate_rules(found.problems)
    np.testing.assert_array_equal(found.value, rules["all_slow"].value)


def test_a_rule_that_an_instance_lacks_has_no_value_there():
    problems = [dsegym.make_problem(CASCADE, budget=5), dsegym.make_problem("dsegym/AcceleratorSizing-v0")]
    rules = evaluate_rules(problems)
    assert np.isnan(rules["cascade"].value).tolist() == [False, True]


def test_how_a_policy_was_used_is_said_in_words():
    assert [kind_of("greedy", 1), kind_of("sampled", 1)] == ["zero-shot, greedy", "zero-shot, sampled"]
    assert kind_of("sampled", 8) == "adapted: best of 8 samples"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ({"split": "tests"}, "Unknown split 'tests'; there are: train, validation, test"),
        ({"mode": "gready"}, "Unknown mode 'gready'; there are: greedy, sampled. Did you mean 'greedy'"),
        ({"samples": 0}, "samples = 0 is not a whole number from 1 to 10000"),
        ({"samples": 2}, "A greedy policy plays alike every time: 2 samples of it are one"),
        ({"split": "train"}, "The train part of the collection 'mine' has no instance"),
    ],
)
def test_what_is_asked_for_wrongly_is_refused(words, wanted):
    with pytest.raises(DsegymError, match=wanted):
        evaluate(PureFunction("first", first_legal), CASCADES, **{"split": "test", **words})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "wanted"),
    [
        (
            lambda observation, mask: int(mask.argmin()),
            "f took an action that is not legal, on 1 instances in all",
        ),
        (lambda observation, mask: 1000, "f took an action that is not legal"),
        (lambda observation, mask: -(2**60), "f took an action that is not legal"),
        (lambda observation, mask: 0.5, r"f returned float64\[.*\] where integers \[.*\] are actions"),
        (lambda observation, mask: np.zeros(3, int), r"f returned int64\[.*, 3\] where integers"),
        (lambda observation, mask: {}["no"], "f failed: KeyError: 'no'"),
    ],
)
def test_a_function_that_does_not_act_is_told_in_one_sentence(act, wanted):
    with pytest.raises(DsegymError, match=wanted):
        evaluate(Function("f", act), PACKINGS, "test")


def test_a_pure_function_cannot_take_an_action_that_is_not_legal():
    def masked_out(observation, mask, key):
        return jnp.argmin(mask).astype(jnp.int32)

    with pytest.raises(DsegymError, match="masked took an action that is not legal"):
        evaluate(PureFunction("masked", masked_out), PACKINGS, "test")


@pytest.mark.parametrize("player", [PureFunction("any", any_legal), Function("f", lambda o, m: int(m.argmax()))])
def test_a_state_without_a_legal_action_ends_the_evaluation(monkeypatch, player):
    env = type(dsegym.make_problem(CASCADE, budget=5).functional_env())
    own = env.action_mask
    monkeypatch.setattr(env, "action_mask", lambda self, state, params: own(self, state, params) & False)
    jax.clear_caches()
    with pytest.raises(DsegymError, match="no action is legal in a state that comes before the end, on 2 instances"):
        evaluate(player, CASCADES, "test")
    jax.clear_caches()


def test_a_function_is_named_by_its_module():
    assert named_function("math:gcd").act(4, 6) == 2
    for wrong in ("math", "math:no_such", "no_such_module:act", ":act", "math:pi", ".relative:x"):
        with pytest.raises(DsegymError, match=r"policy '|cannot be called"):
            named_function(wrong)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("def act(:", "SyntaxError"),
        ("import sys\nsys.exit(0)", "SystemExit: 0"),
        ("def __getattr__(name):\n    raise RuntimeError(name)", "RuntimeError: act"),
    ],
)
def test_a_module_that_fails_in_any_way_is_one_sentence(tmp_path, monkeypatch, text, wanted):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "failing_module.py").write_text(text)
    loaders = (named_function, load_learner, load_agent) if wanted != "RuntimeError: act" else (named_function,)
    for load in loaders:
        monkeypatch.delitem(sys.modules, "failing_module", raising=False)
        with pytest.raises(DsegymError, match=f"Cannot load the .*{wanted}"):
            load("failing_module:act")
    if len(loaders) > 1:
        with pytest.raises(DsegymError, match=f"Cannot import 'failing_module'.*{wanted}"):
            load_scenario("failing_module:mine/Scenario-v0")


def test_a_function_that_ends_the_process_is_told():
    with pytest.raises(DsegymError, match="leaver failed: SystemExit: 0"):
        evaluate(Function("leaver", lambda observation, mask: sys.exit(0)), CASCADES, "test")


def test_an_unknown_split_names_the_splits():
    with pytest.raises(UnknownNameError):
        CASCADES.problems("holdout")


def test_every_environment_is_watched_whole():
    """The environment that notes what is not legal passes on all that playing asks for."""
    from dsegym.agents.policies.evaluation import _Watched

    played = {"horizon", "case_count", "start_case", "over", "advance"}
    assert played <= set(vars(_Watched))
    assert issubclass(_Watched, FunctionalEnv)
