"""The wheel: it holds the package and its data, works from a clean directory, and holds nothing else."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = """
import dsegym
from dsegym.costmodels.accelerator.platforms import technology_rows
from dsegym.costmodels.accelerator.workloads import get_workload, workload_names
from dsegym.envs.accelerator_sizing import _stored_optima
from dsegym.experiments.suite import find_suite, load_suite, suite_names
print(dsegym.__file__)
print(len([get_workload(name) for name in workload_names()]), len(technology_rows()), len(_stored_optima()))
print(len([load_suite(find_suite(name)) for name in suite_names()]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the tree, so that the build leaves nothing behind here."""
    copy = tmp_path_factory.mktemp("source") / "checkout"
    skip = shutil.ignore_patterns(".*", "results", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=skip)
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(target), str(copy)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return next(target.glob("*.whl"))


def test_the_wheel_works_from_a_clean_directory(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", CODE], cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    place, data, suites = done.stdout.splitlines()
    assert Path(place).is_relative_to(site)
    assert data == f"17 {technology_count()} 204"
    assert int(suites) == len(list((ROOT / "experiments" / "suites").glob("*.toml")))


def technology_count():
    lines = (ROOT / "costmodels" / "accelerator" / "technology.csv").read_text(encoding="utf-8").splitlines()
    return len([line for line in lines if not line.startswith("#")]) - 1


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[1] for name in names if name.startswith("dsegym/") and name.count("/") > 1}
    assert folders == {"agents", "costmodels", "envs", "experiments"}
    assert {name.split("/")[0] for name in names} == {"dsegym", "dsegym-0.1.0.dist-info"}
    for needed in ("py.typed", "experiments/templates/leaderboard.html.j2", "costmodels/accelerator/SOURCES.md"):
        assert f"dsegym/{needed}" in names
