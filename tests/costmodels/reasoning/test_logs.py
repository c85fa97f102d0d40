"""Logs of attempts as sampling frameworks write them."""

import json

import pytest

from dsegym.costmodels.errors import InvalidWorkloadError
from dsegym.costmodels.reasoning.logs import read_log
from dsegym.costmodels.reasoning.outcomes import load_outcomes

RIGHT = {"a": [True, False, True], "b": [False, False, False], "c": [True, True, True]}


@pytest.fixture
def written(tmp_path):
    def write(content, name="log.dat"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def lines(entries):
    return "".join(json.dumps(entry) + "\n" for entry in entries)


EACH = [(problem, right) for problem, rights in RIGHT.items() for right in rights]
WORDS = {True: "passed", False: "failed: assertion"}
LOGS = {
    "HumanEval": lines(
        {"task_id": problem, "completion": "", "result": WORDS[right], "passed": right} for problem, right in EACH
    ),
    "lm-evaluation-harness": lines(
        {"doc_id": problem, "doc": {}, "target": "4", "resps": [], "filtered_resps": ["4"], "filter": "strict-match",
         "exact_match": float(right)}
        for problem, right in EACH
    ),
    "lm-evaluation-harness, acc": lines({"doc_id": problem, "acc": int(right)} for problem, right in EACH),
    "EvalPlus": json.dumps(
        {
            "date": "2024-01-01",
            "eval": {
                problem: [
                    {"task_id": problem, "base_status": "pass", "plus_status": "pass" if right else "fail"}
                    for right in rights
                ]
                for problem, rights in RIGHT.items()
            },
        }
    ),
    "Inspect": json.dumps(
        {
            "version": 2,
            "samples": [
                {"id": problem, "epoch": 1, "scores": {"match": {"value": "C" if right else "I", "answer": "4"}}}
                for problem, right in EACH
            ],
        },
        indent=1,
    ),
    "counts": "problem,attempts,successes\na,3,2\nb,3.0,0\nc,3,3.0\n",
    **{
        f"table with {yes!r} and {no!r}": "question_id,model,correct\n"
        + "".join(f"{problem},m,{yes if right else no}\n" for problem, right in EACH)
        for yes, no in (("True", "False"), ("true", "false"), ("1", "0"), ("1.0", "0.0"), ("pass", "fail"), ("C", "no"))
    },
    "pandas's table": ",task_id,passed,completion\n"
    + "".join(f'{k},{problem},{right},"x, y"\n' for k, (problem, right) in enumerate(EACH)),
    "table with semicolons": "task_id;passed\n" + "".join(f"{problem};{right}\n" for problem, right in EACH),
}  # fmt: skip


@pytest.mark.parametrize("kind", LOGS)
def test_one_log_has_the_same_counts_however_it_is_written(written, kind):
    log = read_log(written(LOGS[kind]))
    assert log.problems == ("a", "b", "c")
    assert (log.attempts.tolist(), log.successes.tolist()) == ([3, 3, 3], [2, 0, 3])
    assert not log.tokens.any()


def test_tokens_are_means_of_right_and_wrong_attempts_and_of_all_where_there_was_none_of_a_kind(written):
    entries = [{"task_id": p, "passed": r, "completion_tokens": 10 * k} for k, (p, r) in enumerate(EACH, 1)]
    log = read_log(written(lines(entries)))
    assert log.tokens.tolist() == [[20, 50, 80], [20, 50, 80]]
    table = "problem,attempts,successes,tokens_right,tokens_wrong\na,3,2,20,30\nb,3,0,,50\nc,3,3,80,\n"
    assert read_log(written(table)).tokens.tolist() == [[20, 50, 80], [30, 50, 80]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lines([{"task_id": "a", "completion": "x"}]), "line 1: nothing tells the verdict; it may be named"),
        (lines([{"task_id": "a", "passed": 0.5}]), "passed is 0.5; a verdict is true or false, 1 or 0, pass or fail"),
        (lines([{"task_id": "a", "passed": None}]), "line 1: passed is None; a verdict"),
        (lines([{"task_id": "a", "passed": "maybe"}]), "line 1: passed is 'maybe'; a verdict"),
        (lines([{"task_id": "a", "passed": True}, {"task_id": "b"}]), "line 2: there is no 'passed', which"),
        (lines([{"task_id": ["a"], "passed": True}]), "task_id is ['a']; a text or a whole number is needed"),
        (lines([{"task_id": "a", "passed": True}]) + "{oops\n", "line 2 is not JSON"),
        (lines([{"task_id": "a", "passed": True, "tokens": -1}]), "line 1: tokens is -1"),
        ('{"task_id": "a", "passed": true, "passed": false}\n{"task_id": "b", "passed": true}\n',
         "line 1: the member 'passed' is given twice"),
        (lines({"doc_id": 0, "filter": f, "exact_match": 1.0} for f in ("strict-match", "flexible-extract")),
         "answers by the filters flexible-extract and strict-match; keep the lines of one filter"),
        ("task_id,passed\na,2\n", "line 2: passed is '2'; a verdict"),
        ("benchmark,problem,passed\ngsm,0,1\nmath,0,0\n",
         "line 3: attempts of the benchmark gsm and math; keep the lines of one"),
        ("Model Name,problem,passed\na,0,1\nb,0,0\n", "line 3: attempts of the Model Name a and b"),
        (lines([{"task_id": 0, "model": model, "passed": True} for model in ("a", "b")]),
         "line 2: attempts of the model a and b"),
        ("index,prompt,passed\n0,a,1\n1,a,0\n2,b,0\n", "'index' counts the lines, while 'prompt' names things several"),
        (lines([{"idx": k + 1, "sample_name": k // 2, "passed": True} for k in range(4)]), "'idx' counts the lines"),
        ("problem,passed,passed\na,1,0\n", "line 1: column 'passed' stands there twice"),
        ("problem,problem,passed\na,b,0\n", "line 1: column 'problem' stands there twice"),
        ("problem,model,model,passed\na,b,c,0\n", "line 1: column 'model' stands there twice"),
        ("problem,problem_id,attempts,successes\na,b,3,0\n", "unknown column 'problem_id'"),
        ("problem,attempts,num_attempts,successes\na,3,3,0\n", "column 'attempts' stands there twice"),
        ("problem,attempts,successes\n0,3,1\n0.0,3,1\n", "line 3: the problem '0' is there twice"),
        ('problem,passed\n"a,1\nb,0\n', "line 2: a quote is opened and not closed"),
        ("task_id,passed\n,1\n", "line 2: task_id is ''"),
        ("problem,attempts,successes\na,3.5,2\n", "line 2: attempts = '3.5' is not a whole number"),
        ("problem,attempts,successes\na,1_0,2\n", "line 2: attempts = '1_0' is not a whole number"),
        ("problem,attempts,successes,tokens_right,tokens_wrong\na,3,2,20,\n", "tokens_wrong = '' is not a number"),
        ({"samples": [{"id": 1, "scores": {"a": {"value": "C"}, "b": {"value": "I"}}}]}, "samples[0] has 2 scores"),
        ({"samples": [{"id": 1, "scores": {"a": {"value": "P"}}}]}, "samples[0].scores['a'].value is 'P'; a verdict"),
        ({"eval": {"a": [{"base_status": None}]}}, "eval['a'][0] has neither base_status nor plus_status"),
        ({"samples": [], "scores": 1}, "there is no attempt"),
        (lines([{"doc_id": 0, "exact_match": 0, "acc": 1}]),
         "line 1: exact_match is 0, but acc is 1; leave only the verdict that counts"),
        (lines([{"doc_id": 0, "acc": 1}, {"doc_id": 1, "acc": 1, "exact_match": 0}]),
         "line 2: acc is 1, but exact_match is 0; leave only"),
        ("task_id,score,passed\na,1,true\nb,0,true\n", "line 3: passed is 'true', but score is '0'; leave only"),
        ("task_id,Passed,passed\na,1,0\n", "line 2: Passed is '1', but passed is '0'; leave only"),
        ("doc_id,filter,acc\n0,strict,1\n0,flexible,0\n", "line 3: answers by the filters flexible and strict"),
        ({"samples": [{"id": k, "scores": {name: {"value": "C"}}} for k, name in enumerate(("match", "model"))]},
         "samples[1] has a score of 'model', those before of 'match'; keep one"),
    ],
)  # fmt: skip
def test_a_log_that_does_not_say_what_was_right_is_refused(written, content, message):
    with pytest.raises(InvalidWorkloadError) as caught:
        read_log(written(content))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (lines([{"doc_id": 0, "acc": 1, "exact_match": 1}]), "problems by doc_id, verdicts by exact_match"),
        (lines([{"task_id": 0, "result": "failed: assertion", "passed": False, "score": 0.5}]),
         "problems by task_id, verdicts by passed"),
        ("Task ID,Correct,n_tokens\na,1,20\n", "problems by Task ID, verdicts by Correct, tokens by n_tokens"),
        (LOGS["Inspect"], "an Inspect log, verdicts by match"),
    ],
)  # fmt: skip
def test_the_source_names_the_columns_that_were_read(written, content, columns):
    assert read_log(written(content)).source.endswith(f", {columns}")


def test_of_evalplus_two_statuses_both_must_pass_in_a_line_too(written):
    statuses = [("pass", "pass"), ("pass", "fail"), ("fail", "pass")]
    log = read_log(written(lines({"task_id": "a", "base_status": b, "plus_status": p} for b, p in statuses)))
    assert (log.attempts.tolist(), log.successes.tolist()) == ([3], [1])
    assert log.source.endswith("verdicts by plus_status and base_status")


def test_a_text_in_a_line_may_hold_other_ends_of_lines(written):
    entry = {"task_id": "a", "completion": "x\u2028y\x85z", "passed": True}
    log = read_log(written(json.dumps(entry, ensure_ascii=False) + "\n" + json.dumps(entry) + "\n"))
    assert log.attempts.tolist() == [2]


def test_a_renamed_log_has_the_same_split(written):
    text = "problem,attempts,successes\n" + "".join(f"q{i},8,{i % 8}\n" for i in range(80))
    one, other = (load_outcomes(str(written(text, name))) for name in ("8b.csv", "other.txt"))
    for split in ("train", "validation", "test"):
        assert one.split(split).problems == other.split(split).problems
    assert len(one.split("test")) > 5
    assert (one.name, other.name) == ("8b", "other")


@pytest.mark.parametrize("name", ["problem_name", "name", "Question", "task_id"])
def test_a_number_of_the_row_is_not_the_problem(written, name):
    log = read_log(written(f"index,{name},passed\n0,a,1\n1,a,0\n2,b,1\n"))
    assert (log.problems, log.attempts.tolist(), log.successes.tolist()) == (("a", "b"), [2, 1], [1, 1])


def test_an_index_that_alone_tells_the_problem_is_the_problem(written):
    assert read_log(written("index,passed\n0,1\n1,0\n")).problems == ("0", "1")
    assert read_log(written("index,name_of_run,passed\n0,x,1\n1,x,0\n")).problems == ("0", "1")


def test_one_model_in_every_line_is_no_fault(written):
    assert read_log(written("model,benchmark,problem,passed\nm,gsm,0,1\nm,gsm,0,0\n")).attempts.tolist() == [2]


@pytest.mark.parametrize(
    "content",
    [
        "problem,passed\n0.0,1\n0,0\n1.0,1\n1,1\n",
        lines({"doc_id": problem, "acc": acc} for problem, acc in [(0.0, 1), (0, 0), (1.0, 1), ("1.0", 1)]),
        "problem_id,Num Attempts,Num Correct\n0.0,2,1\n1.0,2,2\n",
        "Task ID;n_attempts;correct\n0;2;1\n1;2;2\n",
        {"eval": {k: [{"base_status": s} for s in ("pass", last)] for k, last in [("0.0", "fail"), ("1", "pass")]}},
        ",problem,passed\n3,0,1\n7,0,0\n8,1,1\n12,1,1\n",
        "sep=;\nproblem;passed\n0;1\n0;0\n1;1\n1;1\n",
        'problem,note,passed\r0,"two\r# lines",1\r0,,0\r1,"x\u2028y",1\r1,,1\r',
    ],
)  # fmt: skip
def test_one_log_is_the_same_however_it_is_written(written, content):
    log = read_log(written(content))
    assert (log.problems, log.attempts.tolist(), log.successes.tolist()) == (("0", "1"), [2, 2], [1, 2])
