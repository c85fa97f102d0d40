"""A search for fronts: several costs at once by Gaussian processes of BoTorch, in batches (qLogNEHVI)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..envs.core.evaluation import LEAST_OBJECTIVE
from .discrete_processes import encoding, lengths_of, most_promising, process
from .referee import Referee
from .several_costs import SeveralCosts, costs_in, names_of
from .torch_training import one_thread

if TYPE_CHECKING:
    from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
    from botorch.models import SingleTaskGP
    from torch import Tensor

    from ..envs.core.spaces import DesignSpace

__all__ = ["NoisyExpectedHypervolume"]

_GROWTH = 1.25  # of the known designs, after which the kernels' lengths are fitted anew
_DRAWS = 16  # of the processes, over which the acquisition means
_EFFORT = {"pool_size": 200, "beginnings": 4, "neighbours": 20}  # of the local search, whose acquisition is slow
_AT_ONCE = 128  # designs whose acquisition is computed at once: bounds the memory


@dataclass(frozen=True)
class NoisyExpectedHypervolume(SeveralCosts):
    """The logarithm of the noisy expected hypervolume improvement (qNEHVI: Daulton, Balandat and Bakshy, NeurIPS 2021;
    logarithms: Ament et al., NeurIPS 2023), BoTorch's, of a batch chosen design by design, each given those before it.

    A process for each cost's logarithm and, once a design has been infeasible, one for the violation, with the kernel
    of the agent `trust_region`. The acquisition is maximised by local search over the whole space around designs of the
    front. The noise is what the processes do not know of costed designs; the costs themselves have none.

    Attributes:
        startup_samples: random designs before the first model.
        batch: designs costed for each fit.
        training: known designs from which the processes learn at most: the front's, and the newest.
    """

    startup_samples: int = 20
    batch: int = 4
    training: int = 128

    name = "noisy_hypervolume"
    summary = "Bayesian optimisation of fronts in batches by the noisy expected hypervolume (BoTorch qLogNEHVI)"
    libraries = ("botorch", "gpytorch", "torch")
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "startup_samples": (10, 20, 50),
        "batch": (1, 4, 8),
        "training": (64, 128, 256),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "startup_samples": (2, 100_000),
        "batch": (1, 1000),
        "training": (2, 5000),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Searches until the budget is spent, or every design has been costed.

        Raises:
            UnknownNameError: the problem has no baseline of the name `start`, or not a cost that `metrics` names.
        """
        import torch

        names, space, generator = names_of(referee, self.metrics), referee.space, np.random.default_rng(seed)
        known, lengths, fitted = _Known(space, len(names)), dict[int, Mapping[str, Any]](), 0
        coding = encoding(space)

        def cost(designs: np.ndarray) -> None:
            found = referee.evaluate(designs)
            known.add(designs, costs_in(found, names), np.asarray(found.violation, float))

        first, start = space.sample(generator, self.startup_samples), self.start_design(referee)
        if start is not None:
            first[0] = start
        cost(first)
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # of fits that begin anew, which draw from torch's own generator
            while len(known.seen) < space.size:
                chosen = known.chosen(self.training)
                targets, features = known.targets(chosen), coding.encode(known.designs[chosen])
                fit = len(chosen) >= _GROWTH * fitted or len(lengths) != len(targets)
                models = [
                    process(features, values, coding, lengths=lengths.get(place), fit=fit)
                    for place, values in enumerate(targets)
                ]
                if fit:
                    fitted, lengths = len(chosen), {place: lengths_of(model) for place, model in enumerate(models)}
                gain = _acquisition(models, known.gains(chosen), features, int(generator.integers(2**31)))
                cost(self._batch(space, known, coding.encode, gain, generator))

    def _batch(
        self,
        space: DesignSpace,
        known: _Known,
        encode: Callable[[np.ndarray], Tensor],
        gain: qLogNoisyExpectedHypervolumeImprovement,
        generator: np.random.Generator,
    ) -> np.ndarray:
        """int32[B, n], fewer than `batch` where no others are unknown; at least one random design."""
        import torch

        def promise(designs: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                parts = [gain(part[:, None]).numpy() for part in encode(designs).split(_AT_ONCE)]
            return np.nan_to_num(np.concatenate(parts), nan=-np.inf)

        chosen: list[np.ndarray] = []
        for _ in range(self.batch):
            centre = known.designs[generator.choice(known.front)]
            design = most_promising(space, centre, 1.0, promise, known.seen, generator, **_EFFORT)
            if design is None:
                break
            chosen.append(design)
            known.seen.add(design.tobytes())
            gain.set_X_pending(encode(np.array(chosen)))
        return np.array(chosen or space.sample(generator, 1), np.int32)


class _Known:
    """What designs cost. m costs; logarithms, so that costs of any unit count alike."""

    def __init__(self, space: DesignSpace, costs: int):
        self.designs, self.seen = np.zeros((0, len(space)), np.int32), set[bytes]()
        self._costs, self._violation = np.zeros((0, costs)), np.zeros(0)

    def add(self, designs: np.ndarray, costs: np.ndarray, violation: np.ndarray) -> None:
        """Adds designs int32[B, n], their costs float64[B, m] and how far the constraint is broken, float64[B]."""
        broken = ~np.all(np.isfinite(costs), axis=1)  # what is no number is as the worst, and breaks a constraint
        costs = np.where(broken[:, None], np.nan, np.log(np.maximum(costs, LEAST_OBJECTIVE)))
        violation = np.where(broken, 1.0, np.sign(violation) * np.log1p(abs(violation)))
        self.designs = np.concatenate([self.designs, designs])
        self._costs = np.concatenate([self._costs, costs])
        self._violation = np.append(self._violation, violation)
        self.seen.update(design.tobytes() for design in designs)

    @property
    def _filled(self) -> np.ndarray:
        """float64[S, m], without gaps."""
        worst = np.max(self._costs, axis=0, initial=-np.inf, where=np.isfinite(self._costs))
        return np.where(np.isnan(self._costs), np.where(np.isfinite(worst), worst, 0.0), self._costs)

    @property
    def front(self) -> np.ndarray:
        """Places of feasible designs that no other feasible one dominates; where none is feasible, the least broken."""
        import torch
        from botorch.utils.multi_objective.pareto import is_non_dominated

        feasible = np.flatnonzero(self._violation <= 0)
        if not len(feasible):
            return np.array([np.argmin(self._violation)])
        return feasible[is_non_dominated(torch.as_tensor(-self._costs[feasible])).numpy()]

    def chosen(self, count: int) -> np.ndarray:
        """Places of at most so many designs: the newest of the front, up to half of them, and the newest."""
        front = self.front[-(count // 2) :]
        newest = np.setdiff1d(np.arange(len(self.designs)), front)
        return np.sort(np.concatenate([front, newest[max(0, len(newest) - count + len(front)) :]]))

    def targets(self, chosen: np.ndarray) -> list[np.ndarray]:
        """What processes learn, float64[B] each: m logarithms and, where a design has broken it, the constraint."""
        violated = [self._violation[chosen]] if (self._violation[chosen] > 0).any() else []
        return [*self._filled[chosen].T, *violated]

    def gains(self, chosen: np.ndarray) -> np.ndarray:
        """float64[B, m] to maximise, of the feasible designs, or of all where there is none."""
        feasible = chosen[self._violation[chosen] <= 0]
        return -self._filled[feasible if len(feasible) else chosen]


def _acquisition(
    models: list[SingleTaskGP], gains: np.ndarray, features: Tensor, seed: int
) -> qLogNoisyExpectedHypervolumeImprovement:
    """BoTorch's, of encoded designs [B, 1, columns].

    Args:
        models: of the m costs' logarithms, and of the violation, if there is one.
        gains: float64[B, m] of designs, from which the reference point of the hypervolume is inferred.
        features: of the designs that are known.
        seed: of the draws.
    """
    import torch
    from botorch.acquisition.multi_objective import logei
    from botorch.acquisition.multi_objective.objective import GenericMCMultiOutputObjective
    from botorch.models import ModelListGP
    from botorch.sampling.normal import SobolQMCNormalSampler
    from botorch.utils.multi_objective.hypervolume import infer_reference_point

    count = gains.shape[1]
    values = torch.tensor(gains)
    # BoTorch would compile a kernel in C++ for this very processor, where there is a compiler, which takes minutes and
    # rounds otherwise: the same seed gives the same samples with or without a compiler.
    logei._load_attempted = True
    return logei.qLogNoisyExpectedHypervolumeImprovement(
        model=ModelListGP(*models),
        ref_point=infer_reference_point(values, scale=0.1).tolist(),
        X_baseline=features,
        sampler=SobolQMCNormalSampler(torch.Size([_DRAWS]), seed=seed),
        objective=GenericMCMultiOutputObjective(lambda found, *_, **__: -found[..., :count]),
        constraints=[lambda found: found[..., count]] if len(models) > count else None,
        prune_baseline=True,
        cache_root=False,
    )
