"""The page "Does learning pay?", made of what counts of evaluations and of nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ..formats import format_gap, format_number, format_quantity, format_score
from ..scoring.learning import SHARES, Comparison, Contest, Declared, Interval, contests
from ..scoring.policies import Played, grouped, sensitivities, table_of
from ..scoring.records import Sensitivity
from ..suite import policy_suite_names
from .policies import sensitivity_cells, sensitivity_head
from .prose import paragraph
from .sections.learning import trained_text
from .text import cell_text, markdown_table

__all__ = ["learning_page"]


class Goal(NamedTuple):
    """What a family's policies are to reach, zero-shot."""

    words: str
    reached: Callable[[Comparison], Interval | None]
    least: float


_BETTER = Goal("better than the best rule", lambda row: row.better_percent, 0.0)
GOALS: Mapping[str, Goal] = {
    "dsegym/MemoryMapping-v0": Goal("half of the gap closed", lambda row: row.closed, 0.5),
    "dsegym/SocSchedulingStream-v0": Goal("5 % better than the best rule", lambda row: row.better_percent, 5.0),
}

# How far the numbers of a family can be trusted: exact (equals an outside tool), tracks (compared with measurements),
# modelled (published constants, no check of the whole) or synthetic; and why.
TRUTH: Mapping[str, str] = {
    "dsegym/AcceleratorSizing-v0": "cycles exact (SCALE-Sim), stalls, energy and area modelled",
    "dsegym/MemoryMapping-v0": "modelled: equals a second simulator of its rules; no latency was measured on hardware",
    "dsegym/MemoryAllocation-v0": "peaks exact; the instances synthetic",
    "dsegym/SocSchedulingStatic-v0": "exact on published graphs; random graphs synthetic",
    "dsegym/SocSchedulingStream-v0": "modelled after DS3; arrivals and noise synthetic",
    "dsegym/ServingStream-v0": "engine tracks measured runs of vLLM; GPUs by the roofline, and swaps, modelled",
    "dsegym/BatchBestOfN-v0": "recorded outcomes, or synthetic questions",
    "dsegym/ReasoningCascade-v0": "recorded outcomes",
    "dsegym/SleepTime-v0": "synthetic",
    "dsegym/SolveVerify-v0": "recorded outcomes, or a synthetic solver and verifier",
    "dsegym/SubQuestionBudget-v0": "credits measured, the rest of a plan synthetic",
    "dsegym/TreeSearch-v0": "votes recorded (Game of 24), or synthetic steps",
}

_HEAD = """# Does learning pay?

A policy that was trained on some instances plays others that it has not seen, beside every rule of the family on the
same instances. This page is made by one command from stored results (last section), whatever they say; results that
speak against learning stand here like any others."""
_READING = """## How to read it

Score 0 is an instance's reference, 1 its bound, raw as on a leaderboard: below 0 is worse than the reference. A score
is the interquartile mean over instances and the seeds of training. *Better than the best rule* is the mean share by
which a policy's value lies below that of the best single rule; that rule is chosen on these very instances, which
favours it. *Gap closed* is (score − rule's score) / (1 − rule's score): 1 at the bound, 0 at the rule, negative where
the rule is better. Intervals are 95 % bootstrap intervals for which instances and seeds are both drawn anew. *The best
rule on each instance* is an oracle: it knows which rule to take. A bound that no design reaches makes every gap look
larger than it is. *Better* is a mean of shares, *gap closed* compares interquartile means: their signs may differ, and
neither is sure where its interval holds 0. *Truth* says what the values rest on, the policy's and the rules' alike.
Seconds of training were measured on machines that did other things beside. *Zero-shot*: a policy plays each instance
once. *Adapted*: it plays each so often, with luck, and the best design counts, which is a search from the policy; the
summary does not speak of these."""


def learning_page(results: Iterable[Played], suite: str = "", trainings: Declared = ()) -> str:
    """The page as Markdown; the same results give the same bytes.

    Args:
        results: evaluations, in any order.
        suite: the name of the suite of policies that they are of; "" where `dsegym evaluate` made them one by one.
        trainings: that the suite declares, whether they have results or not.
    """
    results = list(results)
    found = contests(results)
    curves = sensitivities(table_of(group) for group in grouped(results))
    parts = [_HEAD, *_summary(found), *_coverage(results, trainings), _READING]
    for contest in found:
        own = [each for each in curves if (each.collection, each.split) == (contest.collection, contest.split)]
        parts += _contest(contest, own)
    parts += ["## How this page is made", _made(suite)]
    return "\n\n".join(parts) + "\n"


def _made(suite: str) -> str:
    """How the page came to be, and how to make it again."""
    file = f"`experiments/policy_suites/{suite}.toml`" if suite in policy_suite_names() else "its file"
    place = f"results/{suite}" if suite else "RESULTS"
    named, folder = (shlex.quote(cell_text(text)) for text in (suite, place))  # a command that may be pasted
    run = f"dsegym run {named} --output {folder}   # trains and evaluates, for hours perhaps; resumes\n"
    first = (
        f"The first command runs the suite `{suite}`: {file} declares every training, its budget and its seeds."
        if suite
        else "The evaluations were made one by one, with `dsegym train` and `dsegym evaluate`; each policy's card says "
        "by what training. The suite `learning` declares such trainings and evaluations in one file, for `dsegym run`."
    )
    rest = (
        f"{first} `dsegym learning` writes this page, and `docs/learning/results.json`: what counts of every "
        "evaluation; from that file alone `dsegym learning docs/learning/results.json --output docs` writes this "
        f"page again, as a test checks. `dsegym verify {folder}` plays every evaluation again, bit for bit on the same "
        "machine."
    )
    commands = f"{run if suite else ''}dsegym learning {folder} --output docs"
    return f"```bash\n{commands}\n```\n\n{paragraph(rest)}"


def _summary(found: Sequence[Contest]) -> list[str]:
    """The best zero-shot policy of each collection, and whether it reaches the family's goal."""
    head = ("Collection", "Best policy", "Better than the best rule", "Gap closed", "Goal", "Reached", "Truth")
    rows = []
    for contest in found:
        best = _best(contest)
        goal = GOALS.get(contest.scenario, _BETTER)
        truth = TRUTH.get(contest.scenario, "not known")
        name = f"{contest.collection}, {contest.split}" if contest.split != "test" else contest.collection
        if best is None:
            rows.append([name, "none", "-", "-", goal.words, "-", truth])
            continue
        verdict = _verdict(goal.reached(best), goal.least)
        shown = best.entrant, _percent(best.better_percent), _share(best.closed)
        rows.append([name, *shown, goal.words, verdict, truth])
    counts = [row[5] for row in rows]
    sentence = (
        f"Collections: {len(found)}. The best policy reaches the goal surely (with its whole interval) on "
        f"{counts.count('yes')} of them, by its mean only on {counts.count('by the mean only')}, and not on "
        f"{counts.count('no')}. Of the policies of a collection the best on its test instances at the first "
        "try (zero-shot) is named; that choice favours it where there are several."
    )
    return ["## In short", paragraph(sentence), markdown_table(head, rows, right={2, 3})]


def _coverage(results: Sequence[Played], trainings: Declared) -> list[str]:
    """Which trainings of the suite have no results here, and which results are of trainings that are not its own."""
    policies = {each.manifest["policy"]["digest"]: each.manifest["policy"] for each in results}
    lacking: dict[str, list[str]] = {}
    for name, digest in trainings:
        if digest is None or digest not in policies:
            label, _, seed = name.rpartition("-seed")
            lacking.setdefault(label, []).append(seed)
    if not trainings:
        return []
    count = len(trainings) - sum(map(len, lacking.values()))
    told = f"The suite declares {len(trainings)} trainings, each seed counted; {count} of them have results here."
    if lacking:
        listed = "; ".join(f"{label}, seed{'s' * (len(s) > 1)} {', '.join(s)}" for label, s in lacking.items())
        told += (
            f" These have none: {listed}. An evaluation that the suite declares and no table shows, a sensitivity say, "
            "has no results either."
        )
    known = {digest for _, digest in trainings}
    others = sorted(
        f"{own['name']} on {own['training']['collection']}, seed {own['training']['seed']}, "
        f"{own['training']['steps']:,} steps"
        for digest, own in policies.items()
        if digest is not None and digest not in known
    )
    if others:
        told += f" Of trainings that it does not declare are the results of: {'; '.join(others)}."
    return [paragraph(told)]


def _best(contest: Contest) -> Comparison | None:
    zero_shot = [row for row in contest.policies if row.kind.startswith("zero-shot")]
    return max(zero_shot, key=lambda row: row.score.value, default=None)


def _verdict(figure: Interval | None, least: float) -> str:
    if figure is None:
        return "nothing to gain"
    if figure.value <= least:
        return "no"
    return "yes" if figure.low is not None and figure.low > least else "by the mean only"


def _contest(contest: Contest, sensitivity: Sequence[Sensitivity]) -> list[str]:
    count = f"{contest.instances} instance{'s' * (contest.instances != 1)}"
    bounds = ", ".join(contest.bounds) or "none"
    about = (
        f"{count} of {contest.scenario}, the {contest.split} part of `{contest.collection}`; kind of bound: {bounds}. "
        f"Truth: {TRUTH.get(contest.scenario, 'not known')}."
    )
    if contest.trained_on:
        about += f" Beware: a policy was trained on {contest.trained_on} of these instances."
    parts = [f"## {cell_text(contest.collection)}", paragraph(about), _table(contest)]
    if contest.curves:
        head = ("Reward of a step after", *(f"{100 * share:.0f} %" for share in SHARES))
        rows = [[name, *(f"{value:.4g}" for value in values)] for name, values in contest.curves]
        parts += [
            paragraph(
                "Learning curves, by the share of the training, as means over seeds; one that still rises at its end "
                "says that the budget bounds the result:"
            ),
            markdown_table(head, rows, right=set(range(1, 1 + len(SHARES)))),
        ]
    for found in sensitivity:
        head = sensitivity_head(found)
        parts += [
            paragraph(
                f"Sensitivity: how far values lie below the reference's where {found.option} is changed in every "
                f"instance. {trained_text(found)} Of the rules, those with the highest means are shown."
            ),
            markdown_table(head, [sensitivity_cells(row) for row in found.rows], right=set(range(2, len(head)))),
        ]
    return parts


def _table(contest: Contest) -> str:
    head = ("Entrant", "How", "Seeds", "Training", "Score", "Better than the best rule", "Gap closed", "Infeasible")
    rows = [_cells(row) for row in contest.policies]
    for row in contest.rules:
        alone = row.entrant == contest.best_rule
        rows.append(_cells(row, "rule, the best single one" if alone else "rules"))
    rows += [["reference", "", "", "", "0.0000", "", "", ""], ["bound", "", "", "", "1.0000", "", "1.00", ""]]
    return markdown_table(head, rows, right={2, 4, 5, 6, 7})


def _cells(row: Comparison, how: str = "") -> list[str]:
    training = ""
    if row.seeds:
        training = "not known"
        if row.steps is not None and row.training_s is not None:
            training = f"{format_number(row.steps)} steps, {format_quantity(row.training_s, 's')}"
    return [
        row.entrant,
        how or row.kind,
        str(row.seeds) if row.seeds else "",
        training,
        _with(row.score, format_score),
        "" if row.better_percent is None else _percent(row.better_percent),
        "" if row.closed is None else _share(row.closed),
        str(row.infeasible),
    ]


def _percent(figure: Interval | None) -> str:
    return "-" if figure is None else _with(figure, format_gap)


def _share(figure: Interval | None) -> str:
    return "-" if figure is None else _with(figure, lambda share: f"{share:z.2f}")


def _with(figure: Interval, write: Callable[[float], str]) -> str:
    interval = "" if figure.low is None or figure.high is None else f" [{write(figure.low)}, {write(figure.high)}]"
    return write(figure.value) + interval
