"""dsegym/BatchBestOfN-v0: which question of a batch gets the next sample of a shared budget.

The rules, the policy and where figures come from: docs/batch_best_of_n.md. The game: `costmodels/reasoning/batch/`.
Q questions of a batch.

| form | action |
|---|---|
| `decisions` | the question that is sampled next: Discrete(Q) |
| `parametric`, `sequential` | the parameters of the index policy, as of a one-shot family: what the leaderboard ranks |

Reward: the growth of the expected share of questions that are answered right; an episode's rewards sum to its accuracy,
which is 1 - the objective. An action that is not legal (no attempt left, or not affordable) counts as the legal
question with the fewest attempts; `info["illegal_actions"]` counts those.
Observation: float32[6 Q + 7] in [-1, 1], `BatchBestOfN.features`.
Termination: when no further attempt is affordable or left, or (with a perfect verifier) every question is solved.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/BatchBestOfN-v0", data="humaneval", samples=4)
    >>> observation, info = env.reset(seed=0)
    >>> env.action_space, int(info["action_mask"].sum())
    (Discrete(16), 16)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.diagram import Diagram
from ...costmodels.errors import DsegymError
from ...costmodels.files import plain_number
from ...costmodels.luck import uniform
from ...costmodels.reasoning.batch import bounds, game
from ...costmodels.reasoning.batch.game import Metrics, Params, Rules, State
from ...costmodels.reasoning.batch.picture import draw_batch
from ...costmodels.reasoning.outcomes import dataset_names, dataset_rows, is_outcome_file, load_outcomes
from ...costmodels.reasoning.scores import cost_of_pass, e3
from ..core.evaluation import Objective, Sweep
from ..core.features import Discrete, Feature
from ..core.options import Options, choice, custom, file_or_name, number, whole
from ..core.policies import HELD_OUT, SEARCH, PolicyEnv, policy_problem, seeds_of
from ..core.problem import Problem, bounded
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Heuristics, Parameter

__all__ = ["HEURISTICS", "SCENARIO", "BatchBestOfN", "BatchOptions"]

SYNTHETIC = "beta"
EPISODES = 128  # batches that a design is costed on
BATCH_SIZES = (1, 32)
BUDGETS = (1, 2, 4, 8, 16, 32)
MOST_QUESTIONS, MOST_SAMPLES = 64, 64
PERFECT, MEASURED = (1.0, 0.0), (0.425, 0.141)  # rates; one generated test of HumanEval: true and false positive
NEVER = 99
OWN = "own"
_HINTS, _AT_ONCE = {OWN: OWN, "none": None}, {"online": None}
_LOGISTIC = 3**0.5 / np.pi  # a logistic draw times this has a deviation of 1

SPACE = DesignSpace(
    (
        Parameter("stop", (1, 2, 3, NEVER), summary="accepted samples after which a question is left; 99: never"),
        Parameter("evidence", (0, 0.25, 0.5, 1, 2, 4), summary="weight of an attempt's result in the posterior"),
        Parameter("hint_trust", (0, 0.25, 0.5, 0.75, 1), summary="weight of the hint in the prior"),
        Parameter("cost_exponent", (0, 0.5, 1, 2), summary="the index is divided by expected cost to this power"),
        Parameter("optimism", (0, 0.1, 0.3, 1), summary="times the posterior's deviation, added to the index"),
        Parameter("thompson", ("no", "yes"), ordered=False, summary="a draw from the posterior in place of its mean"),
        Parameter("turns", (0, 0.01, 0.03, 0.1, 1000), summary="times attempts, taken from the index; 1000: in turns"),
        Parameter("epsilon", (0, 0.05, 0.1, 0.3), summary="share of attempts at a random question"),
        Parameter("threshold", (0, 0.005, 0.01, 0.02, 0.05, 0.1), summary="in order, the first with a larger index"),
    )
)
# The rules of the field; what is not named is neutral: the posterior's mean, until a sample is accepted.
HEURISTICS = Heuristics(
    SPACE,
    dict(stop=1, evidence=1, hint_trust=1, cost_exponent=0, optimism=0, thompson="no", turns=0, epsilon=0, threshold=0),
    {
        "uniform": {"stop": NEVER, "evidence": 0, "hint_trust": 0, "turns": 1000},
        "round_robin": {"turns": 1000, "hint_trust": 0},
        "posterior_greedy": {},
        "posterior_greedy_no_hint": {"hint_trust": 0},
        "knowledge_gradient": {"cost_exponent": 1},
        "thompson": {"thompson": "yes"},
        "ucb": {"optimism": 1},
        "epsilon_greedy": {"epsilon": 0.1},
        "lagrangian": {"cost_exponent": 1, "threshold": 0.05},
        "confident": {"stop": 2},
    },
)
OBJECTIVE = Objective("failure", "fraction", "1 - accuracy: questions of a batch that are not answered right, expected")
NOTES: Mapping[str, str] = {
    "recorded": "Recorded attempts are replayed without replacement by their counts; hints are synthetic.",
    "synthetic": "Difficulties (Beta, as fitted to CodeGen-16B on HumanEval), tokens and hints are synthetic.",
    "own log": "Recorded attempts of your own log are replayed without replacement by their counts.",
    "no tokens": "The log tells no tokens: figures in tokens count an attempt as one.",
    "no hint": "Nothing is known of a question before it is sampled (hint=none), as where your log comes from.",
    "turns": "There is nothing to learn here: for questions that look alike, with unit costs, results at once and a "
    "perfect verifier, taking turns and stopping at a success (the baseline round_robin) is optimal.",
    "peek": "Synthetic hint: a peek at the truth. Each question shows its own success rate with noise, which whoever "
    "uses a policy does not have; without it (hint=none) accuracies are lower.",
    "noisy": "The verifier's errors are synthetic: independent, with the two rates that the option names.",
}


def _rates(given: object) -> tuple[float, float]:
    """Rates of acceptance of right and of wrong samples."""
    named = {"perfect": PERFECT, "noisy": MEASURED}
    if str(given) in named:
        return named[str(given)]
    first, second = map(plain_number, str(given).split("/"))
    if not 0 <= second < first <= 1:
        raise ValueError
    return first, second


def _rates_text(rates: tuple[float, float]) -> str:
    named = {PERFECT: "perfect", MEASURED: "noisy"}
    return named.get(rates) or "/".join(np.format_float_positional(rate, trim="-") for rate in rates)


@dataclass(frozen=True)
class BatchOptions(Options):
    """What tells instances apart."""

    data: str = file_or_name(
        SYNTHETIC,
        lambda: (SYNTHETIC, *dataset_names()),
        is_outcome_file,
        "the path of a log (docs/files.md)",
        "recorded outcomes, or synthetic ones (beta)",
        reads="data",
    )
    samples: int = whole(4, BUDGETS, least=1, most=MOST_SAMPLES, summary="mean samples a question")
    questions: int | str = whole(
        OWN,
        (8, 16),
        least=1,
        most=MOST_QUESTIONS,
        words={OWN: OWN},
        summary="in a batch; own: 16, or as many as a log of yours has to train or to test",
    )
    hint: float | str | None = number(
        OWN,
        (None, 5, 2, 1, 0.5),
        least=0,
        above=True,
        most=1000,
        words=_HINTS,
        summary="noise of the logit of p; own: none for a log of yours, 1 for the rest",
    )
    cost: str = choice("samples", ("samples", "tokens"), "what the budget counts")
    rounds: int | None = whole(
        None, (None, 1, 2, 4, 8), least=1, most=8, words=_AT_ONCE, summary="results are seen at the end of each"
    )
    verifier: tuple[float, float] = custom(
        PERFECT,
        (PERFECT, MEASURED),
        parse=_rates,
        also="two rates as 0.9/0.2, the first above the second",
        text=_rates_text,
        summary=f"noisy: accepts right and wrong samples at the rates {MEASURED[0]}/{MEASURED[1]}",
    )

    def __post_init__(self) -> None:
        """Says which hint and which number of questions `own` is, so that an instance's name does."""
        if self.questions == OWN:
            object.__setattr__(self, "questions", game.questions_of(self.data))
        if self.hint == OWN:
            object.__setattr__(self, "hint", None if is_outcome_file(self.data) else 1)


@dataclass(frozen=True)
class BatchBestOfN(PolicyEnv[State, Params]):
    """Sample by sample; see the module's docstring."""

    rules: Rules
    game = game

    @property
    def game_arguments(self) -> tuple[Rules]:
        """Of every function of the game."""
        return (self.rules,)

    @property
    def horizon(self) -> int:
        """See `Rules.horizon`."""
        return self.rules.horizon

    @property
    def action_space(self) -> Discrete:
        """The question that is sampled next."""
        return Discrete(self.rules.questions)

    @property
    def features(self) -> Sequence[Feature]:
        """Of each question, and of all."""
        each = ((self.rules.questions,), -1.0, 1.0)
        return (
            Feature("attempts", *each, "n / (n + 4) of n attempts"),
            Feature("accepted", *each, "accepted samples that are visible over attempts whose results are"),
            Feature("chance", *each, "mean of the posterior of p"),
            Feature("hint", *each, "logit of p with noise, over 10"),
            Feature("cost", *each, "expected cost of a sample over the mean cost, over 4"),
            Feature("legal", *each, "1 where an attempt is left that is affordable"),
            Feature("spent", (), -1.0, 1.0, "share of the budget"),
            Feature("solved", (), -1.0, 1.0, "share of questions with an accepted sample"),
            Feature("hidden", (), -1.0, 1.0, "share of results that are not visible yet"),
            Feature("samples", (), -1.0, 1.0, "n / (n + 4) of the budget's n samples a question"),
            Feature("accepts_right", (), -1.0, 1.0, "the verifier's stated rate for right samples"),
            Feature("accepts_wrong", (), -1.0, 1.0, "the verifier's stated rate for wrong samples"),
            Feature("hint_noise", (), -1.0, 1.0, "n / (n + 1) of the deviation n of hints; 1 without hints"),
        )

    def reward(self, state: State, next_state: State, params: Params) -> Array:
        """float32: the growth of the expected accuracy."""
        return jnp.mean(game.answered(self.rules, next_state) - game.answered(self.rules, state))

    def action_mask(self, state: State, params: Params) -> Array:
        """bool[Q]: questions with an attempt left that is affordable; all at the end."""
        legal = game.legal(self.rules, state, params)
        return legal | ~jnp.any(legal)

    def observe(self, state: State, params: Params) -> Mapping[str, Array]:
        """See `features`."""
        alpha, beta = game.belief(self.rules, state, params, 1.0, 1.0)
        mean = alpha / (alpha + beta)
        hidden = jnp.sum(state.attempts - state.seen_attempts) / jnp.maximum(jnp.sum(state.attempts), 1)
        values = {
            "attempts": state.attempts / (state.attempts + 4),
            "accepted": state.seen / jnp.maximum(state.seen_attempts, 1),
            "chance": mean,
            "hint": state.hint / 10,
            "cost": game.relative_cost(self.rules, state, mean, params) / 4,
            "legal": game.legal(self.rules, state, params).astype(jnp.float32),
            "spent": state.spent / game.budget_of(self.rules, params),
            "solved": jnp.mean(state.seen > 0),
            "hidden": hidden,
            "samples": params.samples / (params.samples + 4),
            "accepts_right": params.rates[0],
            "accepts_wrong": params.rates[1],
            "hint_noise": params.sigma / (params.sigma + 1) if self.rules.hinted else jnp.float32(1),
        }
        return {name: jnp.clip(value, -1.0, 1.0) for name, value in values.items()}

    def decide(self, design: Array, state: State, params: Params) -> Array:
        """The index policy of a design, int32[9]: the largest index, or the first one above the threshold."""
        values = SPACE.values(design, jnp.float32)
        alpha, beta = game.belief(self.rules, state, params, values["hint_trust"], values["evidence"])
        total = alpha + beta
        mean = alpha / total
        deviation = jnp.sqrt(mean * (1 - mean) / (total + 1))
        places, time = jnp.arange(self.rules.questions), jnp.sum(state.attempts)
        luck = uniform(state.seed, places, time, game.DRAW)
        # A logistic draw with the posterior's mean and deviation: Thompson sampling without a Beta sampler in the step.
        draw = jnp.log(luck + 1e-6) - jnp.log1p(-luck + 1e-6)
        index = mean + deviation * (values["optimism"] + values["thompson"] * _LOGISTIC * draw)
        cost = game.relative_cost(self.rules, state, mean, params)
        index = index / cost ** values["cost_exponent"] - values["turns"] * state.attempts
        legal = game.legal(self.rules, state, params)
        open_ = legal & (state.seen < values["stop"])
        open_ = jnp.where(jnp.any(open_), open_, legal)
        above = open_ & (index >= values["threshold"]) & (values["threshold"] > 0)
        first, best = jnp.argmax(above), jnp.argmax(jnp.where(open_, index, -jnp.inf))
        coin = uniform(state.seed, self.rules.questions, time, game.DRAW)
        random = jnp.argmax(jnp.where(open_, luck, -1.0))
        chosen = jnp.where(jnp.any(above), first, best)
        return jnp.where(coin < values["epsilon"], random, chosen).astype(jnp.int32)

    def sizes(self, params: Params) -> Mapping[str, int]:
        """The budget of a question, and the recorded problems."""
        return {"samples": self.rules.samples, "problems": len(params.attempts)}

    def padded(self, params: Params, sizes: Mapping[str, int]) -> tuple[BatchBestOfN, Params]:
        """A longer horizon, which the budget never reaches, and problems without attempts, which are never drawn."""
        more = sizes["problems"] - len(params.attempts)
        pool = {name: np.pad(getattr(params, name), (0, more)) for name in game.POOL}
        return BatchBestOfN(self.rules._replace(samples=sizes["samples"])), params._replace(**pool)

    def drawing(self, states: Sequence[State], actions: Sequence[object], params: Params) -> Diagram:
        """Where the budget went."""
        unit, budget = "tokens" if self.rules.tokens else "samples", float(game.budget_of(self.rules, params))
        return draw_batch(states, budget=budget, unit=unit, noisy=self.rules.noisy)


def build(options: BatchOptions) -> Problem:
    """An instance.

    Raises:
        DsegymError: there is nothing to learn on data of the package, or the recorded data are too few.
    """
    own, hint = is_outcome_file(options.data), options.hint
    assert not isinstance(hint, str)
    assert isinstance(options.questions, int)
    turns = (hint, options.cost, options.rounds, options.verifier) == (None, "samples", None, PERFECT)
    if turns and not own:  # of a user's log, the answer is worth having
        raise DsegymError(
            "Without hints, with unit costs, results at once and a perfect verifier there is nothing to learn: taking "
            "turns and stopping at a success is optimal; set hint, cost=tokens, rounds or verifier=noisy."
        )
    recorded = options.data != SYNTHETIC
    exact = options.cost == "samples" and options.verifier == PERFECT
    splits = game.recorded_splits(options.data, options.samples, options.questions, exact=exact) if recorded else None
    told = not own or splits is None or splits[0].tells_tokens
    if options.cost == "tokens" and not told:
        raise DsegymError(f"cost = tokens needs each attempt's tokens, which {options.data} does not tell; samples do.")
    rules = Rules(
        questions=options.questions,
        samples=options.samples,
        recorded=recorded,
        tokens=options.cost == "tokens",
        rounds=options.rounds or 0,
        noisy=options.verifier != PERFECT,
        hinted=hint is not None,
    )
    params, held_out = game.params_of(
        splits,
        (seeds_of(SEARCH, EPISODES), seeds_of(HELD_OUT, EPISODES)),
        samples=options.samples,
        sigma=1.0 if hint is None else hint,
        rates=options.verifier,
    )
    notes = [NOTES["own log" if own else "recorded" if splits else "synthetic"]]
    if own:
        notes += [NOTES["no hint" if hint is None else "peek"], *([NOTES["turns"]] if turns else [])]
    notes += [NOTES["noisy"]] if rules.noisy else []
    notes += [] if told else [NOTES["no tokens"]]
    if splits:
        notes.append(f"Recorded outcomes: {splits[0].source}.")
    most = min(int(part.attempts.min()) for part in splits) if splits else MOST_SAMPLES

    def means(params: Params) -> Metrics:
        return Metrics(*(np.asarray(np.mean(leaf)) for leaf in bounds.oracle(rules, params)))

    def bound(problem: Problem) -> float:
        return 1 - float(means(held_out).accuracy)

    return policy_problem(
        BatchBestOfN(rules),
        options=options,
        heuristics=HEURISTICS,
        params=params,
        held_out_params=held_out,
        reference=("uniform", "equal numbers of samples, whatever comes out"),
        bound=bounded("oracle", bound, "knows every question's chances and every sample's result"),
        best=means,
        derived=lambda metrics: {
            "e3_per_kilotoken": float(e3(metrics.accuracy, metrics.tokens_per_question)),
            "cost_of_pass_tokens": float(cost_of_pass(metrics.tokens_per_question, metrics.accuracy)),
        },
        objective=OBJECTIVE,
        notes=notes,
        splits=load_outcomes(options.data).split_sizes if recorded else {},
        sweep=Sweep(
            option="samples",
            values=tuple(str(budget) for budget in BUDGETS if budget <= most),
            x_label="budget (mean samples a question)",
            y_label="accuracy (fraction of questions answered right)",
            baselines=("round_robin", "posterior_greedy", "thompson"),
        ),
        batch_sizes=BATCH_SIZES,
    )


CORE = (  # every data set, and each of the things that make the problem hard
    {},
    {"hint": "none", "cost": "tokens"},
    {"verifier": "noisy"},
    {"data": "humaneval"},
    {"data": "humaneval", "rounds": 4},
    {"data": "humaneval", "cost": "tokens"},
    {"data": "game24_chain_of_thought"},
    {"data": "tau_airline", "samples": 2, "questions": 8},
)
SCENARIO = Scenario(
    summary="Spread a budget of samples over a batch of questions of unknown difficulty.",
    options_type=BatchOptions,
    build=build,
    core=CORE,
    facts=lambda: (("Recorded outcomes", dataset_rows()), ("Rules (blank: neutral)", HEURISTICS.rows())),
)
