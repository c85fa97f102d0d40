"""Warm starts: a search that begins with designs that are known from elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..costmodels.errors import DsegymError
from ..envs.core.spaces import DesignSpace
from .base import Agent
from .heuristic import ALL
from .referee import Referee
from .registry import check_libraries, load_agent, make_agent

__all__ = ["WarmStart", "designs_of", "designs_text"]

_START = "warm_start"  # the baseline that the base agent starts from


def designs_text(designs: Iterable[Iterable[int]]) -> str:
    """Designs, int[n] each, as the hyperparameter `designs` has them: `3 0 1; 2 2 1`."""
    return "; ".join(" ".join(str(int(index)) for index in design) for design in designs)


def designs_of(space: DesignSpace, text: str, agent: str) -> list[list[int]]:
    """The inverse of `designs_text`.

    Args:
        space: of the designs.
        text: the hyperparameter.
        agent: whose it is, for errors.

    Raises:
        DsegymError: a design is none of this space.
    """
    rows, found = [row.split() for row in text.split(";") if row.strip()], []
    for number, row in enumerate(rows, 1):
        if not all(word.isascii() and word.isdecimal() for word in row):
            raise DsegymError(f"{agent}: design {number} of {len(rows)} is not whole numbers and spaces.")
        design = [int(word) for word in row]
        if len(design) != len(space) or (np.array(design, object) >= space.cardinalities).any():
            raise DsegymError(
                f"{agent}: design {number} of {len(rows)} is none of this space: it has {len(design)} "
                f"parameters where the space has {len(space)}, or an index that its parameter does not have."
            )
        found.append(design)
    return found


@dataclass(frozen=True)
class WarmStart(Agent):
    """Costs designs that are known, then starts another agent from the best of them. Each is a sample, and the start
    itself is one again.

    The designs stand in the trial, so that its manifest tells what it began with. Those of other instances' results and
    of trained policies are made by `dsegym.experiments.warm_start`.

    Attributes:
        base: the agent that goes on, at its defaults; one that has the hyperparameter `start`.
        rules: names of baselines, separated by commas, that are costed first; `all`, or empty for none.
        designs: that are costed then, as `designs_text` writes them.
        source: where they come from, for whoever reads the manifest.
    """

    base: str = "hill_climb"
    rules: str = ALL
    designs: str = ""
    source: str = ""

    name = "warm_start"
    summary = "a search that starts from known designs: rules', other results', a policy's (after LLMTune's idea)"
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "base": (1, 200),
        "rules": (0, 1000),
        "designs": (0, 1_000_000),
        "source": (0, 1000),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Costs the designs, then searches until the base agent ends.

        Raises:
            UnknownNameError: there is no such base agent or baseline.
            DsegymError: the base agent takes no start, or a design is none of this space; before anything is spent.
        """
        check_libraries(self.base)
        kind = load_agent(self.base)
        if "start" not in {field.name for field in dataclasses.fields(kind)}:  # pyright: ignore[reportArgumentType]
            raise DsegymError(f"warm_start: {self.base} has no hyperparameter `start`, so it cannot go on from one.")
        known = [*self._of_rules(referee), *designs_of(referee.space, self.designs, self.name)]
        if not known:
            raise DsegymError("warm_start has nothing to start from: give rules, designs, or both.")
        designs = np.array(list({tuple(design): None for design in known}), np.int32)
        found = referee.evaluate(designs)
        worth = np.nan_to_num(np.asarray(found.objective, np.float64), nan=np.inf)
        best = designs[np.lexsort((worth, ~np.asarray(found.feasible)))[0]]

        def ask(*question: Any) -> Any:
            return best.copy() if question == ("baseline", _START) else referee._ask(*question)

        make_agent(self.base, {"start": _START}).search(Referee.of(ask, referee.space, referee.budget), seed)

    def _of_rules(self, referee: Referee) -> list[list[int]]:
        every = self.rules == ALL and ALL not in referee.baselines
        names = referee.baselines if every else [name.strip() for name in self.rules.split(",") if name.strip()]
        return [referee.baseline(name).tolist() for name in names]
