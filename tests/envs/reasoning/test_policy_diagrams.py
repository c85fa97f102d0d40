"""Pictures of policies' episodes: what they show is what the episode came to; environments render them."""

import gymnasium
import jax
import numpy as np
import pytest

import dsegym
from dsegym.envs.core.functional import play

FAMILIES = {
    "batch": ("dsegym/BatchBestOfN-v0", {"data": "humaneval", "samples": "2", "questions": "8"}),
    "noisy batch": (
        "dsegym/BatchBestOfN-v0",
        {"data": "humaneval", "samples": "2", "questions": "8", "verifier": "noisy", "cost": "tokens"},
    ),
    "problem": ("dsegym/SolveVerify-v0", {"data": "humaneval", "budget": "8"}),
    "tree": ("dsegym/TreeSearch-v0", {"tree": "steps", "width": "4"}),
    "cascade": ("dsegym/ReasoningCascade-v0", {}),
    "context": ("dsegym/SleepTime-v0", {}),
    "plan": ("dsegym/SubQuestionBudget-v0", {}),
}
BASELINES = {
    "batch": "thompson",
    "noisy batch": "confident",
    "problem": "verify_top_two",
    "tree": "rebase",
    "cascade": "cascade",
    "context": "sleep_and_decay",
    "plan": "constant",
}


def starting(diagram, prefix):
    return [each for each in diagram.rectangles if each.kind.startswith(prefix)]


def check_batch(diagram, last, params):
    assert len(starting(diagram, "right")) == last.right.sum()
    assert len(diagram.rectangles) == last.attempts.sum()
    accepted = [each for each in diagram.rectangles if each.kind.endswith("accepted")]
    assert len(accepted) in (0, (last.accepted_right + last.accepted_wrong).sum())
    assert diagram.rectangles[-1].x + diagram.rectangles[-1].width == pytest.approx(float(last.spent), rel=1e-5)
    for question, count in enumerate(last.attempts):
        assert sum(int(each.y) == question for each in diagram.rectangles) == count


def check_problem(diagram, last, params):
    assert len(starting(diagram, "right sample")) == last.members_right.sum()
    assert len(starting(diagram, "right sample")) + len(starting(diagram, "wrong sample")) == last.samples
    assert len(starting(diagram, "verdict yes")) == last.yes.sum()
    assert len(starting(diagram, "verdict no")) == last.verdicts.sum() - last.yes.sum()
    assert sum(each.width for each in diagram.rectangles) == pytest.approx(float(last.spent), rel=1e-5)
    assert len(diagram.y_ticks) == (last.votes > 0).sum()


def check_tree(diagram, last, params):
    depths = [int(each.x) for each in diagram.rectangles]
    assert set(depths) == set(range(6))
    final = [each for each, depth in zip(diagram.rectangles, depths, strict=True) if depth == 5]
    assert bool(last.success) <= any(each.kind == "kept, can be right" for each in final)
    assert sum(each.kind.startswith("kept") for each in final) >= 1


def check_cascade(diagram, last, params):
    assert len(diagram.rectangles) == last.runs
    assert sum(each.width for each in diagram.rectangles) == pytest.approx(float(last.spent), rel=1e-4)
    answers = {int(each.y): each.label.endswith("right") for each in diagram.rectangles}  # the last one counts
    assert sum(answers.values()) == last.solved


def check_context(diagram, last, params):
    queries = starting(diagram, "query")
    assert len(queries) == last.answered == last.queries
    assert np.mean([each.height for each in queries]) == pytest.approx(float(last.accuracy), rel=1e-4)
    assert starting(diagram, "asleep")[0].width == pytest.approx(float(last.sleep_tokens))


def check_plan(diagram, last, params):
    assert len(diagram.rectangles) == last.plan.count
    assert sum(each.width for each in diagram.rectangles) == last.budget_tokens - last.left_tokens
    assert np.mean([each.height for each in diagram.rectangles]) == pytest.approx(float(last.utility), rel=1e-5)


CHECKS = {
    "batch": check_batch,
    "noisy batch": check_batch,
    "problem": check_problem,
    "tree": check_tree,
    "cascade": check_cascade,
    "context": check_context,
    "plan": check_plan,
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_designs_picture_is_its_first_episode_of_the_search(family):
    scenario, options = FAMILIES[family]
    problem = dsegym.make_problem(scenario, **options)
    design = np.array(problem.baselines[BASELINES[family]](), np.int32)
    diagram, env, params = problem.diagram(design), problem.functional_env("decisions"), problem.params
    if family == "plan":  # a design's actions are tokens
        env = problem.functional_env("tokens")
    first = env.start(jax.random.fold_in(jax.random.key(params.seeds[0]), 0), params)
    last = jax.jit(lambda design: play(env, first, lambda state, _: env.decide(design, state, params), params))(design)
    CHECKS[family](diagram, jax.tree.map(np.asarray, last), params)
    (left, right), (low, high) = diagram.x_range, diagram.y_range
    for each in diagram.rectangles:
        assert left <= each.x
        assert each.x + each.width <= right * (1 + 1e-5)
        assert low <= each.y
        assert each.y + each.height <= high * (1 + 1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_environments_say_what_is_synthetic_and_what_recorded(family):
    scenario, options = FAMILIES[family]
    notes = " ".join(gymnasium.make(scenario, **options).metadata["notes"]).lower()
    recorded = options.get("data") == "humaneval" or family == "cascade"
    assert ("recorded" if recorded else "synthetic") in notes


@pytest.mark.slow
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "noisy batch"])
def test_an_episode_is_rendered_as_far_as_it_has_come(family):
    scenario, options = FAMILIES[family]
    env = gymnasium.make(scenario, render_mode="rgb_array", **options)
    _, info = env.reset(seed=0)
    first = env.render()
    assert first.ndim == 3
    assert first.dtype == np.uint8
    env.action_space.seed(0)
    mask = info.get("action_mask")
    action = 0 if family == "problem" else env.action_space.sample(mask)  # the first answer is legal, and draws nothing
    env.step(action)
    inner = env.unwrapped
    drawn = inner.functional.picture(inner.problem, inner._first, inner._actions)
    assert len(drawn.rectangles) >= 1
    assert not np.array_equal(env.render(), first)
    env.close()
