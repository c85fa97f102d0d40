"""dsegym/MemoryTiers-v0 as users meet it: options, yardsticks, breakdowns, pictures, what is refused."""

import functools

import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidOptionError, InvalidWorkloadError, UnknownNameError
from dsegym.costmodels.offload.model import PENALTY

ID = "dsegym/MemoryTiers-v0"
SMALL = (("model", "GPT-1.7B"), ("gpu", "L4"), ("host_memory", 64), ("batch", 4))


@functools.cache
def kept(options):
    return dsegym.make_problem(ID, **dict(options))


def make(**options):
    return kept(tuple({**dict(SMALL), **options}.items()))


@pytest.fixture(scope="module")
def small():
    return make()


def test_the_optimum_is_better_than_every_rule_and_than_random_placements(small):
    assert small.bound.name == "optimum"
    assert small.reference.name == "zero_infinity"
    assert small.bound.value < 0.8 * small.reference.value
    for make_design in small.baselines.values():
        assert small.evaluate(make_design()).objective[0] >= small.bound.value * (1 - 1e-6)
    result = small.evaluate(small.space.sample(np.random.default_rng(0), 4096))
    assert result.feasible.any()
    assert not result.feasible.all()
    assert result.objective[result.feasible].min() >= small.bound.value * (1 - 1e-6)
    assert result.objective[~result.feasible].min() >= PENALTY > result.objective[result.feasible].max()


def test_every_rule_is_named_where_it_fits(small):
    rules = ["zero_infinity", "zero_offload", "all_host", "all_ssd", "static_halves", "fuyou", "deep_optimizer_states"]
    assert list(small.baselines) == rules
    values = {name: small.decode(np.array(design())) for name, design in small.baselines.items()}
    assert values["zero_infinity"]["optimizer_host"] == values["zero_infinity"]["optimizer_gpu"] == 0
    assert values["zero_offload"]["weights_gpu"] == 1
    assert values["static_halves"]["activations_host"] == 0.5
    assert values["fuyou"]["during"] == 1
    assert values["deep_optimizer_states"]["optimizer_host"] == 1


def test_the_three_best_placements_are_unlike_and_the_first_is_the_optimum(small):
    designs = small.ranked(3)
    values = small.evaluate(designs).objective
    assert len(designs) == 3
    assert list(values) == sorted(values)
    assert values[0] == small.bound.value


def test_a_breakdown_tells_each_resource_and_tier(small):
    found = small.breakdown(small.decode(np.array(small.reference.design)))
    step = found.totals["step_s"]
    busiest = max(row["seconds"] for row in found.rows if row["of"] == "step")
    assert 0 < busiest <= step
    assert 0 < found.totals["bound_of_any_split_s"] <= step
    assert found.totals["forward_end_s"] < found.totals["backward_end_s"] < found.totals["step_end_s"]
    tiers = {row["part"]: row for row in found.rows if row["of"] == "memory"}
    assert list(tiers) == ["gpu", "host", "cxl", "ssd"]
    assert tiers["ssd"]["gigabytes"] == pytest.approx(found.totals["ssd_gb"], rel=1e-6)
    assert not any("does not fit" in note for note in found.notes)


def test_a_placement_that_does_not_fit_says_what_it_lacks(small):
    values = small.decode(np.array(small.reference.design)) | {"weights_gpu": 1.0, "optimizer_gpu": 1.0}
    found = small.breakdown(values)
    assert found.totals["missed"] > 0
    assert "This placement does not fit: it needs" in found.notes[0]
    assert "of a GPU's memory, which has" in found.notes[0]


def test_a_placement_is_drawn_as_what_resources_do_and_tiers_hold(small):
    design = np.array(small.reference.design, np.int32)
    picture = small.picture(design)
    gpu = sum(each.width for each in picture.rectangles if each.label.startswith("gpu, "))
    totals = small.breakdown(small.decode(design))
    seconds = sum(row["seconds"] for row in totals.rows if str(row["part"]).startswith("gpu, "))
    assert gpu == pytest.approx(seconds / totals.totals["step_s"], rel=1e-5)
    assert any(each.kind == "memory" for each in picture.rectangles)
    other = small.picture(np.array(small.bound.design, np.int32))
    assert other.y_ticks == picture.y_ticks  # they are drawn side by side


def test_without_ssds_or_cards_nothing_is_placed_there():
    problem = make(ssds=0)
    assert problem.space["weights_cxl"].values == (0.0,)
    assert problem.space["weights_host"].values == (1.0,)
    assert "zero_infinity" not in problem.baselines
    totals = problem.breakdown(problem.decode(np.array(problem.bound.design))).totals
    assert totals["ssd_gb"] == totals["cxl_gb"] == totals["ssd_written_gb"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "better",
    [{"host_memory": 256}, {"ssds": 8}, {"link": 50}, {"updates": 5}, {"batch": 8}, {"optimizer": "adam_8_bit"}],
)
def test_more_of_anything_never_makes_the_optimum_worse(better):
    assert make(**better).bound.value <= make().bound.value * (1 + 1e-6)


def test_a_users_own_gpu_and_model_are_taken(tmp_path):
    table = tmp_path / "gpu.csv"
    table.write_text("device,bf16_tflops,memory_gb,bandwidth_gb_s,scale_up_gb_s\nMine,100,24,500,32\n")
    problem = make(gpu=str(table))
    assert problem.bound.value > 0
    assert any("Mine are yours" in note for note in problem.notes)
    assert any("What Mine reaches of its peak: assumed." in note for note in problem.notes)


def test_what_is_assumed_and_what_headlines_alone_were_compared_with_is_told(small):
    assert "published headline ratios are all that they were compared with" in small.notes[0]
    assert any("RTX4090" in note and "measured" in note for note in make(gpu="RTX4090").notes)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"gpus": 0}, InvalidOptionError, "gpus = 0 is not allowed; allowed: any whole number from 1 to 64"),
        ({"host_memory": -1}, InvalidOptionError, "host_memory = -1 is not allowed"),
        ({"ssd_read": 0}, InvalidOptionError, "ssd_read = 0 is not allowed"),
        ({"trainable": 0}, InvalidOptionError, "trainable = 0 is not allowed"),
        ({"updates": "nan"}, InvalidOptionError, "updates = 'nan' is not allowed"),
        ({"batch": 1.5}, InvalidOptionError, "batch = 1.5 is not allowed"),
        ({"gpu": "RTX409"}, UnknownNameError, "Did you mean 'RTX4090'"),
        ({"gpu": "./none.csv"}, InvalidWorkloadError, "none.csv"),
        ({"model": "GPT-175"}, UnknownNameError, "Did you mean 'GPT-175B'"),
        ({"optimizer": "sgd"}, UnknownNameError, "adamw"),
    ],
)
def test_what_is_not_allowed_is_refused_in_one_sentence(options, error, said):
    with pytest.raises(error) as refused:
        make(**options)
    assert said in str(refused.value)


def test_a_model_that_no_placement_fits_says_the_smallest_memory_that_would():
    with pytest.raises(DsegymError) as refused:
        make(model="GPT-18B", ssds=0, host_memory=64)
    said = str(refused.value)
    assert said.startswith("No placement of GPT-18B on 1 x L4 fits: the smallest that would takes ")
    needed = float(said.split("takes ")[1].split(" GB of host memory")[0].replace(",", ""))
    assert 14 * 18.4 - 25 < needed < 14 * 18.4  # ZeRO's, but for gradients, which do not wait; some are in the GPU
    with pytest.raises(DsegymError):
        make(model="GPT-18B", ssds=0, host_memory=round(0.99 * needed / 0.9, 1))
    assert make(model="GPT-18B", ssds=0, host_memory=round(1.001 * needed / 0.9, 1)).space.size > 0
