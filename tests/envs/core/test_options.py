"""Typed options: text and values at the door, one instance for equal values, errors that say what is allowed."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidOptionError, UnknownNameError
from dsegym.costmodels.formats import READERS
from dsegym.envs.core.options import (
    PERMUTATION,
    UNIVERSAL,
    Options,
    choice,
    custom,
    file_or_name,
    number,
    options_of,
    parse,
    texts,
    whole,
)
from dsegym.envs.core.scenarios import BUILT_IN

NAMES = ("beta", "humaneval")


class NotAText:
    def __str__(self):
        return "mine.csv"


def parse_pair(given):
    first, _, second = str(given).partition("/")
    return float(first), float(second)


@dataclass(frozen=True)
class Everything(Options):
    budget: float = number(8000, (1000, 8000), least=1, most=1e6, unit="tokens", summary="what may be spent")
    noise: float | None = number(1, (0.5, 1), least=0, above=True, most=10, words={"none": None}, summary="of hints")
    queries: int = whole(10, (1, 10), least=1, most=32, summary="of a context")
    cost: str = choice("samples", ("samples", "tokens"), "what counts")
    data: str = file_or_name(
        "beta", lambda: ("beta", "humaneval"), lambda path: path.endswith(".csv"), "a .csv file", ""
    )
    rates: tuple[float, float] = custom(
        (1.0, 0.0),
        ((1.0, 0.0),),
        parse=parse_pair,
        also="two rates as 0.9/0.2",
        summary="",
        text=lambda pair: f"{pair[0]:g}/{pair[1]:g}",
    )


@pytest.mark.parametrize("written", [8000, 8000.0, "8000", "8000.0", "8e3", " 8000", np.int64(8000), np.float32(8000)])
def test_equal_numbers_are_one_value_and_one_text(written):
    options = parse(Everything, {"budget": written})
    assert options == Everything()
    assert texts(options)["budget"] == "8000"


def test_equal_numbers_are_one_instance():
    one = dsegym.make_problem("dsegym/SleepTime-v0", budget="2000")
    for written in (2000, 2000.0, "2e3", "2000.0"):
        assert dsegym.make_problem("dsegym/SleepTime-v0", budget=written) is one


def test_words_stand_for_values():
    assert parse(Everything, {"noise": "none"}).noise is None
    assert texts(parse(Everything, {"noise": "none"}))["noise"] == "none"
    assert texts(parse(Everything, {"noise": "0.50"}))["noise"] == "0.5"


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        (
            {"budget": 0},
            InvalidOptionError,
            r"^budget = 0 is not allowed; allowed: any number from 1 to 1000000 tokens\.$",
        ),
        ({"budget": "2e6"}, InvalidOptionError, "any number from 1 to 1000000 tokens"),
        ({"budget": True}, InvalidOptionError, "budget = True is not allowed"),
        ({"budget": None}, InvalidOptionError, "budget = None is not allowed"),
        ({"budget": [8000]}, InvalidOptionError, r"budget = \[8000\] is not allowed"),
        ({"budget": "nan"}, InvalidOptionError, "budget = 'nan' is not allowed"),
        ({"budget": float("inf")}, InvalidOptionError, "any number from 1"),
        ({"budget": "1_000"}, InvalidOptionError, "budget = '1_000' is not allowed"),
        ({"budget": "\u0661\u0662"}, InvalidOptionError, "any number from 1"),
        ({"budget": 10**5000}, InvalidOptionError, "budget = a huge number is not allowed"),
        ({"cost": 10**5000}, UnknownNameError, "Unknown cost 'a huge number'"),
        ({"queries": "1e-400"}, InvalidOptionError, "queries = '1e-400' is not allowed"),
        ({"data": b"mine.csv"}, InvalidOptionError, "a .csv file"),
        ({"data": NotAText()}, InvalidOptionError, "a .csv file"),
        ({"scenario_id": "x"}, UnknownNameError, "Unknown option 'scenario_id'"),
        ({"budget": "many"}, InvalidOptionError, "budget = 'many' is not allowed"),
        ({"noise": 0}, InvalidOptionError, "allowed: none, any number above 0, to 10"),
        ({"noise": "nome"}, UnknownNameError, "Did you mean 'none'"),
        ({"queries": 2.5}, InvalidOptionError, "any whole number from 1 to 32"),
        ({"queries": "33"}, InvalidOptionError, "any whole number from 1 to 32"),
        ({"cost": "token"}, UnknownNameError, "there are: samples, tokens. Did you mean 'tokens'"),
        ({"cost": 3}, UnknownNameError, "Unknown cost '3'"),
        ({"data": "humanevel"}, UnknownNameError, "a .csv file. Did you mean 'humaneval'"),
        ({"rates": "much"}, UnknownNameError, "there are: 1/0, two rates as 0.9/0.2"),
        ({"rates": 0.5}, InvalidOptionError, "two rates as 0.9/0.2"),
        ({"bugdet": 3}, UnknownNameError, "Unknown option 'bugdet'.* Did you mean 'budget'"),
    ],
)
def test_what_is_wrong_is_answered_with_what_is_allowed(options, error, reason):
    with pytest.raises(error, match=reason) as refusal:
        parse(Everything, options)
    assert isinstance(refusal.value, DsegymError)
    assert "\n" not in str(refusal.value)


@given(st.floats(1, 1e6), st.integers(1, 32))
def test_texts_make_the_same_options_again(budget, queries):
    options = parse(Everything, {"budget": budget, "queries": queries, "rates": "0.9/0.2", "data": "mine.csv"})
    assert parse(Everything, texts(options)) == options
    assert texts(parse(Everything, texts(options))) == texts(options)


@pytest.mark.parametrize("scenario", dsegym.scenario_ids())
def test_listed_values_and_defaults_of_every_scenario_are_values_of_theirs(scenario):
    kind = dsegym.load_scenario(scenario).options_type
    for name, option in options_of(kind).items():
        assert option.summary, name
        for text in option.values():
            assert texts(parse(kind, {name: text}))[name] == text
        default = option.text(option.default)  # `own`, say, of which an instance's name has the meaning
        assert texts(parse(kind, {}))[name] == texts(parse(kind, {name: default}))[name]


def test_the_places_of_readers_are_the_options_that_read_them():
    kinds = {name: dsegym.load_scenario(name).options_type for name in BUILT_IN}
    found = {
        (name.removeprefix("dsegym/").removesuffix("-v0"), option, declared.reads)
        for name, kind in kinds.items()
        for option, declared in options_of(kind).items()
        if declared.reads
    }
    assert found == {(*place, key) for key, reader in READERS.items() for place in reader.places}


TRACE = "arrival_s,prompt_tokens,output_tokens\n0,100,10\n1,200,20\n"
TAKES_REQUESTS = ("requests", "trace")


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(TRACE, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("scenario", BUILT_IN)
def test_a_trace_of_requests_at_a_wrong_option_is_told_where_such_files_go(scenario, trace):
    kind = dsegym.load_scenario(scenario).options_type
    declared = {**options_of(kind), PERMUTATION: UNIVERSAL}
    takers = [name for name, option in declared.items() if option.reads in TAKES_REQUESTS]
    where = f"such files go to the option {takers[0]}." if takers else "which is for the option trace of ServingStream"
    wrong = [name for name, option in declared.items() if not option.reads and name != "layer"]  # that takes any text
    for name in (*wrong, "no_such_option"):
        with pytest.raises(DsegymError) as caught:
            parse(kind, {name: trace})
        assert f"mine.csv looks like a table of requests by arrival{': ' if takers else ', '}{where}" in str(
            caught.value
        )
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("scenario", "option"),
    [
        ("dsegym/ServingPlan-v0", "model"),
        ("dsegym/ServingPlan-v0", "gpu"),
        ("dsegym/ServingMix-v0", "model"),
        ("dsegym/ServingMix-v0", "gpus"),
    ],
)
def test_a_trace_of_requests_at_an_option_of_other_files_is_told_where_it_goes(scenario, option, trace):
    with pytest.raises(DsegymError, match=r"and workload of ServingMix, ServingPlan and ServingCluster; as "):
        dsegym.make_problem(scenario, **{option: trace})


def test_a_file_of_no_known_format_is_told_which_options_take_files(tmp_path):
    (tmp_path / "mine.bin").write_bytes(b"PAR1")
    kind = dsegym.load_scenario("dsegym/ServingPlan-v0").options_type
    with pytest.raises(DsegymError, match=r"Files go to the options model, gpu, workload\.$"):
        parse(kind, {"engine": str(tmp_path / "mine.bin")})
    kind = dsegym.load_scenario("dsegym/PowerCap-v0").options_type
    with pytest.raises(DsegymError, match=r"servers\.$"):
        parse(kind, {"servers": str(tmp_path / "mine.bin")})


@pytest.mark.parametrize("scenario", BUILT_IN)
def test_every_option_that_takes_paths_says_which_files_it_reads(scenario):
    declared = dsegym.load_scenario(scenario).options
    assert {name for name, option in declared.items() if "path of" in option.also} == {
        name for name, option in declared.items() if option.reads
    }


@dataclass(frozen=True)
class Made(Options):
    program: str = file_or_name(
        "one", ("one",), lambda path: path.endswith(".csv"), "made/NUMBER, or a file", "", lambda text: text == "made/1"
    )


def test_a_name_that_something_is_made_from_is_no_file():
    option = options_of(Made)["program"]
    assert [option.is_name(text) for text in ("one", "made/1", "made/2", "x.csv")] == [True, True, False, False]
    assert parse(Made, {"program": "made/1"}).program == "made/1"
    with pytest.raises(UnknownNameError):
        parse(Made, {"program": "made/2"})


@pytest.mark.parametrize(
    ("scenario", "option", "name"),
    [
        ("dsegym/MemoryMapping-v0", "program", "zoo/perceptron/2"),
        ("dsegym/MemoryAllocation-v0", "instance", "layered_20_s7"),
        ("dsegym/SocSchedulingStatic-v0", "graph", "random_10_3_ccr1_s4"),
    ],
)
def test_what_families_make_from_a_name_is_no_file(scenario, option, name):
    assert dsegym.load_scenario(scenario).options[option].is_name(name)
    assert not dsegym.load_scenario(scenario).options[option].is_name(f"folder/{name}.csv")
