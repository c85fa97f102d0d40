"""JAX's own search for NaNs finds none in the SoC families, also where a platform's power is unknown."""

import jax
import numpy as np
import pytest

from dsegym.envs.core.scenarios import make_problem


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["dsegym/SocSchedulingStatic-v0", "dsegym/SocSchedulingStream-v0"])
@pytest.mark.parametrize("platform", ["own", "multiple_bal"])
def test_jax_finds_no_nan(scenario, platform):
    options = {"jobs": "top", "count": 10} if "Stream" in scenario else {}
    if platform != "own":
        options = {"jobs": "wifi", "count": 10} if "Stream" in scenario else {"graph": "wifi_tx"}
    with jax.debug_nans(True):
        problem = make_problem(scenario, **options)
        designs = problem.space.sample(np.random.default_rng(0), 8)
        for found in (problem.evaluate(designs), problem.evaluate_held_out(designs)):
            for leaf in jax.tree.leaves(found):
                assert not np.isnan(leaf).any()
