"""Pages in Markdown as a terminal shows them."""

import pytest

from dsegym.costmodels.errors import UnknownNameError
from dsegym.experiments.cli.pages import show_section

PAGE = """# Who `wins`

How to read it.

## In short

- At *ten* samples [nobody](https://example.org) wins, and this sentence is long enough to be broken
  where eighty columns end.

| Agent | Score &lt;1 |
| --- | ---: |
| `a` | 0.5 [0.1, 0.9] |

### Of others

![a picture](x.svg)

## How this page is made

```bash
dsegym field X
```
"""


def test_a_page_is_its_summary_and_the_names_of_its_other_sections(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    show_section(PAGE, None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Who wins"
    assert lines[2:4] == [
        "- At ten samples nobody wins, and this sentence is long enough to be broken",
        "  where eighty columns end.",
    ]
    assert any(line.split("│")[1:3] == [" a     ", " 0.5 [0.1, 0.9] "] for line in lines)
    assert "Score <1" in "".join(lines)
    assert "Of others" in lines
    assert "(picture: a picture)" in lines
    assert " ".join(lines).endswith(
        "--section shows another: 'How this page is made'. --output FOLDER writes the whole page."
    )
    assert max(map(len, lines)) <= 80


def test_two_columns_of_words_before_the_numbers_stand_in_each_part_of_a_wide_table(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "50")
    head = "| Agent | Instance | Samples of all trials | Place among all |\n| --- | --- | ---: | ---: |\n"
    show_section(f"# T\n\n## In short\n\n{head}| a_long_name | another_long_name | 10,000,000 | 1 of 10,000 |\n", None)
    out = capsys.readouterr().out
    assert out.count("a_long_name") == out.count("another_long_name") == 2


def test_a_section_is_shown_by_its_name(capsys):
    show_section(PAGE, " how this page is MADE")
    assert capsys.readouterr().out == "How this page is made\n\n  dsegym field X\n"


@pytest.mark.parametrize("name", ["x", ""])
def test_a_section_that_is_not_there_is_refused_with_those_that_are(name):
    refusal = f"Unknown section '{name}'; there are: In short, How this page is made"
    with pytest.raises(UnknownNameError, match=refusal):
        show_section(PAGE, name)


@pytest.mark.parametrize("command", ["field", "against", "lottery", "learning"])
def test_a_section_is_no_folder_and_no_json(command, dsegym_command, tmp_path):
    for other in (("--json",), ("--output", tmp_path / "docs")):
        code, out, err = dsegym_command(command, tmp_path, "--section", "In short", *other)
        assert (code, out) == (2, "")
        assert "leave out --json and --output" in err
