"""Pictures of designs: what a diagram looks like in pixels, and environments that render."""

import dataclasses
import warnings
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from dsegym.costmodels.diagram import Diagram, Rectangle
from dsegym.costmodels.errors import UnknownNameError
from dsegym.envs.faces.gymnasium_env import FunctionalGymnasiumEnv
from dsegym.envs.faces.raster import HEIGHT, PALETTE, WIDTH, draw, kind_colours
from dsegym.experiments.report.style import PALETTE as PAGE_PALETTE

SIZING, TOY = "dsegym/AcceleratorSizing-v0", "toy/Staircase-v0"
WHITE = (255, 255, 255)


def diagram(*rectangles, **more):
    axes = {"x_label": "time (µs)", "y_label": "memory (KiB)", "x_range": (0.0, 100.0), "y_range": (0.0, 50.0)}
    return Diagram(**{"title": "a plan", **axes, "rectangles": rectangles, **more})


def count(image, colour):
    """The number of pixels of a colour, given as #rrggbb or RGB."""
    rgb = tuple(bytes.fromhex(colour[1:])) if isinstance(colour, str) else colour
    return int((image == np.array(rgb, np.uint8)).all(axis=-1).sum())


# --- Pixels -----------------------------------------------------------------------------------------------------------


def test_a_picture_is_an_array_of_bytes_of_the_size_asked_for():
    image = draw(diagram(Rectangle(10, 10, 20, 20, "weight", "w0")))
    assert (image.shape, image.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    assert draw(diagram(), 300, 200).shape == (200, 300, 3)


def test_every_kind_has_a_colour_of_the_palette_that_is_in_the_picture():
    rectangles = [Rectangle(10.0 * i, 5.0 * i, 10.0, 5.0, f"kind {i}") for i in range(7)]
    image = draw(diagram(*rectangles))
    assert kind_colours(r.kind for r in rectangles) == {f"kind {i}": PALETTE[i] for i in range(7)}
    for colour in PALETTE:
        assert count(image, colour) > 1000
    assert PALETTE == PAGE_PALETTE


def test_more_kinds_than_colours_still_differ_and_keep_theirs_in_whatever_order_they_come():
    kinds = [f"kind {i:02}" for i in range(20)]
    assert len(set(kind_colours(kinds).values())) == 20
    assert kind_colours(kinds[::-1] * 2) == kind_colours(kinds)


def test_a_rectangle_covers_its_share_of_the_plot():
    half = draw(diagram(Rectangle(0, 0, 50, 50, "a")))
    whole = draw(diagram(Rectangle(0, 0, 100, 50, "a")))
    assert count(half, PALETTE[0]) / count(whole, PALETTE[0]) == pytest.approx(0.5, abs=0.01)


def test_what_lies_beyond_the_limits_of_the_axes_is_cut_off():
    inside, beyond = Rectangle(0, 0, 100, 50, "a"), Rectangle(-1e9, -1e9, 2e9, 2e9, "a")
    np.testing.assert_array_equal(draw(diagram(beyond)), draw(diagram(inside)))


def test_the_thinnest_rectangle_is_seen():
    legend = count(draw(diagram(Rectangle(0, 0, 0, 0, "a"))), PALETTE[0])
    assert count(draw(diagram(Rectangle(50, 0, 1e-9, 50, "a"))), PALETTE[0]) >= legend + 300


def test_a_label_is_shown_where_it_fits_only():
    def shows(width, height):
        rectangle = Rectangle(20, 20, width, height, "a", "buffer")
        return (draw(diagram(rectangle)) != draw(diagram(replace(rectangle, label="")))).any()

    assert shows(30, 10)
    assert not shows(2, 10)
    assert not shows(30, 0.5)


def test_a_label_too_long_shrinks_to_what_stands_before_its_colon():
    long, short = (Rectangle(20, 20, 10, 10, "a", label) for label in ("b7: 65,536 B, live [207, 575)", "b7"))
    np.testing.assert_array_equal(draw(diagram(long)), draw(diagram(short)))


@pytest.mark.parametrize("limit", [40.0, 49.9])
def test_the_limit_is_a_dashed_line_with_a_name(limit):
    plain, lined = draw(diagram()), draw(diagram(limit=(limit, "capacity")))
    rows = (plain != lined).any(axis=(1, 2))
    assert rows.any()
    changed = (plain != lined).any(axis=-1)
    longest = changed.sum(axis=1).max()
    assert 0.5 * WIDTH < longest < 0.8 * WIDTH


def test_the_same_diagram_gives_the_same_pixels():
    rectangles = [Rectangle(i, i / 2, 3, 4, f"kind {i % 5}", f"r{i}") for i in range(60)]
    np.testing.assert_array_equal(draw(diagram(*rectangles)), draw(diagram(*rectangles)))


def test_signs_that_the_font_lacks_are_spelled_out():
    spelled = diagram(title="1 us, 2 x 3 m2", x_label="time (us)")
    np.testing.assert_array_equal(draw(diagram(title="1 µs, 2 × 3 m²", x_label="time (μs)")), draw(spelled))


@pytest.mark.slow
@pytest.mark.parametrize("limits", [(0.0, 0.0), (5.0, 5.0), (0.0, 1e-9), (0.0, 1e15), (-3.0, 2.0), (1e6, 1e6 + 1)])
def test_any_axis_can_be_drawn(limits):
    image = draw(diagram(Rectangle(limits[0], 0, 1, 1, "a"), x_range=limits, y_range=limits, title="t" * 500))
    assert count(image, WHITE) > 0


# --- Environments -----------------------------------------------------------------------------------------------------


@pytest.fixture
def env(toy):
    return FunctionalGymnasiumEnv(toy, render_mode="rgb_array")


def test_an_environment_renders_the_design_of_its_state(env, toy, staircase):
    env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), draw(staircase.diagram(np.zeros(5, int))))
    env.step(2)
    env.step(1)
    image = env.render()
    np.testing.assert_array_equal(image, draw(staircase.diagram(np.array([2, 1, 0, 0, 0]))))
    assert (image.shape, image.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)


def test_gymnasium_make_takes_the_render_mode(staircase):
    env = gymnasium.make(TOY, render_mode="rgb_array")
    assert env.render_mode == "rgb_array"
    env.reset(seed=0)
    assert env.render().shape == (HEIGHT, WIDTH, 3)
    assert gymnasium.make(TOY).unwrapped.render() is None


def test_rendering_before_the_first_reset_is_refused(env):
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.render()


def test_a_design_without_a_diagram_of_its_own_is_a_bar_for_each_parameter(problem):
    problem = dataclasses.replace(problem, diagram=None)
    highest = problem.space.cardinalities - 1
    picture = problem.picture(highest)
    bars = [rectangle.width for rectangle in picture.rectangles if rectangle.kind == "this design"]
    assert bars == [1.0] * len(problem.space)
    described = problem.space.describe(highest)
    assert [name for _, name in picture.y_ticks][::-1] == [f"{name} = {value}" for name, value in described.items()]
    env = FunctionalGymnasiumEnv(problem, "sequential", render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(1)
    assert (env.render() != before).any()


def test_an_unknown_render_mode_names_those_there_are(staircase):
    with pytest.raises(UnknownNameError, match="Unknown render mode 'rgb'; there are: rgb_array"):
        gymnasium.make(TOY, render_mode="rgb")


@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_gymnasium_finds_no_fault_with_rendering(staircase, render_mode):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(TOY, render_mode=render_mode).unwrapped)


def test_gymnasium_finds_no_fault_with_bars():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(SIZING, workload="alexnet", render_mode="rgb_array").unwrapped)
