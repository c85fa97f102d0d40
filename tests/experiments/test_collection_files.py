"""Collections of the user's: what a TOML file may say, and how what is wrong with it is told."""

import pytest

from dsegym.costmodels.errors import DsegymError
from dsegym.experiments.collection_files import find_collection

MINE = """
name = "mine"
scenario = "dsegym/ReasoningCascade-v0"
description = "two budgets"

[[train]]
budget = [2, 8]

[[test]]
budget = 5
"""


@pytest.fixture
def file(tmp_path):
    def write(text=MINE):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_options_that_are_lists_are_multiplied(file):
    collection = find_collection(file())
    assert (collection.name, collection.summary, collection.form) == ("mine", "two budgets", None)
    assert [each["budget"] for each in collection.options("train")] == ["2", "8"]
    assert collection.options("validation") == ()
    assert [problem.name for problem in collection.problems("test")] == ["budget=5"]
    collection.check()


def test_a_shipped_collection_is_found_by_its_name():
    assert find_collection("cascade-budgets").name == "cascade-budgets"


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ('name = "mine"', "", "it needs 'name'"),
        ('name = "mine"', 'name = ["mine"]', "name is no text of one line"),
        ("ReasoningCascade", "ReasoningCascades", "Unknown scenario"),
        ("[[test]]", "[[tests]]", "Unknown key of the collection 'tests'"),
        ('name = "mine"', 'name = "cascade-budgets"', "is the name of a shipped collection"),
        ('name = "mine"', f'name = "{"x" * 1000}"', "its name has 1000 letters"),
        ("budget = 5", "budget = [5, 5.0]", "the instance budget=5 stands in test and again in test"),
        ("budget = 5", "budget = 8.0", "the instance budget=8 stands in train and again in test"),
        ("[[test]]", "[test]", r"'test' must be \[\[test\]\] tables"),
        ("budget = 5", "budgets = 5", "Unknown option 'budgets'"),
        ("budget = 5", "budget = -5", "budget = .* is not allowed"),
        ("budget = 5", "budget = []", "an option is an empty list"),
        ("budget = 5", 'budget = 5\nscenario = "x"', "has options only"),
        ("budget = 5", "budget = ", "Cannot read the collection"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(file, old, new, wanted):
    with pytest.raises(DsegymError, match=wanted):
        find_collection(file(MINE.replace(old, new)))


def test_a_collection_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DsegymError, match=r"Cannot read the collection '.*none\.toml': No such file"):
        find_collection(str(tmp_path / "none.toml"))
    with pytest.raises(DsegymError, match=r"Unknown collection 'cascade-budget'.*Did you mean 'cascade-budgets'"):
        find_collection("cascade-budget")


def test_a_collection_without_an_instance_is_refused(file):
    with pytest.raises(DsegymError, match="it has no instance"):
        find_collection(file(MINE.partition("[[train]]")[0]))


def test_files_are_taken_from_the_collections_folder_and_missed_in_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "net.csv").write_text("name,m,k,n\nfirst,8,8,8\nsecond,16,8,8\n", encoding="utf-8")
    text = 'name = "nets"\nscenario = "dsegym/AcceleratorSizing-v0"\n[[test]]\nworkload = "net.csv"\n'
    (tmp_path / "nets.toml").write_text(text, encoding="utf-8")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    collection = find_collection(str(tmp_path / "nets.toml"))
    assert collection.options("test")[0]["workload"] == str(tmp_path / "net.csv")
    (tmp_path / "net.csv").rename(tmp_path / "gone.csv")
    with pytest.raises(DsegymError, match=r"Instance 0 of test in the collection 'nets': .*net\.csv.*no such file"):
        collection.problems("test")
    with pytest.raises(DsegymError, match=r"Instance 0 of test in the collection 'nets': .*net\.csv.*no such file"):
        find_collection(str(tmp_path / "nets.toml")).problems("test")
