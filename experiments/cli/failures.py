"""How a command ends that cannot do what it was asked: one sentence and an exit code."""

from __future__ import annotations

import os
import sys

from ...costmodels.errors import DsegymError, shortened

__all__ = ["Stop", "failure_of"]


_NO_MEMORY = "The memory does not suffice for what was asked. What was finished is kept"


class Stop(Exception):
    """Ends the command with one sentence and an exit code."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


def failure_of(error: BaseException) -> Stop:
    """What the user reads of an error, ours or the system's, in one sentence; anything else is a bug and is raised."""
    match error:
        case Stop():
            return error
        case DsegymError():
            return Stop(str(error), 2)
        case KeyboardInterrupt():
            return Stop("Interrupted.", 130)
        case ImportError():
            return Stop(f"{error}. The agents' libraries come with: pip install 'dsegym[agents]'.", 1)
        case MemoryError():
            return Stop(f"{_NO_MEMORY}.", 1)
        case RuntimeError() if "RESOURCE_EXHAUSTED" in str(error):  # JAX's, on the host or an accelerator
            return Stop(f"{_NO_MEMORY}: {shortened(str(error).partition('RESOURCE_EXHAUSTED:')[2].strip(), 200)}", 1)
        case ValueError() if "for environment 'JAX_" in str(error):
            return Stop(f"JAX does not start: {error}.", 1)
        case AssertionError() | RuntimeError() if _no_device():
            reason = " ".join(str(error).split()) or "no device of its kind is there"
            return Stop(f"JAX cannot start on JAX_PLATFORMS={os.environ['JAX_PLATFORMS']}: {reason}", 1)
        case OSError():
            place = f" '{error.filename}'" if error.filename else ""
            return Stop(f"The system refused{place}: {error.strerror or error}. What was finished is kept.", 1)
    raise error


def _no_device() -> bool:
    """Whether JAX cannot start on the platform that the environment asks for; its own errors do not say so."""
    if not os.environ.get("JAX_PLATFORMS") or "jax" not in sys.modules:
        return False
    try:
        sys.modules["jax"].devices()
    except (AssertionError, RuntimeError):
        return True
    return False
