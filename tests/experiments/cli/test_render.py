"""`dsegym render`: designs as pictures and episodes as films, read again by Pillow."""

import numpy as np
import pytest
from PIL import Image

import dsegym
from dsegym.envs.core.functional import FunctionalEnv
from dsegym.envs.core.scenarios import scenario_ids
from dsegym.envs.faces.gymnasium_env import FunctionalGymnasiumEnv
from dsegym.envs.faces.raster import draw
from dsegym.envs.memory.allocation import MemoryAllocation

PACKING = ("dsegym/MemoryAllocation-v0", "--option", "instance=perfect_30_s1")
QUICK = ("dsegym/AcceleratorSizing-v0", "dsegym/MemoryAllocation-v0", "dsegym/ServingMix-v0")


@pytest.mark.slow
@pytest.mark.parametrize(
    "scenario",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in scenario_ids()
        if name.startswith("dsegym/")
    ],
)
def test_every_scenario_draws_its_reference(scenario, dsegym_command, tmp_path):
    path = tmp_path / "design.png"
    code, out, err = dsegym_command("render", scenario, "--output", str(path))
    assert (code, err) == (0, "")
    assert "Picture:" in out
    with Image.open(path) as picture:
        assert (picture.format, picture.size) == ("PNG", (960, 600))
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 5


def test_the_picture_is_that_of_the_design(dsegym_command, tmp_path):
    problem = dsegym.make_problem("dsegym/AcceleratorSizing-v0", workload="alexnet")
    design = problem.space.encode({**problem.decode(problem.reference.design), "rows": 8})
    options = ("--workload", "alexnet", "--design", "rows=8")
    assert dsegym_command("render", problem.scenario, *options, "--output", str(tmp_path / "a.png"))[0] == 0
    with Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), draw(problem.picture(design)))


def test_the_proven_design_is_drawn_by_its_name(dsegym_command, tmp_path):
    problem = dsegym.make_problem("dsegym/AcceleratorSizing-v0", workload="alexnet")
    options = ("--workload", "alexnet", "--baseline", "optimum", "--output", str(tmp_path / "a.png"))
    code, out, _ = dsegym_command("render", problem.scenario, *options)
    assert code == 0
    assert "Drawn: the design 'optimum'." in out
    with Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), draw(problem.picture(np.array(problem.bound.design))))


@pytest.mark.parametrize("option", [("--form", "sequential"), ("--seed", "0"), ("--frames", "5"), ("--rate", "2")])
def test_what_only_a_film_has_is_refused_for_a_picture(dsegym_command, tmp_path, option):
    code, _, err = dsegym_command("render", *PACKING, *option, "--output", str(tmp_path / "a.png"))
    assert code == 2
    assert f"{option[0]} is for a film, a .gif file" in " ".join(err.split())


@pytest.mark.slow
def test_bars_are_of_what_is_set_and_mark_the_reference():
    problem = dsegym.make_problem("dsegym/ServingCluster-v0")
    env = FunctionalGymnasiumEnv(problem, "sequential", render_mode="rgb_array")
    env.reset(seed=0)
    first, reference = env.state, problem.reference.design
    for count in range(len(reference) + 1):
        bars = env.functional.picture(problem, first, reference[:count])
        kinds = [rectangle.kind for rectangle in bars.rectangles]
        assert (kinds.count("this design"), kinds.count("reference")) == (count, len(reference))
        named = [name.partition(" = ")[0] for _, name in reversed(bars.y_ticks)]
        assert named == list(problem.space.names)
    assert bars == problem.picture(np.array(reference))
    assert bars.title.startswith(f"{problem.objective.name} {problem.reference.value:.4g}")


def test_a_film_shows_the_episode_of_a_design(dsegym_command, tmp_path):
    path = tmp_path / "film.gif"
    code, out, err = dsegym_command("render", *PACKING, "--frames", "5", "--rate", "2", "--output", str(path))
    assert (code, err) == (0, "")
    assert "Film of 5 frames" in out
    with Image.open(path) as film:
        assert (film.format, film.n_frames, film.size) == ("GIF", 5, (960, 600))
        assert film.info["duration"] == 500
        first = np.asarray(film.convert("RGB"), np.int16)
        film.seek(4)
        assert film.info["duration"] == 2000
        last = np.asarray(film.convert("RGB"), np.int16)
    assert (np.abs(last - first) > 30).any()


def test_a_form_without_actions_of_a_design_has_no_film(dsegym_command, tmp_path, monkeypatch):
    monkeypatch.setattr(MemoryAllocation, "decide", FunctionalEnv.decide)
    arguments = ("--form", "sequential", "--output", str(tmp_path / "a.gif"))
    code, _, err = dsegym_command("render", *PACKING, *arguments)
    assert code == 2
    assert "does not say which actions follow a design in the form 'sequential'" in err
    assert "those that are: parametric" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*PACKING, "--output", "design.jpg"), "a .png file for a picture or a .gif file for a film, not 'design.jpg'"),
        ((*PACKING, "--form", "such", "--output", "film.gif"), "Unknown form 'such'"),
        ((*PACKING, "--design", "such=1", "--output", "a.png"), "Unknown parameter 'such'"),
        ((*PACKING, "--baseline", "such", "--output", "a.png"), "Unknown baseline 'such'"),
    ],
)
def test_wrong_requests_are_a_sentence_and_write_nothing(arguments, message, dsegym_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = dsegym_command("render", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())
