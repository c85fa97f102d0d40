"""Wrong input of every kind at every door of every scenario: one sentence of ours, and nothing taken in silence."""

import functools
import os
import signal

import gymnasium
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError
from dsegym.envs.core.scenarios import BUILT_IN
from dsegym.envs.faces.gymnasium_env import FunctionalGymnasiumEnv
from dsegym.envs.faces.vector_env import FunctionalVectorEnv

LONGEST = 1200  # letters of a sentence, lists of allowed names included
every_scenario = pytest.mark.parametrize("scenario", BUILT_IN)
# The forms of these are compiled soon; those of all take minutes.
QUICK = (
    "dsegym/AcceleratorSizing-v0",
    "dsegym/MemoryAllocation-v0",
    "dsegym/ReasoningServe-v0",
    "dsegym/ServingPlan-v0",
)
few_scenarios = pytest.mark.parametrize(
    "scenario", [name if name in QUICK else pytest.param(name, marks=pytest.mark.minutes) for name in BUILT_IN]
)

NUMBERS = {
    "not a number": float("nan"),
    "infinite": float("inf"),
    "a fraction": 0.5,
    "negative": -1,
    "32 bits": 2**31,
    "33 bits": 2**32,
    "100 bits": 10**30,
    "4,000 digits": 10**4000,
    "complex": 1j,
    "nothing": None,
    "a text": "a",
    "a digit": "1",
    "bytes": b"1",
    "a truth": True,
    "an object": object(),
    "a dictionary": {"a": 1},
    "empty": [],
    "nested": [[0]],
    "a matrix": np.zeros((2, 2, 2)),
}
TEXTS = {
    "empty": "",
    "blank": " ",
    "a NUL": "a\0b",
    "long": "x" * 5000,
    "digits of another script": "１２",
    "Python's own number": "1_000",
    "not a number": "nan",
    "infinite": "-inf",
    "4,000 digits": "9" * 4000,
    "a huge exponent": "1e400",
    "hexadecimal": "0x10",
    "markup": "[/bold]",
    "an escape": "\x1b]0;title\x07",
    "a folder": "/",
    "a device": "/dev/zero",
    "a path": "no/such/file.csv",
    "a long path": "/".join(["a" * 200] * 30),
    "a percent sign": "%s%n{0}",
    "another letter case": "NONE",
}


def refused(call, *, allowed=()):
    """Whether a call is refused by a sentence of ours; what it raises else is an error of the test."""
    try:
        call()
    except DsegymError as error:
        text = str(error)
        assert 0 < len(text) <= LONGEST, text[:200]
        assert "\0" not in text
        assert "\x1b" not in text
        return True
    except allowed:
        return True
    return False


@pytest.mark.slow
@few_scenarios
def test_what_is_no_action_is_refused_in_every_form(scenario):
    problem = dsegym.make_problem(scenario)
    for form in problem.forms:
        single, lanes = FunctionalGymnasiumEnv(problem, form), FunctionalVectorEnv(problem, 2, form)
        single.reset(seed=0)
        lanes.reset(seed=0)
        right = single.action_space.sample()
        for name, value in NUMBERS.items():
            wrong = [value]
            if value is True:  # among numbers NumPy makes it one
                assert refused(functools.partial(single.step, value)), form
                continue
            if np.ndim(right):  # also among right ones
                wrong.append([*np.asarray(right).tolist()[:-1], value])
            for action in wrong:
                assert refused(functools.partial(single.step, action)), (form, name, action)
                assert refused(functools.partial(lanes.step, [right, action])), (form, name, action)
        assert refused(functools.partial(lanes.step, right if np.ndim(right) else [right])), form
        single.step(right)
        lanes.step(np.stack([right, right]))


@pytest.mark.slow
@every_scenario
def test_what_is_no_design_is_refused(scenario):
    problem = dsegym.make_problem(scenario)
    design = np.zeros(len(problem.space), int).tolist()
    for name, value in NUMBERS.items():
        for wrong in (value, [value], [*design[:-1], value], [design, [*design[:-1], value]]):
            if (isinstance(wrong, list) and not wrong) or (value is True and wrong is not value and len(design) > 1):
                continue  # no design at all is a batch of none; among numbers NumPy makes a truth one
            assert refused(lambda wrong=wrong: problem.evaluate(wrong)), (name, wrong)
            assert refused(lambda wrong=wrong: problem.decode(wrong)), (name, wrong)
    values = problem.decode(design)
    for name in problem.space.names[:3]:
        for given in [*NUMBERS.values(), *TEXTS.values()]:
            numbers = [each for each in problem.space[name].values if not isinstance(each, str)]
            number = 1 if isinstance(given, str) and given == "1" else given
            known = type(number) in (int, float) and number in numbers
            encode = functools.partial(problem.space.encode, {**values, name: given})
            assert known or refused(encode), (name, given)


@every_scenario
def test_an_option_takes_what_it_says_and_refuses_the_rest_by_one_sentence(scenario):
    def too_long(*_):
        raise AssertionError("an option's value takes more than ten seconds to refuse")

    before, resolve = signal.signal(signal.SIGALRM, too_long), dsegym.load_scenario(scenario).resolve
    try:
        for option in dsegym.load_scenario(scenario).options:
            for name, value in {**NUMBERS, **TEXTS}.items():
                signal.alarm(10)
                if not refused(functools.partial(resolve, {option: value})):
                    text = resolve({option: value})[option]
                    assert resolve({option: text})[option] == text, (option, name)
                    if len(text) > 4096:  # a path, which is looked at when the instance is made
                        assert refused(lambda option=option, text=text: dsegym.make_problem(scenario, **{option: text}))
                signal.alarm(0)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@every_scenario
def test_what_is_no_plain_file_is_refused_at_once(scenario, tmp_path):
    pipe, folder, empty, link = (tmp_path / f"{name}.csv" for name in ("pipe", "folder", "empty", "link"))
    os.mkfifo(pipe)
    folder.mkdir()
    empty.touch()
    link.symlink_to("/dev/zero")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(bytes(range(256)) * 20)

    def hangs(*_):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    try:
        for option in dsegym.load_scenario(scenario).options:
            for path in (pipe, folder, empty, link, binary, tmp_path / "none.csv"):
                signal.alarm(20)
                assert refused(lambda option=option, path=path: dsegym.make_problem(scenario, **{option: str(path)}))
                signal.alarm(0)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("keyword", ["form", "render_mode", "autoreset_mode", "num_envs", "max_episode_steps"])
def test_keywords_of_gymnasiums_own_are_held_to_their_values(keyword):
    fine = {"max_episode_steps": (None,), "render_mode": (None,), "form": (None,), "num_envs": ()}.get(keyword, ())
    for name, value in {**NUMBERS, **TEXTS}.items():
        if any(value is each for each in fine):
            continue
        arguments = {"num_envs": 2, keyword: value}
        # Gymnasium looks at some of them itself before it asks ours.
        mine = (gymnasium.error.Error, TypeError, AssertionError) if keyword == "num_envs" else ()
        assert refused(
            lambda arguments=arguments: gymnasium.make_vec("dsegym/SleepTime-v0", **arguments), allowed=mine
        ), name
