"""A portfolio: one agent that splits its budget among others, by successive halving."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..costmodels.errors import BudgetExhausted, DsegymError
from .base import Agent
from .referee import Referee
from .registry import make_agent

__all__ = ["Portfolio"]

# Questions of members that it refuses.
_EPISODES = ("open_env", "step_env", "open_rollout", "rollout", "evaluate_relaxed")
_ALL_RULES = {"heuristic": {"rule": "all"}}  # as members: each rule's design costs a sample


@dataclass(frozen=True)
class Portfolio(Agent):
    """The problem's rules first, then successive halving (Karnin et al., ICML 2013) over agents at their defaults.

    The rest of the budget falls into rounds of as many samples each. In a round every member searches on where it
    stood, with an equal share; then the better half stays, by the least objective so far, until one member is left for
    the last round. A member that ends of its own accord leaves its share to the others; so does one that fits a model
    to each sample, whose own time grows with its samples, when it has had so many. Where only such members would stay,
    the best of the others stays with them, to spend what they may not.

    Attributes:
        members: names of agents, separated by commas.
        fitted: those of them that fit a model to each sample, likewise.
        fitted_samples: the most samples that each of these has, where there are other members.
    """

    members: str = "hill_climb,genetic_algorithm,trust_region,tpe"
    fitted: str = "trust_region,tpe"
    fitted_samples: int = 100

    name = "portfolio"
    summary = "splits its samples among others: successive halving over rules, local, evolutionary and Bayesian search"
    libraries = ("botorch", "gpytorch", "optuna", "pymoo", "torch")
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {"fitted_samples": (0, 100, 300)}
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "members": (1, 1000),
        "fitted": (0, 1000),
        "fitted_samples": (0, 1_000_000),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Searches until the budget is spent, or no member has more to try.

        Raises:
            DsegymError: `members` holds a name twice, an agent that is no search of designs, or a portfolio.
        """
        _Member("heuristic", referee, seed, math.inf).finish()
        most_samples = self._most_samples()
        seeds = np.random.SeedSequence(seed).generate_state(len(most_samples)).tolist()
        members = [
            _Member(name, referee, own_seed, most)
            for (name, most), own_seed in zip(most_samples.items(), seeds, strict=True)
        ]
        try:
            rounds = math.ceil(math.log2(len(members))) + 1
            for rounds_left in range(rounds, 0, -1):
                share = max(1, referee.samples_left // rounds_left // max(1, len(members)))
                for member in members:
                    member.search_on(share)
                members = [member for member in members if not member.ended]
                members.sort(key=lambda member: member.best)  # stable: ties keep the order of `members`
                kept = members[: max(1, len(members) // 2)]
                if all(member.most_samples < math.inf for member in kept):  # somebody spends what these may not
                    kept += [member for member in members if member.most_samples == math.inf][:1]
                for member in members:
                    if member not in kept:
                        member.dismiss()
                members = kept
            for member in members:
                member.finish()  # until the referee stops it
        finally:
            for member in members:
                member.dismiss()

    def _most_samples(self) -> dict[str, float]:
        """{member: samples that it may have in all}.

        Raises:
            DsegymError: `members` holds a name twice, or a portfolio.
        """
        names = [name.strip() for name in self.members.split(",")]
        if len(set(names)) < len(names) or self.name in names:
            raise DsegymError(f"A portfolio's members are different agents, none a portfolio; given: {self.members}.")
        fitted = {name.strip() for name in self.fitted.split(",")}
        if fitted.issuperset(names):
            return dict.fromkeys(names, math.inf)
        return {name: self.fitted_samples if name in fitted else math.inf for name in names}


class _Member:
    """An agent that searches with a share of the budget, and stands still until it is given another.

    It runs in a thread of its own, never beside another: whoever gives it a share waits until it is spent.
    """

    def __init__(self, name: str, referee: Referee, seed: int, most_samples: float):
        self.best = (True, math.inf)  # of its samples: whether infeasible, and the objective
        self.most_samples = most_samples  # in all
        self.ended = False
        self._agent = make_agent(name, _ALL_RULES.get(name))
        self._referee, self._seed = referee, seed
        self._spent, self._allowance, self._dismissed = 0, 0.0, False  # samples, and those of its share that are left
        self._error: BaseException | None = None
        self._go, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def search_on(self, samples: float) -> None:
        """Searches until so many samples more are spent, or it ends: of its own accord, or as it had all it may have.

        Raises: what the referee raises, `BudgetExhausted` among them, and what the agent raises of its own.
        """
        if self.ended:
            return
        self._allowance = min(samples, self.most_samples - self._spent)
        if not self._thread.ident:
            self._thread.start()
        else:
            self._go.release()
        self._stands.acquire()
        if self._error is not None and not self._dismissed:
            raise self._error
        if self._spent >= self.most_samples:
            self.dismiss()

    def finish(self) -> None:
        """Searches until it ends."""
        self.search_on(math.inf)

    def dismiss(self) -> None:
        """Ends it: where it stands, or at its next question where Ctrl-C came in the midst of its share."""
        if self._thread.ident and not self.ended:
            self._dismissed = True
            self._go.release()
            self._thread.join()

    def _run(self) -> None:
        try:
            self._agent.search(Referee.of(self._ask, self._referee.space, self._referee.budget), self._seed)
        except BaseException as error:  # the round that waits raises it
            self._error = error
        self.ended = True
        self._stands.release()

    def _ask(self, *question: Any) -> Any:
        """As a scorekeeper's `ask`: designs are costed as far as the share goes, then it stands until it has another.

        Raises:
            BudgetExhausted: it is dismissed, or the budget is spent.
            DsegymError: it plays episodes.
        """
        if question[0] in _EPISODES:
            raise DsegymError(f"{self._agent.name} plays episodes; a portfolio's members cost designs.")
        if question[0] != "evaluate":
            return self._referee._ask(*question)
        pieces, designs = [], question[1]
        while len(designs):
            while self._allowance <= 0 and not self._dismissed:
                self._stands.release()
                self._go.acquire()
            if self._dismissed:
                raise BudgetExhausted("The portfolio goes on without it.")
            now = int(min(self._allowance, len(designs)))
            pieces.append(found := self._referee.evaluate(designs[:now]))
            self._spent, self._allowance, designs = self._spent + now, self._allowance - now, designs[now:]
            objective = np.nan_to_num(np.asarray(found.objective), nan=np.inf, posinf=np.inf)
            infeasible = ~np.asarray(found.feasible)
            first = np.lexsort((objective, infeasible))[0]
            self.best = min(self.best, (bool(infeasible[first]), float(objective[first])))
        return _joined(pieces)


def _joined(pieces: Sequence[Any]) -> Any:
    """Evaluations of parts of a batch as that of the batch."""
    first = pieces[0]
    if first is None or len(pieces) == 1:
        return first
    if isinstance(first, tuple):
        return type(first)(*(_joined(column) for column in zip(*pieces, strict=True)))
    return np.concatenate(pieces)
