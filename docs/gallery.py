"""The gallery: one page a scenario, made of what the scenario itself says when the site is built.

`make docs` writes the pages into `docs/gallery/`, which git ignores, and keeps what it has measured of each scenario
beside the built site, by a hash of all sources that it depends on: a second build computes nothing again.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

import dsegym
from dsegym.envs.core.options import PERMUTATION, UNIVERSAL, Option
from dsegym.envs.core.problem import Problem
from dsegym.envs.core.scenarios import BUILT_IN, load_scenario, make_problem, scenario_module
from dsegym.experiments import formats
from dsegym.experiments.formats import format_exact

PACKAGE = Path(dsegym.__file__).parent
DOMAINS = {  # a folder of `envs/`, as the gallery's headings have it; others are called as their folder is
    "accelerator": "Accelerators",
    "memory": "Memory on a chip",
    "soc": "Scheduling on a chip",
    "serving": "Serving language models",
    "training": "Training language models",
    "offload": "Models larger than the memory",
    "reasoning": "Test-time compute",
}
WORDS = "Objective|Reward|Observation|Termination|Action|Episode"  # that a docstring begins a line on its rules with
LONG = 24  # rows of a table that are shown; a longer one says how many more there are
SHOWN_VALUES = 8  # of a parameter with more
SHOWN_NAMES, FEW = 16, 4  # of an option that has more than a few beyond these; `dsegym info` lists all
MOST_BARS = 30  # parameters that a picture of bars has room for

Row = Mapping[str, object]


# --- What a scenario says --------------------------------------------------------------------------------------------


def facts_of(scenario_id: str) -> dict[str, Any]:
    """All that a page shows of a scenario and of its default instance: what JSON holds, or text stands for."""
    scenario, problem = load_scenario(scenario_id), make_problem(scenario_id)
    options = {**scenario.options, PERMUTATION: UNIVERSAL}
    return {
        "id": scenario_id,
        "summary": scenario.summary,
        "text": (sys.modules[scenario_module(scenario_id)].__doc__ or "").partition("\n")[2].strip("\n"),
        "options": [
            {
                "option": f"`{name}`",
                "default": _code(option.text(option.default)),
                "allowed": _allowed(option),
                "unit": option.unit,
                "what": option.summary,
            }
            for name, option in options.items()
        ],
        "size": problem.space.size,
        "parameters": [
            {"parameter": f"`{p.name}`", "values": _values(p.values), "unit": p.unit, "what": p.summary}
            for p in problem.space.parameters
        ],
        "objective": {
            "name": problem.objective.name,
            "unit": problem.objective.unit,
            "what": problem.objective.summary,
            "held_out": problem.held_out_params is not None,
        },
        "yardsticks": [
            {"yardstick": role, "name": f"`{found.name}`", "value": format_exact(found.value), "source": found.source}
            for role, found in (("reference", problem.reference), ("bound", problem.bound))
        ],
        "baselines": _baseline_rows(problem),
        "forms": [
            {
                "form": f"`{form}`" + " (default)" * (place == 0),
                "action": _space(env.action_space),
                "observation": _space(env.observation_space),
            }
            for place, (form, env) in enumerate((form, problem.functional_env(form)) for form in problem.forms)
        ],
        "features": [
            {
                "feature": f"`{feature.name}`",
                "shape": str(list(feature.shape)),
                "from": feature.low,
                "to": feature.high,
                "what": feature.meaning,
            }
            for feature in problem.functional_env().features
        ],
        "tables": [[title, [dict(row) for row in rows]] for title, rows in scenario.facts()],
        "notes": list(problem.notes),
    }


def picture_of(scenario_id: str) -> tuple[np.ndarray, str] | None:
    """A design of the default instance as pixels, uint8[H, W, 3], and whose it is: the optimum's, or that of the best
    baseline. None where there is no design, or where a bar for each of many parameters would be all there is to see.
    """
    from dsegym.envs.faces.raster import draw

    problem = make_problem(scenario_id)
    if problem.diagram is None and len(problem.space) > MOST_BARS:
        return None
    designs = {found.name: found.design for found in (problem.bound, problem.reference) if found.design is not None}
    designs |= {name: design() for name, design in problem.baselines.items()}
    if not designs:
        return None
    name = problem.bound.name
    if name not in designs:
        found = problem.evaluate_held_out(np.stack([np.asarray(design, np.int32) for design in designs.values()]))
        name = list(designs)[int(np.argmin(np.where(found.feasible, found.objective, np.inf)))]
    return draw(problem.picture(np.asarray(designs[name], np.int32))), name


def _baseline_rows(problem: Problem) -> list[dict[str, object]]:
    """What each heuristic's design costs, as scores are taken."""
    if not problem.baselines:
        return []
    designs = np.stack([np.asarray(design(), np.int32) for design in problem.baselines.values()])
    found = problem.evaluate_held_out(designs)
    return [
        {
            "baseline": f"`{name}`",
            "objective": format_exact(float(objective)),
            "over the reference's": f"{objective / problem.reference.value:.3f}",
            "feasible": "yes" if feasible else "no",
        }
        for name, objective, feasible in zip(problem.baselines, found.objective, found.feasible, strict=True)
    ]


def _allowed(option: Option) -> str:
    """What an option takes, in words."""
    names = list(dict.fromkeys((*option.values(), *option.words)))
    cut = len(names) > SHOWN_NAMES + FEW
    named = [_code(name) for name in (names[:SHOWN_NAMES] if cut else names)]
    rest = [f"... ({len(names)} in all)"] * cut + [option.also] * bool(option.also)
    return ", ".join([*named, *rest])


def _values(values: Sequence[object]) -> str:
    shown = [*values[: SHOWN_VALUES - 2], "...", values[-1]] if len(values) > SHOWN_VALUES else values
    return ", ".join(map(str, shown))


def _space(space: spaces.Space[Any]) -> str:
    if isinstance(space, spaces.Dict):
        return ", ".join(f"{name}: {_space(part)}" for name, part in space.spaces.items())
    if isinstance(space, spaces.MultiDiscrete):
        sizes = space.nvec.ravel().tolist()
        return f"MultiDiscrete of {len(sizes)} choices, {min(sizes)} to {max(sizes)} each"
    if isinstance(space, spaces.Discrete):
        return f"Discrete({space.n})"
    return f"{space.dtype}{list(space.shape or ())}"


# --- The pages -------------------------------------------------------------------------------------------------------


def slug(scenario_id: str) -> str:
    """The name of a scenario's page: `accelerator_sizing` of dsegym/AcceleratorSizing-v0."""
    name = re.sub(r"-v\d+$", "", scenario_id.partition("/")[2])
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def title_of(scenario_id: str) -> str:
    """The heading of a scenario's page: `AcceleratorSizing` of dsegym/AcceleratorSizing-v0."""
    return scenario_id.partition("/")[2].rpartition("-")[0]


def domain_of(scenario_id: str) -> str:
    """The heading under which the gallery shows a scenario: that of its folder in `envs/`."""
    folder = scenario_module(scenario_id).split(".")[-2]
    return DOMAINS.get(folder, folder.replace("_", " ").capitalize())


def cell(value: object) -> str:
    """A value as a cell of a Markdown table."""
    text = value if isinstance(value, str) else format_exact(value) if isinstance(value, int | float) else str(value)
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;") or "-"


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table, cut after `LONG` rows; empty where there are none."""
    if not rows:
        return ""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(map(cell, names))} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(cell(row.get(name, '')) for name in names)} |" for row in rows[:LONG]]
    more = f"\n\n... and {len(rows) - LONG:,} more." if len(rows) > LONG else ""
    return "\n".join(lines) + more


def truth_rows(text: str) -> dict[str, dict[str, str]]:
    """{scenario's id: its row} of the tables of docs/truth.md that have a column `scenario`."""
    found: dict[str, dict[str, str]] = {}
    names: list[str] | None = None
    for line in text.splitlines():
        if not line.startswith("|"):
            names = None
            continue
        cells = [part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]]
        if names is None:
            names = cells
        elif names[0] == "scenario" and not set(line) <= set("|- "):
            found[f"dsegym/{re.sub(r'[^A-Za-z0-9-]', '', cells[0].partition(']')[0])}"] = dict(
                zip(names, cells, strict=True)
            )
    return found


def page_of(facts: Mapping[str, Any], truth: Mapping[str, str] | None, picture: str | None, designer: str) -> str:
    """A scenario's page.

    Args:
        facts: as `facts_of` gives them.
        truth: the scenario's row of docs/truth.md, if any.
        picture: the file name of its picture, if any.
        designer: whose design the picture shows.
    """
    name, objective, size = facts["id"], facts["objective"], facts["size"]
    unit = f" [{objective['unit']}]" if objective["unit"] else ""
    cases = " Designs are searched on some cases and scored on others, held out." if objective["held_out"] else ""
    count = f"{size:,}" if size < 10**12 else f"about 10^{len(str(size)) - 1}"
    baselines = facts["baselines"]
    parts = [
        f"# {title_of(name)}",
        f"`{name}`: {facts['summary']}",
        f"![A design of {name}]({picture})\n\n*The design of `{designer}` on the default instance.*" if picture else "",
        f'```python\nimport gymnasium\nimport dsegym\n\nenv = gymnasium.make("{name}")\n'
        f'problem = dsegym.make_problem("{name}")\n```',
        "## How far to trust it",
        _truth(truth),
        "\n".join(
            ["Of the default instance:\n", *(f"- {cell(note)}" for note in facts["notes"])] * bool(facts["notes"])
        ),
        "## The game",
        _linked(facts["text"]),
        f"## Options\n\n{table(facts['options'])}",
        f"## Design space\n\n{count} designs of the default instance.\n\n{table(facts['parameters'])}",
        f"## Objective and yardsticks\n\nMinimised: {cell(objective['name'])}{unit}, {cell(objective['what'])}.{cases}",
        table(facts["yardsticks"]),
        f"## Baselines\n\n{table(baselines)}" if baselines else "",
        f"## Forms\n\n{table(facts['forms'])}",
        f"## Observation of the default form\n\n{table(facts['features'])}",
        *(f"## {title[:1].upper()}{title[1:]}\n\n{table(rows)}" for title, rows in facts["tables"] if rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _truth(row: Mapping[str, str] | None) -> str:
    if row is None:
        return "No row of [What is true](../truth.md) is about this scenario yet."
    page = re.search(r"\(([\w./#-]+)\)", row["scenario"])
    lines = [f"- **{name.capitalize()}**: {_up(text)}" for name, text in row.items() if name != "scenario" and text]
    more = f"[The page of this model](../{page[1]}) has the rules, and every check." if page else ""
    return "\n".join([*lines, f"\n{more} [What is true](../truth.md) has all models."])


def _up(text: str) -> str:
    """A cell of a page of docs/ with its links as a folder below has them."""
    return re.sub(r"\]\((?!\w+:|#)", "](../", text)


def _code(text: str) -> str:
    return f"`{text}`" if text else "(empty)"


def _linked(text: str) -> str:
    """A module's docstring as Markdown: what it says of rewards and the like as a list, its example as a block of its
    own, mentions of pages as links.
    """
    text = re.sub(r"`?docs/(\w+)\.md`?", r"[\1](../\1.md)", text)
    text = re.sub(rf"^({WORDS})s?\b[^:\n]{{0,40}}:", r"* \g<0>", text, flags=re.MULTILINE)
    return re.sub(
        r"^    >>> (?:.*\n?)(?:    .*\n?|\n(?=    ))*",
        lambda found: f"```pycon\n{textwrap.dedent(found[0]).rstrip()}\n```\n",
        text,
        flags=re.MULTILINE,
    )


def index_of(entries: Sequence[tuple[str, str, str | None]]) -> str:
    """The gallery's front page.

    Args:
        entries: (scenario's id, summary, the file name of its picture if any).
    """
    parts = [
        "# Gallery",
        "Every scenario that `dsegym list` knows, with its options, spaces, baselines, yardsticks and truth. These"
        " pages are made from the scenarios themselves whenever the site is built.",
    ]
    for domain in dict.fromkeys([*DOMAINS.values(), *(domain_of(name) for name, _, _ in entries)]):
        cards = [
            f":::{{grid-item-card}} {title_of(name)}\n:link: {slug(name)}\n:link-type: doc\n"
            + (f":img-top: {picture}\n:img-alt: A design of {name}\n" if picture else "")
            + f"\n{cell(summary)}\n:::"
            for name, summary, picture in entries
            if domain_of(name) == domain
        ]
        if cards:
            parts += [f"## {domain}", "::::{grid} 1 2 2 3\n:gutter: 3\n\n" + "\n\n".join(cards) + "\n::::"]
    names = "\n".join(f"{title_of(name)} <{slug(name)}>" for name, _, _ in entries)
    return "\n\n".join(parts) + f"\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"


# --- The folder ------------------------------------------------------------------------------------------------------


def sources_digest() -> str:
    """A hash of every source and table of the package that a page is made of, and of this file."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + Path(formats.__file__).read_bytes())
    for folder in ("costmodels", "envs"):
        for path in sorted((PACKAGE / folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(str(path.relative_to(PACKAGE)).encode() + path.read_bytes())
    return digest.hexdigest()


def write(folder: Path, kept: Path, say: Callable[[str], None] = print) -> None:
    """Writes the gallery.

    Args:
        folder: where its pages and pictures go, below docs/.
        kept: where what was measured is kept between builds.
        say: tells what is being measured.
    """
    from PIL import Image

    digest, truth = sources_digest(), truth_rows((PACKAGE / "docs" / "truth.md").read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    kept.mkdir(parents=True, exist_ok=True)
    entries = []
    for name in sorted(BUILT_IN):
        memory, picture = kept / f"{slug(name)}.json", folder / f"{slug(name)}.png"
        held = json.loads(memory.read_text(encoding="utf-8")) if memory.exists() else {}
        if held.get("digest") != digest or (held["designer"] and not picture.exists()):
            say(f"gallery: {name}")
            drawn = picture_of(name)
            if drawn is not None:
                Image.fromarray(drawn[0]).quantize(64).save(picture, optimize=True)
            measured = {"digest": digest, "designer": drawn[1] if drawn else "", "facts": facts_of(name)}
            kept_text = json.dumps(measured, default=str)
            memory.write_text(kept_text, encoding="utf-8")
            held = json.loads(kept_text)  # a page is the same whether its facts were kept or measured
        shown = picture.name if held["designer"] else None
        text = page_of(held["facts"], truth.get(name), shown, held["designer"])
        write_changed(folder / f"{slug(name)}.md", text)
        entries.append((name, held["facts"]["summary"], shown))
    write_changed(folder / "index.md", index_of(entries))


def write_changed(path: Path, text: str) -> None:
    """Writes a file, and its folder, if it would change, so that an unchanged page is not built again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
