"""Forks: a process that was forked when JAX already ran would wait for ever for threads that it does not have.

Gymnasium's asynchronous vector environment, stable-baselines3's `SubprocVecEnv(start_method="fork")` and Python's own
pools fork on Linux. A fork before JAX has started works. Importing this module imports no JAX.
"""

from __future__ import annotations

import os
import sys

from ...costmodels.errors import ForkedError

__all__ = ["refuse_after_fork"]

_forked_under_jax = False


def _note_in_child() -> None:
    global _forked_under_jax
    bridge = sys.modules.get("jax._src.xla_bridge")  # JAX's public names do not tell whether it runs
    started = getattr(bridge, "backends_are_initialized", lambda: True)
    _forked_under_jax = bridge is not None and started()


if hasattr(os, "register_at_fork"):  # systems without forks have no such function
    os.register_at_fork(after_in_child=_note_in_child)


def refuse_after_fork() -> None:
    """Called where a process first asks something of JAX.

    Raises:
        ForkedError: JAX had started before this process was forked; names the remedies.
    """
    if _forked_under_jax:
        raise ForkedError(
            "This process was forked after JAX had started, in which JAX waits for ever: start it by 'spawn' "
            "(gymnasium.make_vec(..., vector_kwargs={'context': 'spawn'}), SubprocVecEnv(..., start_method='spawn'), "
            "multiprocessing.get_context('spawn')), or leave vectorization_mode out: one process with many lanes is "
            "faster."
        )
