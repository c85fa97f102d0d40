"""The layers: imports point down only, and importing the package loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dsegym

ROOT = Path(dsegym.__file__).resolve().parent
LAYERS = ("costmodels", "envs", "agents", "experiments")  # each may import those before it
FILES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
HEAVY = (
    "jax",
    "torch",
    "stable_baselines3",
    "onnx",
    "transformers",
    "optuna",
    "pymoo",
    "optax",
    "polars",
    "plotly",
    "scipy",
    "PIL",
    "ortools",
)


def imported_modules(path):
    """The absolute names of every module that a file imports, those inside functions too."""
    package = ("dsegym", *path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_the_files_of_every_layer_are_found():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(LAYERS)
    assert "dsegym.costmodels.errors" in set(imported_modules(ROOT / "envs" / "core" / "spaces.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_from_its_own_layer_and_those_below(path):
    own = LAYERS.index(path.relative_to(ROOT).parts[0])
    for module in imported_modules(path):
        names = module.split(".")
        if names[0] == "dsegym" and len(names) > 1 and names[1] in LAYERS:
            assert LAYERS.index(names[1]) <= own, f"{path.name} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_its_own_package_relatively(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    absolute = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    absolute += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    assert not [module for module in absolute if module.split(".")[0] == "dsegym"]


SCENARIO_FILES = [
    path
    for path in FILES
    if path.parent.parent == ROOT / "envs"
    and path.parent.name not in ("core", "faces", "contracts")
    and path.name != "collections.py"  # of a domain's scenarios
]


@pytest.mark.parametrize("path", SCENARIO_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_scenario_imports_no_other_and_no_face(path):
    inside = [module.split(".") for module in imported_modules(path) if module.startswith("dsegym.envs.")]
    assert {names[2] for names in inside if len(names) > 2} <= {"core"}


ABOVE_THE_LAYERS = ("authoring", "testing")  # what authors import: it stands on the layers, none of them on it


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_layer_below_the_experiments_imports_what_authors_import(path):
    inside = {tuple(module.split(".")[:2]) for module in imported_modules(path)}
    if path.relative_to(ROOT).parts[0] != "experiments":
        assert not inside & {("dsegym", name) for name in ABOVE_THE_LAYERS}


def test_the_core_of_environments_imports_no_face_and_no_scenario():
    for path in sorted((ROOT / "envs" / "core").rglob("*.py")):
        inside = [module.split(".") for module in imported_modules(path) if module.startswith("dsegym.envs.")]
        assert {names[2] for names in inside} <= {"core"}, path


def families(folder):
    """{name: files} of the folders in a folder of cost models."""
    return {each.name: sorted(each.rglob("*.py")) for each in folder.iterdir() if (each / "__init__.py").is_file()}


SHARED = "transformers"  # arithmetic that families share: it is no family, has no game, and imports none
# Family: the one whose arithmetic it takes. Training over memory tiers is training: its bytes, flops and models.
BUILDS_ON = {"offload": "training"}


@pytest.mark.parametrize("within", [("costmodels",), ("costmodels", "reasoning")], ids="/".join)
def test_no_family_of_cost_models_and_no_game_of_reasoning_imports_another(within):
    found = families(ROOT.joinpath(*within))
    assert len(found) >= 5
    for name, paths in found.items():
        others = {("dsegym", *within, other) for other in found if other not in (name, SHARED, BUILDS_ON.get(name))}
        for path in paths:
            inside = {tuple(module.split(".")[: len(within) + 2]) for module in imported_modules(path)}
            assert not inside & others, path


def test_a_relative_import_is_told_by_its_absolute_name(tmp_path, monkeypatch):
    (tmp_path / "costmodels" / "reasoning" / "tree").mkdir(parents=True)
    path = tmp_path / "costmodels" / "reasoning" / "tree" / "game.py"
    path.write_text("def late():\n    from ..plan import game\n    from .... import testing\n", encoding="utf-8")
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    names = {"dsegym.costmodels.reasoning.plan", "dsegym.costmodels.reasoning.plan.game", "dsegym", "dsegym.testing"}
    assert set(imported_modules(path)) == names


def test_cost_models_hold_no_environment():
    """Bounds, games and pictures are there for any environment: none of them needs Gymnasium."""
    for path in FILES:
        if path.relative_to(ROOT).parts[0] == "costmodels":
            assert not [module for module in imported_modules(path) if module.split(".")[0] == "gymnasium"], path


def test_importing_the_package_registers_environments_and_loads_nothing_heavy():
    program = f"""
import sys
import dsegym, gymnasium
assert "dsegym/AcceleratorSizing-v0" in gymnasium.registry
assert "dsegym/AcceleratorSizing-v0" in dsegym.scenario_ids()
print(*[name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_every_public_name_of_the_package_can_be_reached():
    for name in dsegym.__all__:
        assert getattr(dsegym, name) is not None
        assert name in dir(dsegym)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = dsegym.no_such_name
