"""The documentation as a user runs it: its Python blocks, its commands with their output, the paths that it names."""

import doctest
import re
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from dsegym.experiments import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.exists()]
FENCE = re.compile(r"^```(\w+)[ \t]*([^\n]*)\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
TOLERANCE = 1e-5  # relative, of printed numbers: machines differ in the last bits of float32


class Block(NamedTuple):
    language: str
    title: str  # what follows the language: a file's name, for a block that is a file
    text: str
    line: int  # of the first line of the text


def blocks_of(page):
    """The fenced blocks of a page, in order."""
    content = page.read_text(encoding="utf-8")
    return [
        Block(match[1], match[2].strip(), match[3], content.count("\n", 0, match.start(3)) + 1)
        for match in FENCE.finditer(content)
    ]


def by_name(pages):
    return pytest.mark.parametrize("page", pages, ids=[str(page.relative_to(ROOT)) for page in pages])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory from which the example modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    return tmp_path


def write_files(page, folder):
    """Blocks such as ```csv network.csv are files that the page's examples use."""
    for block in blocks_of(page):
        if block.language in ("csv", "toml") and block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")


def run_python(block, page, names):
    """Runs a block in the page's namespace: as a doctest if it has prompts, else as a program."""
    if ">>> " in block.text:
        test = doctest.DocTestParser().get_doctest(block.text, names, page.name, str(page), block.line - 1)
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        report = []
        runner.run(test, out=report.append, clear_globs=False)
        assert not runner.summarize(verbose=False).failed, "".join(report)
        names.update(test.globs)
    else:  # empty lines before it, so that a traceback names the line of the page
        exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)


@by_name([page for page in PAGES if any(block.language == "python" for block in blocks_of(page))])
def test_python_blocks_of_a_page_run_one_after_another(page, folder):
    write_files(page, folder)
    names = {"__name__": "__main__"}
    for block in blocks_of(page):
        if block.language == "python":
            run_python(block, page, names)


def tokens(text):
    """Words, and numbers as numbers."""
    found = []
    for word in text.split():
        try:
            found.append(float(word.strip(",;()")))
        except ValueError:
            found.append(word)
    return found


def same(shown, printed):
    return len(shown) == len(printed) and all(
        a == pytest.approx(b, rel=TOLERANCE) if isinstance(a, float) and isinstance(b, float) else a == b
        for a, b in zip(shown, printed, strict=True)
    )


def assert_shows(shown, printed):
    """The shown text is the printed one, where a line `...` stands for any lines."""
    rest, pieces = tokens(printed), [tokens(piece) for piece in re.split(r"(?m)^\s*\.\.\.\s*$", shown)]
    for number, piece in enumerate(pieces):
        starts = [0] if number == 0 else range(len(rest) - len(piece) + 1)
        start = next((i for i in starts if same(piece, rest[i : i + len(piece)])), None)
        assert start is not None, f"not in the output: {' '.join(map(str, piece))}\n\noutput:\n{printed}"
        rest = rest[start + len(piece) :]
    assert not rest or len(pieces) > 1, f"the output goes on: {rest}"


def run_command(command, monkeypatch, capfd):
    """What a `dsegym ...` command prints."""
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code
    else:
        code = 0
    out, err = capfd.readouterr()
    return out + err, code


@by_name([page for page in PAGES if page.parent.name == "docs"])
def test_commands_of_a_page_print_what_it_shows(page, folder, monkeypatch, capfd):
    write_files(page, folder)
    for block in blocks_of(page):
        if block.language == "console":
            command, _, shown = block.text.replace("\\\n", " ").partition("\n")
            assert command.startswith("$ dsegym "), f"{page.name}, line {block.line}: a console block runs dsegym"
            printed, code = run_command(command.removeprefix("$ "), monkeypatch, capfd)
            assert code == (2 if shown.startswith("dsegym: ") else 0), printed
            assert_shows(shown, printed)


PATH = re.compile(r"`((?:agents|costmodels|docs|envs|experiments|tests|benchmarks)/[\w./*-]+)`")
DOCUMENTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "costmodels" / "accelerator" / "SOURCES.md"]


@by_name(DOCUMENTS)
def test_files_that_a_page_names_exist(page):
    named = PATH.findall(page.read_text(encoding="utf-8"))
    planned = ("costmodels/cache/model.py", "envs/cache/sizing.py")  # where the worked example would go
    missing = [path for path in named if path not in planned and not list(ROOT.glob(path.rstrip("/")))]
    assert not missing


TEST_NAME = re.compile(r"`(test_\w+)`")


@by_name(DOCUMENTS)
def test_tests_that_a_page_names_exist(page):
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = TEST_NAME.findall(page.read_text(encoding="utf-8"))
    assert not [name for name in named if f"def {name}(" not in sources]


LINK = re.compile(r"\[[^\]]*\]\(([^)#:\s]+)(?:#[^)]*)?\)")


@by_name(DOCUMENTS)
def test_relative_links_of_a_page_lead_somewhere(page):
    missing = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert not missing
