"""`dsegym train` and `dsegym evaluate`: policies that are trained on some instances, and scored on others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ...costmodels.errors import DsegymError, visible
from ..formats import counted
from .arguments import JsonOption, ScenarioArgument, pairs_of
from .documents import print_document, print_json
from .failures import Stop
from .tables import say, steps_bar, terminal

__all__ = ["evaluate_command", "train_command"]

CollectionOption = Annotated[
    str, typer.Option("--collection", help="A shipped collection's name, or the path of a .toml file.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="What everything is drawn from.")]


def train_command(
    scenario: ScenarioArgument,
    collection: CollectionOption,
    steps: Annotated[
        int, typer.Option("--steps", help="Of the environment, all lanes together; rounded up to whole updates.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The policy's directory; a training that was cut short resumes.")],
    agent: Annotated[str, typer.Option("--agent", help="A learner; see `dsegym list`.")] = "ppo",
    seed: SeedOption = 0,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter of the learner.")
    ] = None,
    starts_from: Annotated[
        Path | None,
        typer.Option(
            "--starts-from", help="A policy whose weights training goes on from, by imitation say.", show_default=False
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", help="A folder for TensorBoard's curves.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a policy on the training part of a collection.

    Example: `dsegym train dsegym/ReasoningCascade-v0 --collection cascade-budgets --steps 2000000 --out policies/mine`
    """
    from ..collection_files import find_collection
    from ..training import train_policy, training_of

    chosen = find_collection(collection)
    settings = pairs_of(setting or (), "a hyperparameter")
    training = training_of(scenario, agent, chosen, steps, seed, settings, starts_from)
    try:
        with _writer(tensorboard) as writer, steps_bar(agent) as update:
            policy = train_policy(training, out, progress=update, writer=writer)
    except KeyboardInterrupt:
        message = f"Interrupted. The last checkpoint is in '{out}.training'; run the same command again to go on."
        raise Stop(message, 130) from None
    card = policy.card
    if as_json:
        print_json({"policy": str(out), **asdict(card)})
        return
    instances = f"{counted(len(card.trained_on), 'instance')} of {card.collection}"
    rounded = "" if starts_from or card.steps == steps else f" ({steps:,} rounded up to whole updates)"
    spent = f"{counted(card.steps, 'step')}{rounded} in {card.training_s:.0f} s"
    terminal().print(visible(f"{card.learner}: {spent}, on {instances}. Policy: {out}"))


@contextlib.contextmanager
def _writer(folder: Path | None) -> Iterator[Any]:
    """What writes TensorBoard's files, tensorboardX's or torch's; None where nobody asks for it."""
    if folder is None:
        yield None
        return
    try:
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
    except ImportError:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise DsegymError(
                "--tensorboard needs a library that writes its files, which is not installed: pip install tensorboardX."
            ) from None
    writer = SummaryWriter(str(folder))
    try:
        yield writer
    finally:
        writer.close()


def evaluate_command(
    policy: Annotated[
        str,
        typer.Argument(
            help="A shipped policy, a policy's directory, or package.module:function of act(observation, mask)."
        ),
    ],
    collection: CollectionOption,
    split: Annotated[str, typer.Option("--split", help="train, validation or test.")] = "test",
    mode: Annotated[
        str, typer.Option("--mode", help="greedy, or sampled: actions drawn by their likelihood.")
    ] = "greedy",
    samples: Annotated[
        int, typer.Option("--samples", help="Of each instance; of several the best counts: a search from the policy.")
    ] = 1,
    seed: SeedOption = 0,
    output: Annotated[
        Path, typer.Option("--output", help="The results directory, a new one or one that holds others.")
    ] = Path("results/policies"),
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="NAME=VALUE", help="An option that is changed in every instance."),
    ] = None,
    trained_on: Annotated[
        bool, typer.Option("--trained-on", help="Allow instances that the policy was trained on; tables say so.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Score a policy, and all rules, on instances that it was not trained on.

    Example: `dsegym evaluate policies/mine --collection cascade-budgets --split test --output results/policies`
    """
    from ...agents.policies.players import named_function
    from ...envs.core.scenarios import load_scenario
    from ..collection_files import find_collection
    from ..evaluations import changed, evaluate_into
    from ..policy_store import curve_of, load_policy
    from ..report.policies import policy_sheet, sentences
    from ..report.text import policies_to_json
    from ..scoring.policies import policy_tables
    from ..shipped_policies import find_policy

    chosen = find_collection(collection)
    options = pairs_of(option or (), "an option")
    curve = None
    if Path(policy).exists() or ":" not in policy:
        place = find_policy(policy)
        player, curve = load_policy(place), curve_of(place)
    else:
        player = named_function(policy)
    if options and chosen.options(split):
        resolved = load_scenario(chosen.scenario).resolve({**chosen.options(split)[0], **options})
        options = {name: resolved[name] for name in options}
    result = evaluate_into(
        output,
        player,
        changed(chosen, options),
        split,
        mode=mode,
        samples=samples,
        seed=seed,
        trained_on=trained_on,
        options=options,
        curve=curve,
    )
    tables = policy_tables([result])
    if as_json:
        print_document(policies_to_json(tables))
        return
    console = terminal()
    for table in tables:
        console.print(policy_sheet(table))
        for text in sentences(table):
            say(console, text)
    place = output / "evaluations" / result.manifest["evaluation_id"]
    console.print(visible(f"Result: {place}; `dsegym verify {output}` plays it again."))
