"""The actions that follow a design, of every form that says which they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.luck import episode_key
from dsegym.envs.core.functional import FunctionalEnv, play, play_cases

# Scenario, form and options of every way in which forms read a design.
FORMS = {
    "parametric": ("AcceleratorSizing", "parametric", {"workload": "alexnet", "objective": "edp"}),
    "one parameter after another": ("AcceleratorSizing", "sequential", {"workload": "alexnet", "objective": "edp"}),
    "memory mapping": ("MemoryMapping", "sequential", {"program": "mlp_train"}),
    "memory mapping, knobs": ("MemoryMapping", "sequential", {"program": "mlp_tiny", "space": "msa"}),
    "packing": ("MemoryAllocation", "sequential", {"instance": "perfect_30_s1"}),
    "packing, best fit": ("MemoryAllocation", "sequential", {"instance": "layered_30_s1", "placement": "best_fit"}),
    "tasks and elements": ("SocSchedulingStatic", "sequential", {"graph": "top1"}),
    "tasks": ("SocSchedulingStatic", "sequential", {"graph": "top1", "space": "order"}),
    "stream, every ready task": ("SocSchedulingStream", "pairs", {"count": 20, "noise": 0.1}),
    "budgets": ("ReasoningCascade", "decisions", {"budget": 8}),
}


def designs_of(problem):
    """Of baselines, and one drawn at random, which no heuristic would make."""
    made = [np.asarray(maker(), np.int32) for maker in list(problem.baselines.values())[:3]]
    return np.stack([*made, problem.space.sample(np.random.default_rng(0), 1)[0]])


SLOW = "stream, every ready task"
each_form = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind == SLOW else kind for kind in FORMS]
)


@pytest.mark.slow
@each_form
def test_an_episode_of_the_actions_that_follow_a_design_costs_what_the_design_does(kind):
    scenario, form, options = FORMS[kind]
    problem = dsegym.make_problem(f"dsegym/{scenario}-v0", **options)
    env = problem.functional_env(form)
    params = jax.tree.map(jnp.asarray, env.scored_params(problem))

    @jax.jit
    def played(design):
        states = play_cases(env, lambda state, case, step: env.decide(design, state, params), params)
        illegal = env.illegal(states)
        return env.mean_evaluation(states, params).objective, jnp.int32(0) if illegal is None else illegal.sum()

    designs = designs_of(problem)
    found = [played(design) for design in designs]
    np.testing.assert_allclose(
        [objective for objective, _ in found], problem.evaluate_held_out(designs).objective, 1e-6
    )
    assert not any(illegal for _, illegal in found)


@pytest.mark.slow
def test_a_rule_sends_the_task_that_is_offered_to_a_legal_element():
    problem = dsegym.make_problem("dsegym/SocSchedulingStream-v0", count=20, noise=0.1)
    env = problem.functional_env("decisions")
    params = jax.tree.map(jnp.asarray, env.scored_params(problem))
    design = jnp.asarray(problem.baselines["eft"](), jnp.int32)  # whose task is the one that is offered
    last = play(env, env.start_case(0, params), lambda state, step: env.decide(design, state, params), params)
    assert int(last.illegal) == 0
    legal = env.action_mask(env.start_case(0, params), params)
    assert legal[env.decide(design, env.start_case(0, params), params)]


def test_a_form_that_says_nothing_of_designs_names_itself():
    class Silent(FunctionalEnv):
        pass

    with pytest.raises(NotImplementedError, match="Silent does not say which actions follow a design"):
        Silent().decide(jnp.zeros(1), episode_key(0), None)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory mapping, small", "packing", "tasks and elements", "tasks"])
def test_in_the_shape_of_a_larger_instance_a_design_is_followed_by_zeros(kind):
    small = {"memory mapping, small": ("MemoryMapping", "sequential", {"program": "residual_tiny"})}
    scenario, form, options = {**FORMS, **small}[kind]
    problem = dsegym.make_problem(f"dsegym/{scenario}-v0", **options)
    own = problem.functional_env(form)
    params = own.scored_params(problem)
    sizes = {name: count + 3 for name, count in own.sizes(params).items()}
    env, params = own.padded(params, sizes)
    params = jax.tree.map(jnp.asarray, params)

    @jax.jit
    def played(design):
        states = play_cases(env, lambda state, case, step: env.decide(design, state, params), params)
        return env.mean_evaluation(states, params).objective, env.illegal(states).sum()

    designs = designs_of(problem)
    length = jax.eval_shape(lambda: env.design(env.start(episode_key(0), params), params)).shape[0]
    found = [played(np.pad(design, (0, length - len(design)))) for design in designs]
    np.testing.assert_array_equal([objective for objective, _ in found], problem.evaluate(designs).objective)
    assert not any(illegal for _, illegal in found)
