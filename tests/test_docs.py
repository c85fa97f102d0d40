"""The documentation as a user runs it: its Python blocks, its commands with their output, the paths that it names."""

import ast
import doctest
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from dsegym.experiments import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.exists()]
FENCE = re.compile(r"^```(\w+)[ \t]*([^\n]*)\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
RECIPES = ROOT / "docs" / "clients.md"  # whose blocks stand alone, and need libraries that may not be there
# Pages whose blocks take ten seconds and more, most of them to compile.
COMPILED = (
    "accelerator",
    "accelerator_mapping",
    "fronts",
    "functional",
    "memory_allocation",
    "memory_tiers",
    "my_outcomes",
    "power_cap",
    "proxies",
    "serving_cluster",
    "serving_engine",
    "serving_stream",
    "size_my_network",
    "soc_scheduling",
    "train_ppo",
)
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


def by_name(pages, slow=()):
    """Of each page by its name; those whose stems are among `slow` with that mark."""
    cases = [pytest.param(page, marks=pytest.mark.slow if page.stem in slow else ()) for page in pages]
    return pytest.mark.parametrize("page", cases, ids=[str(page.relative_to(ROOT)) for page in pages])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory from which the example modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    return tmp_path


def write_files(page, folder):
    """Blocks such as ```csv network.csv are files that the page's examples use."""
    for block in blocks_of(page):
        if block.language in ("csv", "json", "toml", "yaml") and block.title:
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


@pytest.mark.slow
@by_name([page for page in PAGES if page != RECIPES and any(b.language == "python" for b in blocks_of(page))], COMPILED)
def test_python_blocks_of_a_page_run_one_after_another(page, folder):
    write_files(page, folder)
    names = {"__name__": "__main__"}
    for block in blocks_of(page):
        if block.language == "python":
            run_python(block, page, names)


def test_a_budget_beyond_the_recorded_attempts_ends_the_page_on_outcomes_in_one_sentence(folder, capsys):
    page = ROOT / "docs" / "my_outcomes.md"
    blocks, names = [block for block in blocks_of(page) if block.language == "python"], {"__name__": "__main__"}
    log, replay = blocks[:2]
    run_python(log, page, names)
    wrong = replay._replace(text=replay.text.replace("16)", "16, 32)"))
    with pytest.raises(SystemExit) as stop:
        run_python(wrong, page, names)
    assert str(stop.value) == (
        "my outcomes: samples = 32 is beyond the 16 recorded attempts of log; 1 to 16 are allowed, as no recorded "
        "attempt is drawn twice."
    )
    assert not capsys.readouterr().out


def recipes():
    """The Python blocks of the page of recipes, by their headings; `slow` may follow the language."""
    lines = RECIPES.read_text(encoding="utf-8").splitlines()
    for block in blocks_of(RECIPES):
        if block.language == "python":
            heading = next(line for line in reversed(lines[: block.line]) if line.startswith("##"))
            marks = [getattr(pytest.mark, name) for name in block.title.split()]
            yield pytest.param(block, id=heading.strip("# "), marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize("block", list(recipes()))
def test_a_recipe_runs_alone(block, folder):
    nodes = list(ast.walk(ast.parse(block.text)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    names += ["tree"] * any(name.startswith("ray.rllib") for name in names)  # Ray alone does not bring what RLlib needs
    missing = [name for name in names if importlib.util.find_spec(name.partition(".")[0]) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed")
    run_python(block, RECIPES, {"__name__": "__main__"})


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
    monkeypatch.delenv("COLUMNS", raising=False)  # pages show what a pipe gets; pytest-xdist tells a terminal's width
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code
    else:
        code = 0
    out, err = capfd.readouterr()
    return out + err, code


@pytest.mark.slow
@by_name([page for page in PAGES if page.parent.name == "docs"], ("memory_mapping", "my_agent", "policies"))
def test_commands_of_a_page_print_what_it_shows(page, folder, monkeypatch, capfd):
    write_files(page, folder)
    for block in blocks_of(page):
        if block.language == "console":
            command, _, shown = block.text.replace("\\\n", " ").partition("\n")
            assert command.startswith("$ dsegym "), f"{page.name}, line {block.line}: a console block runs dsegym"
            printed, code = run_command(command.removeprefix("$ "), monkeypatch, capfd)
            assert code == (2 if shown.startswith("dsegym: ") else 0), printed
            assert_shows(shown, printed)


def test_the_page_on_learning_is_what_its_stored_results_say(monkeypatch, capfd):
    printed, code = run_command(f"dsegym learning {ROOT / 'docs' / 'learning' / 'results.json'}", monkeypatch, capfd)
    assert (printed, code) == ((ROOT / "docs" / "learning.md").read_text(encoding="utf-8"), 0)


@pytest.mark.slow
def test_the_page_on_agents_and_its_picture_are_what_their_stored_results_say(monkeypatch, capfd, tmp_path):
    stored = ROOT / "docs" / "field" / "results.json"
    assert stored.stat().st_size < 10**6
    _, code = run_command(f"dsegym field {stored} --output {tmp_path}", monkeypatch, capfd)
    assert code == 0
    for name in ("which_agent_when.md", "field/ranks.svg", "field/results.json"):
        assert (tmp_path / name).read_bytes() == (ROOT / "docs" / name).read_bytes()


def test_the_page_on_random_search_is_what_its_stored_results_say(monkeypatch, capfd, tmp_path):
    stored = ROOT / "docs" / "against" / "results.json"
    assert stored.stat().st_size < 10**6
    _, code = run_command(f"dsegym against {stored} --output {tmp_path}", monkeypatch, capfd)
    assert code == 0
    for name in ("against_random.md", "against/results.json"):
        assert (tmp_path / name).read_bytes() == (ROOT / "docs" / name).read_bytes()


@pytest.mark.slow
def test_the_page_on_the_lottery_is_what_its_stored_results_say(monkeypatch, capfd, tmp_path):
    stored = ROOT / "docs" / "lottery" / "results.json"
    assert stored.stat().st_size < 4 * 10**6
    _, code = run_command(f"dsegym lottery {stored} --output {tmp_path}", monkeypatch, capfd)
    assert code == 0
    for name in ("hyperparameter_lottery.md", "lottery/results.json"):
        assert (tmp_path / name).read_bytes() == (ROOT / "docs" / name).read_bytes()


RAW = "raw as on a leaderboard: below 0 is worse than the reference."
WITH_REFERENCE = "no score is below 0 (the score with the reference of `docs/compete.md`, not the raw one"


@pytest.mark.parametrize(
    ("page", "clause"),
    [("which_agent_when", WITH_REFERENCE), ("hyperparameter_lottery", WITH_REFERENCE), ("learning", RAW)],
)
def test_a_page_of_scores_says_which_of_the_two_it_shows_and_one_page_explains_both(page, clause):
    pages = {each.stem: " ".join(each.read_text(encoding="utf-8").split()) for each in PAGES}
    assert clause in pages[page]
    assert f"]({page}.md)" in pages["compete"].partition("## Two scores")[2].partition("## Suites")[0]


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
def test_every_column_of_a_pages_tables_has_a_heading(page):
    heads = re.findall(r"^\|(.+)\|\n\|[-:| ]+\|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert not [head for head in heads if not all(cell.strip() for cell in re.split(r"(?<!\\)\|", head))]


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


PICTURE = re.compile(r"""<picture>\s*((?:<source [^>]+>\s*)+)<img src="([^"]+)" alt="[^"]+">\s*</picture>""")
SOURCE = re.compile(r"""media="\(prefers-color-scheme: (\w+)\)" srcset="([^"]+)\"""")


def test_the_readmes_picture_fits_the_readers_theme_and_is_an_image_elsewhere():
    ((sources, fallback),) = PICTURE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    by_theme = dict(SOURCE.findall(sources))
    assert by_theme.keys() == {"dark", "light"}
    assert fallback == by_theme["light"] != by_theme["dark"]
    assert all((ROOT / path).is_file() for path in by_theme.values())


def test_the_dark_picture_is_what_its_command_makes_of_the_light_one():
    spec = importlib.util.spec_from_file_location("dark_picture", ROOT / "docs" / "dark_picture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    light, dark = (path.read_text(encoding="utf-8") for path in (module.LIGHT, module.DARK))
    assert module.dark(light) == dark
    drawn = {"#ffffff", "#222222"}  # paper and ink, as they were
    assert drawn <= set(re.findall(r"#[0-9a-f]{6}", light))
    assert not drawn & set(re.findall(r"#[0-9a-f]{6}", dark))


# --- What the page of recipes says of other processes -----------------------------------------------------------------

FIRST_STEP = """
import gymnasium, dsegym
env = gymnasium.make("dsegym/AcceleratorSizing-v0", workload="alexnet")
env.reset(seed=0)
env.step(env.action_space.sample())
"""


@pytest.mark.slow
def test_the_compile_cache_of_the_recipes_spares_the_next_process_every_compilation(tmp_path):
    (text,) = (block.text for block in blocks_of(RECIPES) if "JAX_COMPILATION_CACHE_DIR" in block.text)
    settings = dict(re.findall(r"^export (\w+)=(\S+)", text, re.MULTILINE))
    settings |= {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}

    def compiled():
        command = [sys.executable, "-c", FIRST_STEP]
        subprocess.run(command, env={**os.environ, **settings}, check=True)
        return {path.name for path in (tmp_path / "cache").glob("*-cache")}

    first = compiled()
    assert first
    assert compiled() == first


@pytest.mark.slow
def test_a_plug_in_that_is_installed_as_the_recipes_say_is_known_to_every_process(tmp_path):
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    (text,) = (block.text for block in blocks_of(RECIPES) if block.language == "toml")
    source, target = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    shutil.copy(ROOT / "docs" / "examples" / "toy_sequential.py", source)
    project = '[project]\nname = "toy"\nversion = "0.1"\n[tool.setuptools]\npy-modules = ["toy_sequential"]\n'
    (source / "pyproject.toml").write_text(project + text, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-build-isolation", "--quiet"]
    subprocess.run([*pip, "--target", target, source], check=True)
    script = """
import gymnasium, dsegym
if __name__ == "__main__":
    spec = gymnasium.make("toy/Checkpointing-v0", memory=0.25).spec
    assert gymnasium.make(type(spec).from_json(spec.to_json())).unwrapped.problem.options["memory"] == "0.25"
    spawn = {"vectorization_mode": "async", "vector_kwargs": {"context": "spawn"}}
    lanes = gymnasium.make_vec("toy/Checkpointing-v0", num_envs=2, **spawn)
    lanes.reset(seed=0)
    lanes.close()
    print("toy/Checkpointing-v0" in dsegym.scenario_ids())
"""
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(target), os.environ.get("PYTHONPATH")]))
    found = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == "True\n", found.stderr
