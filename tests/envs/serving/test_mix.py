"""dsegym/ServingMix-v0 as users meet it: options, their own prices and histograms, what is refused, yardsticks."""

import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidOptionError, InvalidWorkloadError, UnknownNameError

ID = "dsegym/ServingMix-v0"


def make(**options):
    return dsegym.make_problem(ID, **options)


@pytest.fixture
def write(tmp_path):
    def write_file(text):
        path = tmp_path / "requests.csv"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write_file


HEADER = "prompt_tokens,output_tokens,requests\n"


def test_the_default_is_a_stated_mix_whose_reference_is_the_best_single_type():
    problem = make()
    assert problem.bound.name == "optimum"
    assert problem.bound.value == pytest.approx(7.40, abs=1e-9)
    assert problem.reference.name == "best_single"
    assert problem.reference.value == pytest.approx(3 * 3.67, rel=1e-6)
    assert len(problem.space) == 24


@pytest.mark.parametrize("rule", ["best_single", "cheapest_by_class", "greedy", "improved", "only_L4"])
def test_baselines_are_designs_between_the_optimum_and_their_own_cost(rule):
    problem = make()
    result = problem.evaluate(problem.baselines[rule]())
    assert result.feasible.all()
    assert result.objective[0] >= problem.bound.value * (1 - 1e-6)


def test_a_breakdown_prices_every_type_and_sums_to_the_objective():
    problem = make(rate=16)
    design = problem.bound.design
    found = problem.breakdown(problem.decode(design))
    assert sum(row["cost_usd_h"] for row in found.rows) == pytest.approx(problem.bound.value, rel=1e-9)
    assert {row["GPU"]: row["count"] for row in found.rows} == {
        "L4": 2, "A10G": 2, "A100-PCIe-80GB": 3, "H100-SXM-80GB": 0
    }  # fmt: skip
    picture = problem.picture(np.array(design))
    assert "14.43 $/h" in picture.title
    assert len(picture.y_ticks) == 4


def test_own_prices_move_the_optimum():
    dear, cheap = make(rate=32), make(rate=32, gpus="L4=0.7,A10G=1.01,A100-PCIe-80GB=3.67,H100-SXM-80GB=0.5")
    assert cheap.bound.value < dear.bound.value
    counts = {row["GPU"]: row["count"] for row in cheap.breakdown(cheap.decode(cheap.bound.design)).rows}
    assert counts == {"L4": 0, "A10G": 0, "A100-PCIe-80GB": 0, "H100-SXM-80GB": 8}


def test_a_table_of_devices_gives_own_prices_and_own_gpus(write, tmp_path):
    path = tmp_path / "gpus.csv"
    path.write_text(
        "device,bf16_tflops,memory_gb,bandwidth_gb_s,scale_up_gb_s,usd_per_h\n"
        "H100-SXM-80GB,,,,,3\nX1,1200,96,4000,300,0.5\n"
    )
    problem = make(workload="azure_conv", gpus=str(path), rate=20)
    counts = {row["GPU"]: row["count"] for row in problem.breakdown(problem.decode(problem.bound.design)).rows}
    assert counts["X1"] > 0 == counts["H100-SXM-80GB"]
    assert any("figures of X1 are yours" in note for note in problem.notes)
    with pytest.raises(DsegymError, match=r"arena was measured on L4, A10G, .*, not on X1"):
        make(gpus=str(path))
    prices = tmp_path / "prices.csv"
    prices.write_text("device,usd_per_h\nL4,0.7\nA10G,1.01\nA100-PCIe-80GB,3.67\nH100-SXM-80GB,7.516\n")
    assert make(gpus=str(prices)).bound.value == pytest.approx(make().bound.value)


def test_a_table_without_a_price_is_refused(tmp_path):
    path = tmp_path / "gpus.csv"
    path.write_text("device\nB200-SXM\nL4\n")
    with pytest.raises(DsegymError, match=r"gpus\.csv has no usd_per_h of B200-SXM"):
        make(workload="azure_conv", gpus=str(path))


def test_equal_prices_are_one_instance_however_they_are_written():
    texts = [
        make(gpus=given).options["gpus"] for given in ("L4=0.70,A10G", "L4=7e-1, A10G=1.01", {"L4": 0.7, "A10G": 1.01})
    ]
    assert set(texts) == {"L4=0.7,A10G=1.01"}
    assert make(gpus="L4,A10G,A100-PCIe-80GB,H100-SXM-80GB").options["gpus"] == "melange"


def test_a_users_histogram_becomes_an_instance(write):
    path = write(HEADER + "200,100,30\n4000,400,10\n\n# a comment\n500,50,0\n")
    problem = make(workload=path, rate=20, slices=4, gpus="A100-PCIe-80GB=3.67,H100-SXM-80GB=7.516", tpot=80)
    assert problem.space.names[0] == "in200_out100_1_1"
    assert len(problem.space) == 8  # the class without requests is left out
    assert problem.bound.value <= problem.reference.value * (1 + 1e-6)
    assert any("roofline" in note for note in problem.notes)


def test_a_trace_is_the_instance_of_the_histogram_that_it_counts_into(write):
    options = {"gpus": "A100-PCIe-80GB=3.67,H100-SXM-80GB=7.516", "rate": 20}
    by_hand = make(workload=write(HEADER + "180,90,2\n4002.5,400,2\n"), **options)
    rows = "0,150,80\n1,210,100\n1.5,4002,300\n3,4003,500\n"
    counted = make(workload=write("arrival_s,prompt_tokens,output_tokens\n" + rows), **options)
    assert counted.space == by_hand.space
    assert counted.bound.value == by_hand.bound.value
    assert set(counted.notes) - set(by_hand.notes) == {
        "4 requests of a trace are counted into 2 classes by size; they came at 1 requests/s on average, which the "
        "option rate does not follow."
    }


def test_figures_that_were_not_checked_are_named_in_the_notes():
    def notes(**options):
        return " ".join(make(workload="azure_conv", **options).notes)

    assert "sizes of Yi-34B are recalled" in notes(model="Yi-34B", gpus="H100-SXM-80GB", tensor_parallelism=2)
    assert "figures of A10G, A40 were not checked" in notes(gpus="A10G,L4,A40=1")
    assert "checked" not in notes(gpus="L4,H100-SXM-80GB")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER + "200,100,0\n300,10,0\n", "the requests sum to 0"),
        (HEADER + "200,100,-3\n", "line 2: requests = '-3' is not a number from 0 to"),
        (HEADER + "0,100,3\n", "line 2: prompt_tokens = '0' is not a number from 1"),
        (HEADER + "200,many,3\n", "line 2: output_tokens = 'many' is not a number"),
        ("prompt_tokens,requests\n200,3\n", "no column output_tokens"),
        (HEADER, "needs a header line and at least one class"),
    ],
)
def test_a_histogram_that_says_nothing_is_refused_with_the_line(text, said, write):
    with pytest.raises(InvalidWorkloadError, match=said):
        make(workload=write(text))


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"gpus": "H100=3"}, UnknownNameError, r"Unknown GPU 'H100'.*there are"),
        ({"gpus": "L4=-1"}, DsegymError, "the price of L4 is -1; a price is from 0.0001 to 1000"),
        ({"gpus": "L4=0"}, DsegymError, "the price of L4 is 0; a price is from"),
        ({"gpus": {}}, DsegymError, "gpus: it names none; one type at least is needed"),
        ({"gpus": {"L4": 10**5000}}, DsegymError, "the price of L4 is a huge number"),
        ({"gpus": {"L4": "9" * 5000}}, DsegymError, r"the price of L4 is 9{57}\.\.\.; a price is"),
        ({"workload": "azure_conv", "tensor_parallelism": 3}, DsegymError, "does not divide the 32 attention heads"),
        ({"gpus": "L4=cheap"}, DsegymError, "the price of L4 is cheap"),
        ({"gpus": "L4=nan"}, DsegymError, "the price of L4 is nan"),
        ({"gpus": "L4=0.00015"}, DsegymError, "with 4 decimals at most"),
        ({"gpus": "L4,L4=2"}, DsegymError, "L4 is named twice"),
        ({"gpus": "B200-SXM"}, DsegymError, "no price of B200-SXM is known; write B200-SXM=PRICE"),
        ({"gpus": "B200-SXM=5"}, DsegymError, "arena was measured on L4, A10G, .*, not on B200-SXM"),
        ({"workload": "pubmed", "gpus": "L4,A10G"}, DsegymError, "none serves all requests of the published workload"),
        ({"tpot": 80}, DsegymError, "has the targets 40, 120 ms, not 80"),
        ({"rate": 3}, DsegymError, "has the rates 1, 2, 4, 8, 16, 32 requests/s, not 3"),
        ({"rate": 0}, InvalidOptionError, "rate = 0 is not allowed; allowed: any number above 0"),
        ({"model": "Qwen3-8B"}, DsegymError, "arena was measured with model = Llama-2-7B"),
        ({"workload": "chats"}, UnknownNameError, "Unknown workload 'chats'"),
        ({"workload": "azure_conv", "rate": 1e6}, DsegymError, "GPUs; at most 10,000 are counted"),
        ({"workload": "azure_conv", "gpus": "H100-SXM-80GB=1000", "rate": 3000}, DsegymError, "at most 200,000 are"),
        ({"workload": "azure_conv", "model": "DeepSeek-V3"}, DsegymError, r"fits on none .*: 1 x .* lacks [\d,.]+ GB"),
        ({"workload": "azure_conv", "tpot": 1}, DsegymError, "No GPU serves"),
        ({"workload": "azure_conv", "precision": "fp8"}, DsegymError, "A10G has no fp8 arithmetic"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(options, error, said):
    with pytest.raises(error, match=said):
        make(**options)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidWorkloadError, match="there is no such file"):
        make(workload=str(tmp_path / "none.csv"))


def test_core_instances_have_room_between_reference_and_optimum():
    core = dsegym.load_scenario(ID).core_instances()
    assert len(core) > 30
    for options in core[::6]:
        assert not make(**options).obstacle


def test_a_cheaper_mix_is_never_worth_less():
    problem = make(rate=4)
    designs = problem.space.sample(np.random.default_rng(0), 200)
    result = problem.evaluate(designs)
    np.testing.assert_allclose(result.objective, result.metrics.cost_usd_h, rtol=1e-7)
    assert result.objective.min() >= problem.bound.value * (1 - 1e-6)


def test_a_histogram_of_few_classes_is_cut_into_slices_so_that_no_cheaper_mix_is_hidden(tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("prompt_tokens,output_tokens,requests\n512,128,700\n2048,256,300\n", encoding="utf-8")
    options = {"workload": path, "model": "Llama-3-8B", "rate": 39, "tpot": 60}
    options["gpus"] = "A100-SXM-80GB=1.9,H100-SXM-80GB=3.1"
    own, whole = make(**options), make(**options, slices=1)
    assert (len(own.space), len(whole.space)) == (24, 2)
    assert own.bound.value == pytest.approx(8.1)  # an A100 and two H100
    assert whole.bound.value == pytest.approx(9.3)
    rows = [f"{64 * place},{64 + place},1" for place in range(1, 26)]
    path.write_text("\n".join(["prompt_tokens,output_tokens,requests", *rows]) + "\n", encoding="utf-8")
    assert len(make(**options).space) == 25
