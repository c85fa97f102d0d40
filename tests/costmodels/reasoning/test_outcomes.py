"""Recorded outcomes: the tables against the data that they were made of, the splits, users' files, known counts."""

import csv
import zlib

import numpy as np
import pytest

from dsegym.costmodels.errors import InvalidWorkloadError, UnknownNameError
from dsegym.costmodels.reasoning import laws, outcomes
from dsegym.costmodels.reasoning.splits import SPLITS, split_indices, split_of
from dsegym.costmodels.tables import package_rows

HEADER = "problem,attempts,successes\n"


def rows(name):
    return package_rows(f"reasoning/tables/{name}.csv")


@pytest.fixture(scope="module")
def recorded(shared_data):
    """Rows of a file of the outside data."""
    folder = shared_data / "test_time"
    if not folder.is_dir():
        pytest.skip(f"the outside data is not there: {folder}")

    def read(name):
        with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            csv.field_size_limit(10**7)
            return list(csv.DictReader(file))

    return read


def from_digits(text):
    return np.array([digit == "1" for digit in text])


# --- The tables are the data ------------------------------------------------------------------------------------------


def test_human_eval_is_the_data_bit_by_bit(recorded):
    found = outcomes.human_eval()
    problems = recorded("humaneval_codegen16b_problems")
    assert [int(row["problem"]) for row in problems] == list(range(164))
    for place, row in enumerate(problems):
        assert found.tests[place] == int(row["n_generated_tests"])
        np.testing.assert_array_equal(found.valid[place], from_digits(row["test_valid_bits"].ljust(32, "0")))
        assert found.correct[place].sum() == int(row["pass100"])
        assert found.valid[place].sum() == int(row["n_tests_valid_on_reference"])
    samples = recorded("humaneval_codegen16b_samples")
    assert len(samples) == 16_400
    words, clusters = {}, np.zeros((164, 100), int)
    for row in samples:
        at = int(row["problem"]), int(row["sample"])
        assert found.correct[at] == (row["correct"] == "1")
        assert found.tokens[at] == int(row["tokens"])
        words[at], clusters[at] = int(row["test_bits_hex"], 16), int(row["cluster"])
    powers = 2 ** np.arange(31, -1, -1, dtype=np.int64)  # bit 31 is the first test
    packed = found.passed.astype(np.int64) @ powers
    assert all(packed[at] == word for at, word in words.items())
    # Groups are equal verdicts; the data's clusters tell programs that do not load from those that pass nothing, too.
    for ours, theirs, word in zip(found.group, clusters, packed, strict=True):
        np.testing.assert_array_equal(ours[:, None] == ours, word[:, None] == word)
        apart = (ours[:, None] == ours) & (theirs[:, None] != theirs)
        assert not word[apart.any(1)].any()
        assert not ((ours[:, None] != ours) & (theirs[:, None] == theirs)).any()


def test_game_24_samples_are_the_data_bit_by_bit(recorded):
    table = rows("game24_samples")
    theirs = recorded("game24_pass_counts")
    assert len(table) == len(theirs) == 100
    for ours, row in zip(table, theirs, strict=True):
        assert (ours["puzzle"], ours["numbers"]) == (row["task"], row["input"])
        for column, name in (("direct", "io"), ("chain_of_thought", "cot")):
            np.testing.assert_array_equal(outcomes.bits(ours[column], 100), from_digits(row[f"{name}_bits"]))
            assert outcomes.bits(ours[column], 100).sum() == int(row[f"{name}_pass100"])
            assert ours[f"{column}_tokens"] == row[f"{name}_completion_tokens"]
            assert ours[f"{column}_prompt_tokens"] == row[f"{name}_prompt_tokens"]
        assert (ours["tree_correct"], ours["tree_candidates"]) == (row["tot_b5_pass"], row["tot_b5_n"])
        assert (ours["tree_tokens"], ours["tree_prompt_tokens"]) == (
            row["tot_completion_tokens"],
            row["tot_prompt_tokens"],
        )


def test_game_24_nodes_are_the_data(recorded):
    found, theirs = outcomes.game24_nodes(), recorded("game24_tot_nodes")
    assert len(found.left) == len(theirs) == 6172
    names = {"puzzle": "task", "depth": "depth", "node": "node", "parent": "parent"}
    names |= {"kept": "selected", "solvable": "solvable"}
    for ours, name in names.items():
        np.testing.assert_array_equal(getattr(found, ours), [int(row[name]) for row in theirs])
    np.testing.assert_array_equal(found.legal, [row["valid_arith"] == "1" for row in theirs])
    np.testing.assert_allclose(found.value, [float(row["value"]) for row in theirs], atol=5e-4)
    assert list(found.left) == [row["left"] for row in theirs]


def test_models_on_gsm8k_are_the_data_bit_by_bit(recorded):
    found = outcomes.gsm8k_models()
    theirs = {row["model"]: row for row in recorded("gsm8k_zeroeval_matrix")}
    assert set(found.names) == set(theirs)
    assert len(found.names) == 41
    for place, name in enumerate(found.names):
        np.testing.assert_array_equal(found.correct[place], from_digits(theirs[name]["correct_bits"]))
        np.testing.assert_array_equal(found.characters[place], [int(n) for n in theirs[name]["output_chars"].split()])
        assert found.correct[place].mean() * 100 == pytest.approx(float(theirs[name]["accuracy_pct"]), abs=0.006)


def test_verifiers_on_gsm8k_are_the_data_bit_by_bit(recorded):
    found, theirs = outcomes.gsm8k_verifier(), recorded("gsm8k_6b_175b_outcomes")
    columns = {"6b": "ft6b", "6b_verifier": "ver6b", "175b": "ft175b", "175b_verifier": "ver175b"}
    assert set(found.names) == set(columns)
    for place, name in enumerate(found.names):
        expected = [row[f"{columns[name]}_correct"] == "1" for row in theirs]
        np.testing.assert_array_equal(found.correct[place], expected)
        assert found.parameters_billion[place] == (175 if "175" in name else 6)
        assert found.samples[place] == (100 if "verifier" in name else 1)


def test_retries_on_alfworld_are_the_data(recorded):
    found, solved = outcomes.alfworld(), {}
    for row in recorded("alfworld_trials"):
        if row["success"] == "1":
            key = row["variant"], int(row["env"])
            solved[key] = min(solved.get(key, 99), int(row["trial"]))
    for ours, variant in ((found.retry, "base"), (found.reflection, "reflexion")):
        np.testing.assert_array_equal(ours, [solved.get((variant, task), -1) for task in range(134)])


def test_trials_of_tau_bench_are_the_data(recorded):
    found = outcomes.tau_airline()
    characters = [[int(word) for word in row["characters"].split()] for row in rows("tau_airline")]
    theirs = recorded("tau_airline_gpt4o_trials")
    assert len(theirs) == found.size == 200
    for row in theirs:
        task, trial = int(row["task_id"]), int(row["trial"])
        assert found[task, trial] == (float(row["reward"]) == 1.0)
        assert characters[task][trial] == int(row["assistant_chars"])


# --- Known counts -----------------------------------------------------------------------------------------------------


def test_alfworld_is_solved_after_each_trial_as_recorded():
    found = outcomes.alfworld()

    def solved(trials, count):
        return [int(((trials >= 0) & (trials <= t)).sum()) for t in range(count)]

    assert solved(found.retry, found.retry_trials) == [84, 94, 97, 98, 100, 101, 101]
    expected = [84, 103, 111, 113, 117, 118, 123, 126, 128, 129, 130, 130, 131, 133, 134]
    assert solved(found.reflection, found.reflection_trials) == expected
    np.testing.assert_array_equal(found.retry == 0, found.reflection == 0)


def test_tau_bench_has_the_recorded_successes_and_pass_rates():
    counts = outcomes.tau_airline().sum(1)
    assert np.bincount(counts, minlength=5).tolist() == [14, 12, 10, 4, 10]
    assert laws.all_of(1, attempts=4, successes=counts).mean() == pytest.approx(0.42)
    assert laws.pass_at(4, attempts=4, successes=counts).mean() == pytest.approx(0.72)
    assert laws.all_of(4, attempts=4, successes=counts).mean() == pytest.approx(0.20)


def test_game_24_is_solved_at_the_recorded_rates():
    tables = rows("game24_samples")
    tree = [int(row["tree_correct"]) > 0 for row in tables]
    assert np.mean(tree) == pytest.approx(0.69)
    for name, first, hundredth in (("game24_chain_of_thought", 0.0403, 0.49), ("game24_direct", 0.0734, 0.33)):
        found = outcomes.load_outcomes(name)
        assert (found.successes / found.attempts).mean() == pytest.approx(first, abs=5e-5)
        assert (found.successes > 0).mean() == pytest.approx(hundredth)


def test_a_token_count_below_zero_in_the_log_of_game_24_counts_as_unknown():
    """Puzzle 932: -206,168 tokens for 100 samples. The mean of the other puzzles stands in."""
    logged = {row["puzzle"]: int(row["chain_of_thought_tokens"]) for row in rows("game24_samples")}
    assert [puzzle for puzzle, tokens in logged.items() if tokens <= 0] == ["932"]
    found = outcomes.load_outcomes("game24_chain_of_thought")
    mean = np.mean([tokens / 100 for tokens in logged.values() if tokens > 0])
    assert mean == pytest.approx(67.5, abs=0.05)
    at = found.problems.index("932")
    assert found.tokens_wrong[at] == found.tokens_right[at] == pytest.approx(mean, rel=1e-6)
    assert found.tokens_wrong.min() > 50


def test_human_eval_is_solved_at_the_recorded_rates():
    found = outcomes.human_eval()
    assert found.correct.mean() == pytest.approx(0.222, abs=5e-4)
    made = np.arange(32) < found.tests[:, None]
    assert (found.valid & made).sum() / made.sum() == pytest.approx(0.32, abs=0.005)
    assert (found.tests == 0).sum() == 10
    assert (~found.valid.any(1)).sum() == 24
    assert not (found.passed & ~made[:, None]).any()


def test_models_on_gsm8k_solve_the_recorded_shares():
    found = outcomes.gsm8k_models()
    accuracy = dict(zip(found.names, found.correct.mean(1), strict=True))
    for name, share in (("gemma-2-2b-it", 0.528), ("gemma-2-9b-it", 0.875), ("gemma-2-27b-it@together", 0.901)):
        assert accuracy[name] == pytest.approx(share, abs=6e-4)
    gemma = found.correct[[name.startswith("gemma") for name in found.names]]
    assert gemma.any(0).mean() == pytest.approx(0.937, abs=6e-4)


@pytest.mark.parametrize(
    ("name", "question"),
    [("Meta-Llama-3-70B-Instruct", 62), ("claude-3-haiku-20240307", 17)],
    ids=["25,000", "$57,500"],
)
def test_answers_with_a_dollar_sign_or_a_thousands_separator_are_right(name, question):
    found = outcomes.gsm8k_models()
    assert found.correct[found.names.index(name), question]


@pytest.mark.parametrize(
    ("name", "official"),
    [
        ("claude-3-haiku-20240307", 88.78),
        ("claude-3-sonnet-20240229", 91.51),
        ("Athene-70B", 86.66),
        ("o1-mini-2024-09-12", 96.06),
        ("Meta-Llama-3-70B-Instruct", 93.03),
        ("Meta-Llama-3.1-8B-Instruct", 84.0),
        ("gemma-2-9b-it", 87.41),
        ("gemma-2-27b-it@together", 90.22),
        ("Meta-Llama-3.1-70B-Instruct", 94.16),
        ("Llama-3.1-405B-Inst@sambanova", 95.77),
    ],
)
def test_models_on_gsm8k_are_within_0_4_points_of_zero_evals_own_table(name, official):
    """`result_dirs/gsm.summary.md` of yuchenlin/ZeroEval; the last five are the cascade's."""
    found = outcomes.gsm8k_models()
    assert found.correct[found.names.index(name)].mean() * 100 == pytest.approx(official, abs=0.4)


def test_a_small_model_with_a_verifier_beats_a_large_one_without():
    found = outcomes.gsm8k_verifier()
    accuracy = dict(zip(found.names, found.correct.mean(1), strict=True))
    expected = {"6b": 0.217, "6b_verifier": 0.390, "175b": 0.347, "175b_verifier": 0.563}
    assert accuracy == pytest.approx(expected, abs=6e-4)
    assert accuracy["6b_verifier"] > accuracy["175b"]


@pytest.mark.parametrize("name", outcomes.dataset_names())
def test_counts_and_tokens_of_a_data_set_make_sense(name):
    found = outcomes.load_outcomes(name)
    assert len(found) == len(set(found.problems)) == len(found.attempts)
    assert (found.successes >= 0).all()
    assert (found.successes <= found.attempts).all()
    assert (found.tokens_right >= 1).all()
    assert (found.tokens_wrong >= 1).all()


def test_mean_tokens_add_up_to_all_that_were_spent():
    found, samples = outcomes.load_outcomes("humaneval"), outcomes.human_eval()
    spent = found.tokens_right * found.successes + found.tokens_wrong * (found.attempts - found.successes)
    empty = samples.tokens.sum(1) < 1_000  # where a mean below one token counts as one
    np.testing.assert_allclose(spent[~empty], samples.tokens.sum(1)[~empty], rtol=1e-5)
    assert (spent[empty] >= samples.tokens.sum(1)[empty] * (1 - 1e-5)).all()
    assert empty.sum() < 5
    never = found.successes == 0
    np.testing.assert_allclose(found.tokens_right[never], samples.tokens.mean(1)[never], rtol=1e-6)


# --- Splits -----------------------------------------------------------------------------------------------------------


def test_splits_are_60_20_20_within_sampling_error():
    names = [str(i) for i in range(10_000)]
    counts = [len(split_indices("any", names, split)) for split in SPLITS]
    assert sum(counts) == 10_000
    for count, share in zip(counts, (0.6, 0.2, 0.2), strict=True):
        assert abs(count - 10_000 * share) < 4 * np.sqrt(10_000 * share * (1 - share))


@pytest.mark.parametrize("name", outcomes.dataset_names())
def test_splits_of_a_data_set_are_disjoint_and_cover_it(name):
    found = outcomes.load_outcomes(name)
    parts = [found.split(split) for split in SPLITS]
    assert sorted(problem for part in parts for problem in part.problems) == sorted(found.problems)
    for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
        assert abs(len(part) - len(found) * share) < 3 * np.sqrt(len(found) * share * (1 - share))
        at = [found.problems.index(problem) for problem in part.problems]
        np.testing.assert_array_equal(part.successes, found.successes[at])
        np.testing.assert_array_equal(part.tokens_wrong, found.tokens_wrong[at])


def test_splits_never_move():
    """`printf humaneval/0 | sha256sum`: the first eight bytes modulo five; 0 to 2 train, 3 validation, 4 test."""
    assert [split_of("humaneval", problem) for problem in range(10)] == [
        *["train"] * 4,
        *["validation"] * 2,
        *["train"] * 4,
    ]
    everything = "".join(split_of("humaneval", problem)[1] for problem in range(164))  # r, a, e
    assert zlib.crc32(everything.encode()) == 1593334427


def test_the_data_sets_name_counts_and_the_others_problems_do_not():
    names = [str(i) for i in range(200)]
    assert split_indices("a", names, "test").tolist() != split_indices("b", names, "test").tolist()
    of_all = set(split_indices("a", names, "test"))
    assert set(split_indices("a", names[:100], "test")) == {place for place in of_all if place < 100}


def test_an_unknown_split_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'validation'"):
        outcomes.load_outcomes("tau_airline").split("validate")


# --- A user's file ----------------------------------------------------------------------------------------------------


def write(folder, text, name="mine.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_a_file_of_counts_is_read(tmp_path):
    found = outcomes.load_outcomes(write(tmp_path, "# of my solver\n" + HEADER + "sort,10,3\n\n two sum , 4,0\n"))
    assert found.name == "mine"
    assert found.problems == ("sort", "two sum")
    assert found.attempts.tolist() == [10, 4]
    assert found.successes.tolist() == [3, 0]
    assert found.tokens_right.tolist() == found.tokens_wrong.tolist() == [1, 1]
    assert found.source == "file mine.csv"


def test_a_file_with_tokens_in_any_order_of_columns_is_read(tmp_path):
    text = "tokens_wrong,successes,problem,attempts,tokens_right\r\n90.5,1,a,2,80\r\n"
    found = outcomes.load_outcomes(write(tmp_path, text))
    assert (found.tokens_right.tolist(), found.tokens_wrong.tolist()) == ([80.0], [90.5])
    assert (found.attempts.tolist(), found.successes.tolist()) == ([2], [1])


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path):
    assert outcomes.load_outcomes(write(tmp_path, b"\xef\xbb\xbf" + HEADER.encode() + b"a,1,1\n")).problems == ("a",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("a,b\nc,d\n", "line 1: unknown column 'a'; the columns are problem, attempts, successes, tokens_right"),
        ("problem,attempts\na,1\n", "line 1: no column 'successes'; the columns are problem, attempts, successes, and"),
        ("problem,attempts,successes,successes\na,1,1,1\n", "line 1: column 'successes' stands there twice"),
        ("problem,attempts,successes,tokens_right\na,1,1,1\n", "line 1: give both tokens_right and tokens_wrong"),
        (HEADER, "needs a header line and at least one problem"),
        (HEADER + "a,1\n", "line 2: 2 cells where the header has 3"),
        (HEADER + "a,1,1,1\n", "line 2: 4 cells"),
        (HEADER + "a,1,1\n\na,2,1\n", "line 4: the problem 'a' is there twice"),
        (HEADER + "a,1,1\n ,2,1\n", "line 3: the problem has no name"),
        (HEADER + "a,0,0\n", "line 2: attempts = '0'"),
        (HEADER + "a,x,0\n", "line 2: attempts = 'x'"),
        (HEADER + "a,-3,0\n", "line 2: attempts = '-3'"),
        (HEADER + "a,2.5,0\n", "line 2: attempts = '2.5'"),
        (HEADER + "a,1000001,0\n", "line 2: attempts = '1000001' is not a whole number from 1 to 1000000"),
        (HEADER + f"a,{'9' * 5000},0\n", "line 2: attempts = '999"),
        (HEADER + "a,²,0\n", "line 2: attempts = '²'"),
        (HEADER + "a,3,4\n", "line 2: successes = '4' is not a whole number from 0 to 3"),
        (HEADER + "a,3,\n", "line 2: successes = ''"),
        (HEADER + 'a,3,1\n"b,2,1\n', "line 3: a quote is opened and not closed"),
        (HEADER + '"a\nb",3,1\nc,3,9\n', "line 4: successes = '9'"),
        ("problem,attempts,successes,tokens_right,tokens_wrong\na,3,1,0,5\n", "line 2: tokens_right = '0'"),
        ("problem,attempts,successes,tokens_right,tokens_wrong\na,3,1,5,nan\n", "line 2: tokens_wrong = 'nan'"),
        ("problem,attempts,successes,tokens_right,tokens_wrong\na,3,1,inf,5\n", "line 2: tokens_right = 'inf'"),
        ("problem,attempts,successes,tokens_right,tokens_wrong\na,3,1,5,few\n", "line 2: tokens_wrong = 'few'"),
        (HEADER.encode() + b"\xff,1,1\n", "line 2 is not UTF-8"),
    ],
)
def test_a_malformed_file_is_refused_with_the_line(tmp_path, text, words):
    with pytest.raises(InvalidWorkloadError) as caught:
        outcomes.load_outcomes(write(tmp_path, text))
    assert words in str(caught.value)
    assert "mine.csv" in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidWorkloadError, match="there is no such file"):
        outcomes.load_outcomes(str(tmp_path / "none.csv"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InvalidWorkloadError, match="it is a folder"):
        outcomes.load_outcomes(str(tmp_path / "folder.csv"))


def test_an_unknown_data_set_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'humaneval'"):
        outcomes.load_outcomes("human_eval")
