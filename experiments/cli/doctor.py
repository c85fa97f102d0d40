"""`dsegym doctor`: what is installed, on what it runs, and what to install for the rest."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from .arguments import JsonOption
from .documents import print_json
from .failures import Stop, failure_of
from .tables import say, table, terminal

__all__ = ["doctor"]

BASE = ""  # the extra of what always comes along


@dataclass(frozen=True)
class Library:
    """A distribution that the package asks for."""

    name: str
    extra: str  # with which it comes; BASE for what always does
    wanted: str  # versions, ">=1.2"; empty for any
    installed: str | None  # the version at hand
    fits: bool


def doctor(as_json: JsonOption = False) -> None:
    """Say which versions, devices and extras are at hand, and what to install for those that are not.

    Example: `dsegym doctor`

    The exit code is 1 where something that every command needs is missing or too old.
    """
    libraries = list(_libraries())
    extras = _extras(libraries)
    machine = _machine()
    broken = [each for each in libraries if each.extra == BASE and not each.fits]
    if as_json:
        report = {
            "machine": machine,
            "libraries": [each.__dict__ for each in libraries],
            "extras": {name: not lacking for name, lacking in extras.items()},
            "ready": not broken,
        }
        print_json(report)
    else:
        console = terminal()
        console.print(table("This machine", [{"what": name, "value": value} for name, value in machine.items()]))
        rows = [
            {
                "library": each.name,
                "installed": each.installed or "no",
                "wanted": each.wanted or "any",
                "comes with": each.extra or "dsegym",
            }
            for each in libraries
        ]
        console.print(table("Libraries", rows))
        for name, lacking in extras.items():
            if lacking:
                names = ", ".join(each.name for each in lacking)
                say(console, f"The extra {name} is not whole ({names}): pip install 'dsegym[{name}]'")
        whole = [name for name, lacking in extras.items() if not lacking]
        say(console, f"Whole: {', '.join(['dsegym'] * (not broken) + whole) or 'nothing'}.")
    if broken:
        said = ", ".join(f"{each.name} {each.wanted} ({each.installed or 'not installed'})" for each in broken)
        raise Stop(
            f"What every command needs is missing or too old: {said}. Install it: pip install --upgrade dsegym", 1
        )


def _libraries() -> Iterator[Library]:
    """What the package's own metadata ask for, extra by extra; a library stands with the first that brings it."""
    from packaging.requirements import Requirement

    requirements = [Requirement(text) for text in metadata.requires("dsegym") or ()]
    extras = metadata.metadata("dsegym").get_all("Provides-Extra") or []
    seen = set()
    for extra in (BASE, *extras):
        for requirement in requirements:
            applies = requirement.marker is None if extra == BASE else _is_of(requirement, extra)
            if not applies or requirement.name == "dsegym" or requirement.name in seen:
                continue
            seen.add(requirement.name)
            try:
                installed = metadata.version(requirement.name)
            except metadata.PackageNotFoundError:
                installed = None
            fits = installed is not None and requirement.specifier.contains(installed, prereleases=True)
            yield Library(requirement.name, extra, str(requirement.specifier), installed, fits)


def _is_of(requirement: Any, extra: str) -> bool:
    """Whether an extra itself names a requirement, which holds on this machine."""
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": BASE})


def _extras(libraries: list[Library]) -> dict[str, list[Library]]:
    """What each extra lacks, with the extras that it brings along."""
    from packaging.requirements import Requirement

    requirements = [Requirement(text) for text in metadata.requires("dsegym") or ()]
    by_name = {each.name: each for each in libraries}

    def names(extra: str) -> Iterator[str]:
        for requirement in requirements:
            if _is_of(requirement, extra):
                if requirement.name == "dsegym":
                    for each in requirement.extras:
                        yield from names(each)
                else:
                    yield requirement.name

    extras = metadata.metadata("dsegym").get_all("Provides-Extra") or []
    return {
        extra: [by_name[name] for name in dict.fromkeys(names(extra)) if not by_name[name].fits] for extra in extras
    }


def _machine() -> dict[str, str]:
    """Versions, processors, memory and JAX's devices, or the sentence that says why there are none."""
    import psutil

    memory = psutil.virtual_memory()
    found = {
        "dsegym": metadata.version("dsegym"),
        "Python": f"{platform.python_version()}, {sys.executable}",
        "system": platform.platform(),
        "processors": str(os.cpu_count()),
        "memory [GiB]": f"{memory.total / 2**30:.1f}, {memory.available / 2**30:.1f} free",
    }
    try:
        import jax

        found["devices of JAX"] = ", ".join(f"{each.platform} ({each.device_kind})" for each in jax.devices())
    except Exception as error:
        try:
            found["devices of JAX"] = f"none: {failure_of(error)}"
        except Exception:  # a bug of its own: what the doctor is asked about
            found["devices of JAX"] = f"none: {type(error).__name__}: {error}"
    found["platforms asked for (JAX_PLATFORMS)"] = os.environ.get("JAX_PLATFORMS") or "any"
    return found
