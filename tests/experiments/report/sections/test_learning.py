"""Learning curves and sensitivity, as the page draws them."""

import pytest

from dsegym.experiments.report.policies import policy_sections
from dsegym.experiments.report.sections.learning import learning_figure, sensitivity_figure, trained_text
from dsegym.experiments.scoring.policies import learning_curve
from dsegym.experiments.scoring.records import PolicyTable, Sensitivity, SensitivityRow


def curve(rewards, stride=100):
    return {"steps": [stride * (place + 1) for place in range(len(rewards))], "reward": rewards}


def table(*curves, adapted=False):
    return PolicyTable(
        "toy/Toy-v0", "decisions", "mine", {}, "test", adapted, ("one",), (), 0, ("optimum",), (), curves
    )


def sensitivity(values=("0", "1", "20"), trained=("0", "1"), worst=-5.0):
    rows = (
        SensitivityRow("ppo", "policy", "zero-shot, greedy", (3.0, 1.0, worst), (2.0, 0.0, -9.0), (4.0, 2.0, 0.0)),
        SensitivityRow("<b>etf", "rule", "", (2.0, 2.0, 2.0), (2.0, 2.0, 2.0), (2.0, 2.0, 2.0)),
        SensitivityRow("bound", "bound", "", (30.0, 40.0, 50.0), (None,) * 3, (None,) * 3),
    )
    return Sensitivity("toy/Toy-v0", "mine", "test", "noise", values, trained, rows)


def test_a_point_of_a_curve_is_the_mean_over_the_updates_before_it_and_over_seeds():
    found = learning_curve("ppo", [curve(list(range(120))), curve([float(x + 10) for x in range(180)])])
    assert (found.seeds, len(found.steps), found.steps[-1]) == (2, 60, 12_000)
    assert (found.low[0], found.reward[0], found.high[0]) == (0.5, 5.5, 10.5)


def test_a_curve_of_few_updates_has_a_point_for_each():
    found = learning_curve("ppo", [curve([1.0, 3.0])])
    assert (found.steps, found.reward, found.low) == ((100, 200), (1.0, 3.0), (1.0, 3.0))


def test_every_policy_has_a_line_and_a_band_where_it_has_seeds():
    lone, two = learning_curve("a", [curve([1.0, 2.0, 3.0])]), learning_curve("b", [curve([1.0, 2.0, 4.0])] * 2)
    figure = learning_figure(table(lone, two))
    assert [trace.name for trace in figure.data if trace.name] == ["a (1 seed)", "b (2 seeds)"]
    assert sum(trace.fill == "tonexty" for trace in figure.data) == 1
    assert figure.layout.xaxis.type == "linear"
    long = learning_curve("c", [curve([1.0, 2.0, 3.0], stride=10_000)])
    assert learning_figure(table(lone, long)).layout.xaxis.type == "log"


def test_sensitivity_shades_what_was_trained_on_and_leaves_out_what_is_far_worse():
    figure = sensitivity_figure(sensitivity(worst=-900.0))
    assert [trace.name for trace in figure.data if trace.name] == ["ppo", "&lt;b&gt;etf (rule)", "bound"]
    (shade,) = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert (shade.x0, shade.x1) == (0, 1)
    assert -120 < figure.layout.yaxis.range[0] < -100


@pytest.mark.parametrize(
    ("values", "kind"), [(("1", "2", "50"), "log"), (("0", "2", "50"), "linear"), (("a", "b", "c"), "linear")]
)
def test_the_axis_of_an_option_fits_its_values(values, kind):
    figure = sensitivity_figure(sensitivity(values, trained=()))
    assert figure.layout.xaxis.type == kind
    assert list(figure.layout.xaxis.ticktext) == list(values)


def test_what_was_trained_on_is_said():
    assert trained_text(sensitivity(trained=("0.1", "5"))) == "Trained on values from 0.1 to 5."
    assert trained_text(sensitivity(trained=("mixed", "low"))) == "Trained on mixed, low."
    assert trained_text(sensitivity(trained=())) == ""


def test_adapted_tables_repeat_no_curve():
    one = learning_curve("a", [curve([1.0, 2.0])])
    zero_shot, adapted, last = policy_sections([table(one), table(one, adapted=True)], [sensitivity()])
    assert 'id="chart-learning-0"' in zero_shot.html
    assert "chart-learning" not in adapted.html
    assert last.title == "Beyond the training range"
    assert "<b>etf" not in last.html
