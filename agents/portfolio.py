"""A portfolio: one agent that splits its budget among others, by successive halving."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..costmodels.errors import BudgetExhausted, DsegymError, literal
from .base import Agent
from .referee import Referee
from .registry import make_agent, require_libraries

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
    the best of the others stays with them, to spend what they may not. Where all that stayed have ended, those that
    left go on, the best first, and at last those that had so many.

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
            DsegymError: before anything is spent where `members` holds no agent, an unknown one, one twice, one whose
                libraries are not installed, or a portfolio; later where one is no search of designs.
        """
        everybody = members = self._made(referee, seed)
        _Member("heuristic", referee, seed, math.inf).finish()
        try:
            rounds = math.ceil(math.log2(len(members))) + 1
            for rounds_left in range(rounds, 0, -1):
                share = max(1, referee.samples_left // rounds_left // max(1, len(members)))
                for member in members:
                    member.search_on(share)
                members = [member for member in members if not (member.ended or member.has_all)]
                members.sort(key=lambda member: member.best)  # stable: ties keep the order of `members`
                kept = members[: max(1, len(members) // 2)]
                if all(member.most_samples < math.inf for member in kept):  # somebody spends what these may not
                    kept += [member for member in members if member.most_samples == math.inf][:1]
                members = kept
            others = sorted(everybody, key=lambda member: member.best)
            for member in (*members, *others):  # until the referee stops them; the others where the best have ended
                member.finish()
            for member in others:  # nobody else spends what these may not
                member.most_samples = math.inf
                member.finish()
        finally:
            for member in everybody:
                member.dismiss()

    def _made(self, referee: Referee, seed: int) -> list[_Member]:
        """The members, none of which has begun."""
        names, fitted = _names(self.members), _names(self.fitted)
        capped = set(fitted) if set(names).difference(fitted) else set()
        seeds = np.random.SeedSequence(seed).generate_state(len(names))
        members = [
            _Member(name, referee, int(own), self.fitted_samples if name in capped else math.inf)
            for name, own in zip(names, seeds, strict=True)
        ]
        kinds = {type(member.agent) for member in members}
        if not members or len(kinds) < len(members) or Portfolio in kinds:
            given = literal(self.members)
            raise DsegymError(f"A portfolio's members are different agents, none a portfolio; given: {given}.")
        for name, member in zip(names, members, strict=True):
            require_libraries("agent", name, member.agent.libraries)
        return members


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


class _Member:
    """An agent that searches with a share of the budget, and stands still until it is given another.

    It runs in a thread of its own, never beside another: whoever gives it a share waits until it is spent.
    """

    def __init__(self, name: str, referee: Referee, seed: int, most_samples: float):
        self.best = (True, math.inf)  # of its samples: whether infeasible, and the objective
        self.most_samples = most_samples  # in all
        self.ended = False
        self.agent = make_agent(name, _ALL_RULES.get(name))
        self._referee, self._seed = referee, seed
        self._spent, self._allowance, self._dismissed = 0, 0.0, False  # samples, and those of its share that are left
        self._error: BaseException | None = None
        self._go, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def search_on(self, samples: float) -> None:
        """Searches until so many samples more are spent, it had all that it may have, or it ends.

        Raises: what the referee raises, `BudgetExhausted` among them, and what the agent raises of its own.
        """
        if self.ended or self.has_all:
            return
        self._allowance = min(samples, self.most_samples - self._spent)
        if not self._thread.ident:
            self._thread.start()
        else:
            self._go.release()
        self._stands.acquire()
        if self._error is not None and not self._dismissed:
            raise self._error

    @property
    def has_all(self) -> bool:
        """Whether it had all samples that it may have."""
        return self._spent >= self.most_samples

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
            self.agent.search(Referee.of(self._ask, self._referee.space, self._referee.budget), self._seed)
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
            raise DsegymError(f"{self.agent.name} plays episodes; a portfolio's members cost designs.")
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
