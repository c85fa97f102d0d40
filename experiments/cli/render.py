"""`dsegym render`: a design as a picture, or an episode as a film."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...costmodels.errors import DsegymError, shortened, visible
from .arguments import (
    BaselineOption,
    DesignOption,
    JsonOption,
    OptionsOption,
    ScenarioArgument,
    WorkloadOption,
    options_of,
)
from .cost import values_of
from .documents import print_json
from .tables import say, terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from ...envs.core.problem import Problem

__all__ = ["render"]

PICTURE, FILM = ".png", ".gif"
_OF_FILMS = ("form", "seed", "frames", "rate")  # options
_LAST_S = 2.0  # how long the last frame of a film stands


def render(
    context: typer.Context,
    scenario: ScenarioArgument,
    output: Annotated[Path, typer.Option("--output", help="A .png file for a design, a .gif file for an episode.")],
    design: DesignOption = "",
    baseline: BaselineOption = "",
    option: OptionsOption = None,
    workload: WorkloadOption = None,
    form: Annotated[
        str | None, typer.Option(help="Of the episode; the first that says which actions follow a design if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the episode.")] = 0,
    frames: Annotated[int, typer.Option(min=2, max=1000, help="Of the film at most, spread over its steps.")] = 60,
    rate: Annotated[float, typer.Option(min=0.1, max=50.0, help="Frames a second.")] = 4.0,
    as_json: JsonOption = False,
) -> None:
    """Draw a design as a picture, or the episode in which it is made or played as a film.

    Example: `dsegym render dsegym/MemoryAllocation-v0 --output packing.png`

    An episode: `dsegym render dsegym/MemoryAllocation-v0 --output packing.gif`
    """
    from PIL import Image

    from ...envs.core.scenarios import make_problem
    from ...envs.faces.raster import draw
    from ..door import check_writable, write_by_rename

    kind = output.suffix.lower()
    if kind not in (PICTURE, FILM):
        raise DsegymError(f"--output is a {PICTURE} file for a picture or a {FILM} file for a film, not '{output}'.")
    sources = {name: context.get_parameter_source(name) for name in _OF_FILMS}
    given = [f"--{name}" for name, source in sources.items() if source is not None and source.name != "DEFAULT"]
    if kind == PICTURE and given:
        raise DsegymError(f"{given[0]} is for a film, a {FILM} file; '{output}' is a picture of a design.")
    output.parent.mkdir(parents=True, exist_ok=True)
    check_writable(output)
    problem = make_problem(scenario, **options_of(option, workload))
    values, own = values_of(problem, design, baseline)
    chosen = problem.space.encode(values)
    if kind == PICTURE:
        pictures = [draw(problem.picture(chosen))]
    else:
        pictures = list(_film(problem, form, chosen, seed, frames))
    first, *rest = map(Image.fromarray, pictures)
    content = io.BytesIO()
    times_ms = [1000.0 / rate] * len(rest) + [1000.0 * _LAST_S]
    film: dict[str, Any] = {"save_all": True, "append_images": rest, "duration": times_ms, "loop": 0}
    first.save(content, kind[1:], **film if kind == FILM else {})
    write_by_rename(output, content.getvalue())
    if as_json:
        of_film = {"frames": len(pictures), "duration_s": sum(times_ms) / 1000.0} if kind == FILM else {}
        print_json(
            {
                "scenario": problem.scenario,
                "options": dict(problem.options),
                "design": problem.decode(chosen),
                "file": str(output),
                "kind": "film" if kind == FILM else "picture",
                **of_film,
            }
        )
        return
    what = "Picture" if kind == PICTURE else f"Film of {len(pictures)} frames"
    say(terminal(), visible(f"{what}: {output}"))
    say(terminal(), visible(_drawn(problem, own, baseline)))


def _drawn(problem: Problem, given: Mapping[str, str], baseline: str) -> str:
    """Which design was drawn, in words."""
    words = shortened(", ".join(f"{name}={value}" for name, value in given.items()), 200)
    start = baseline or problem.reference.name
    if not given:
        return f"Drawn: the design '{start}'."
    return f"Drawn: {words}" + f", the rest as in '{start}'" * (len(given) < len(problem.space)) + "."


def _film(problem: Problem, form: str | None, design: np.ndarray, seed: int, most: int) -> Iterator[np.ndarray]:
    """Frames uint8[H, W, 3] of the episode whose actions follow a design, the first and the last among them.

    Args:
        problem: the instance.
        form: the name of one; None for the first that says which actions follow a design.
        design: int32[n].
        seed: of the episode.
        most: frames, spread over the steps.

    Raises:
        DsegymError: the form, or every form, has no actions that follow a design.
    """
    import numpy as np

    from ...envs.faces.gymnasium_env import FunctionalGymnasiumEnv

    played = _form_of(problem, form)
    env, params = FunctionalGymnasiumEnv(problem, played, render_mode="rgb_array"), problem.env_params(played)
    actions: list[Any] = []
    env.reset(seed=seed)
    over = False
    while not over:
        actions.append(np.asarray(env.functional.decide(design, env.state, params)))
        over = env.step(actions[-1])[2]
    shown = set(np.linspace(0, len(actions), min(most, len(actions) + 1)).round().astype(int).tolist())
    env.reset(seed=seed)
    for step in range(len(actions) + 1):
        if step:
            env.step(actions[step - 1])
        if step in shown:
            frame = env.render()
            assert frame is not None
            yield frame


def _form_of(problem: Problem, form: str | None) -> str:
    """The form of an episode, the first with more than one step that says which actions follow a design."""
    from ...envs.core.functional import FunctionalEnv

    def follows(name: str) -> bool:
        return type(problem.functional_env(name)).decide is not FunctionalEnv.decide

    if form is not None:
        problem.functional_env(form)  # which names the forms if it is none
    found = [name for name in problem.forms if follows(name)]
    longest = [name for name in found if problem.functional_env(name).horizon > 1]
    if form is None and found:
        return (longest or found)[0]
    if form is None or form not in found:
        which = f"the form '{form}'" if form else "any form"
        others = f"; those that are: {', '.join(found)}" if found else ""
        raise DsegymError(
            f"{problem.scenario} does not say which actions follow a design in {which}, so that there is no film"
            f"{others}. A picture of the design is a {PICTURE} file."
        )
    return form
