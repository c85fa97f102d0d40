"""Environment steps a second: the single environment against CartPole, the vector one against a bare `lax.scan`."""

from __future__ import annotations

import gymnasium
import jax
import numpy as np
from timing import median_seconds, paired_seconds, report

import dsegym
from dsegym.envs.core.stepping import lane_keys, reset_lanes, step_lanes
from dsegym.envs.faces.vector_env import FunctionalVectorEnv

SCENARIO = "dsegym/AcceleratorSizing-v0"
LANES, STEPS, SINGLE_STEPS = 1024, 64, 1000


def single_rate(env: gymnasium.Env) -> float:
    """Steps a second of one environment under random actions drawn beforehand, resets included."""
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(SINGLE_STEPS)]

    def episode() -> None:
        env.reset(seed=0)
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return SINGLE_STEPS / median_seconds(episode, repeats=7, warm_up=1)


def vector_rates(form: str) -> tuple[float, float, float]:
    """Lane-steps a second of the vector environment and of a bare scan of the same batched step, and their ratio.

    Both compute observations, rewards, ends and infos of every step; the scan never leaves the compiled program.
    """
    env = FunctionalVectorEnv(dsegym.make_problem(SCENARIO), LANES, form)
    env.action_space.seed(0)
    actions = np.stack([env.action_space.sample() for _ in range(STEPS)]).astype(np.int32)
    params = env.problem.env_params(form)  # NumPy, so that they are constants of the program, as in the environment
    env.reset(seed=0)

    def through_env() -> None:
        for action in actions:
            env.step(action)

    @jax.jit
    def scan(carry, script):
        return jax.lax.scan(lambda lanes, action: step_lanes(env.functional, lanes, action, params), carry, script)

    start, _, _ = reset_lanes(env.functional, lane_keys(range(LANES)), params)
    script = jax.device_put(actions)
    env_seconds, scan_seconds, ratio = paired_seconds(through_env, lambda: jax.block_until_ready(scan(start, script)))
    return LANES * STEPS / env_seconds, LANES * STEPS / scan_seconds, ratio


def main() -> None:
    """Prints the table."""
    print("Environments: steps a second")
    cartpole = single_rate(gymnasium.make("CartPole-v1"))
    report("CartPole-v1, plain Gymnasium, one environment", f"{cartpole:,.0f}")
    for name, form in ((SCENARIO, "parametric"), (SCENARIO, "sequential"), ("dsegym/SleepTime-v0", "decisions")):
        ours, short = single_rate(gymnasium.make(name, form=form)), name.removeprefix("dsegym/")
        report(f"{short}, {form}, one environment", f"{ours:,.0f}")
        report(f"ratio to CartPole, {short}, {form}", f"{ours / cartpole:.3f}", "0.2 where the compiled call allows")
    for form in ("parametric", "sequential"):
        env, scan, ratio = vector_rates(form)
        report(f"AcceleratorSizing, {form}, vector environment, {LANES} lanes", f"{env:,.0f}")
        report(f"the same transitions in a bare lax.scan, {form}", f"{scan:,.0f}")
        report(f"ratio of the vector environment to the bare scan, {form}", f"{ratio:.2f}", "at least 0.50")


if __name__ == "__main__":
    main()
