"""Models of a user's config.json, against the library that writes it, and devices of a user's table."""

import json

import pytest

from dsegym.costmodels.errors import InvalidWorkloadError, UnknownNameError
from dsegym.costmodels.transformers.architectures import architectures, parameters
from dsegym.costmodels.transformers.configurations import FAMILIES, get_model, load_configuration
from dsegym.costmodels.transformers.devices import devices, get_device, load_devices

# What a type's default configuration lacks or leaves untried.
VARIANTS = {
    "llama": [{}, {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True, "num_key_value_heads": 8}],
    "qwen3": [{}, {"attention_bias": True, "num_key_value_heads": 4}],
    "olmo2": [{}, {"attention_bias": True}],
    "glm": [{}, {"attention_bias": False}],
    "glm4": [{}, {"attention_bias": False}],
    "glm4_moe": [{"head_dim": 128}, {"head_dim": 64, "use_qk_norm": True, "attention_bias": True}],
    "seed_oss": [{}, {"attention_out_bias": True, "mlp_bias": True}],
    "ernie4_5": [{}, {"use_bias": True}],
    "cohere": [{}, {"attention_bias": True}],
    "phimoe": [{}, {"attention_bias": True}],
    "opt": [{"hidden_size": 1024, "word_embed_proj_dim": 1024, "ffn_dim": 4096, "num_attention_heads": 16}],
    "bloom": [{"hidden_size": 256, "n_layer": 3}],
    "gpt2": [{}, {"n_inner": 2000}],
    "gpt_neox": [{}, {"attention_bias": False}],
    "starcoder2": [{}, {"use_bias": False}],
    "gpt_oss": [{}, {"attention_bias": False}],
    "qwen2_moe": [{}, {"qkv_bias": False, "mlp_only_layers": [1]}],
    "qwen3_moe": [{}, {"mlp_only_layers": [0, 3], "decoder_sparse_step": 2}],
    "deepseek_v2": [
        {"num_experts_per_tok": 6, "first_k_dense_replace": 1, "moe_intermediate_size": 1408},
        {"num_experts_per_tok": 6, "first_k_dense_replace": 1, "q_lora_rank": None},
    ],
    "deepseek_v3": [{}, {"attention_bias": True}],
}
KINDS = [name for name in FAMILIES if name != "kimi_k2"]  # which the library has no class for


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_those_of_the_librarys_own_model_to_the_last_one(kind, tmp_path):
    torch, library = (
        pytest.importorskip("torch", reason="torch is not installed"),
        pytest.importorskip("transformers", reason="Transformers is not installed"),
    )
    for members in VARIANTS.get(kind, [{}]):
        config = library.AutoConfig.for_model(kind, **members)
        with torch.device("meta"):
            model = library.AutoModelForCausalLM.from_config(config)
        config.save_pretrained(tmp_path)
        found = parameters(get_model(str(tmp_path / "config.json")))
        assert round(found, 3) == sum(each.numel() for each in model.parameters()), members


# The members that the authors' files have, for models of the package's own table.
PUBLISHED = {
    "Llama-3-70B": {
        "model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
        "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False,
    },
    "Qwen3-0.6B": {
        "model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "head_dim": 128,
        "num_attention_heads": 16, "num_key_value_heads": 8, "vocab_size": 151936, "tie_word_embeddings": True,
    },
    "Mixtral-8x7B": {
        "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000, "num_local_experts": 8,
        "num_experts_per_tok": 2,
    },
    "DeepSeek-V3": {
        "model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048,
        "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128, "vocab_size": 129280,
        "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3,
        "moe_layer_freq": 1, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128,
        "v_head_dim": 128, "num_nextn_predict_layers": 1, "quantization_config": {"quant_method": "fp8"},
    },
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="config.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write_file


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_models_own_file_gives_the_sizes_of_the_package(name, write):
    found, known = get_model(write(PUBLISHED[name])), architectures()[name]
    assert float(parameters(found)) == pytest.approx(float(parameters(known)), rel=1e-4)
    for field in ("layers", "hidden", "heads", "dense_layers", "experts", "active_experts", "kv_numbers", "kv_shards",
                  "prefill_pair_flop", "decode_pair_flop", "expert_parameters"):  # fmt: skip
        assert getattr(found, field) == getattr(known, field), field


def test_what_a_file_says_and_is_not_modelled_is_a_note(write):
    notes = " ".join(load_configuration(write(PUBLISHED["DeepSeek-V3"])).notes)
    assert "quantisation is not read" in notes
    assert "further tokens are left out" in notes
    window = PUBLISHED["Mixtral-8x7B"] | {"sliding_window": 4096}
    assert "Sliding windows are not modelled" in " ".join(load_configuration(write(window)).notes)


LLAMA = PUBLISHED["Llama-3-70B"]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (LLAMA | {"model_type": "mamba"}, "the model_type 'mamba' is not known; known are llama, granite"),
        (LLAMA | {"model_type": ["llama"]}, r"the model_type \['llama'\] is not known"),
        ({"architectures": ["LlamaForCausalLM"]}, "it has no model_type; known are"),
        (LLAMA | {"hidden_size": None}, "the member hidden_size or n_embd or n_embed is missing"),
        (LLAMA | {"hidden_size": -1}, "hidden_size = -1 is not a whole number from 1"),
        (LLAMA | {"hidden_size": 8192.5}, "hidden_size = 8192.5 is not a whole number"),
        (LLAMA | {"num_hidden_layers": 1e9}, "num_hidden_layers = .* is not a whole number from 1 to 10,000"),
        (LLAMA | {"hidden_size": 1e22}, r"hidden_size = 1e\+22 is not a whole number from 1 to 100,000,000"),
        (LLAMA | {"vocab_size": True}, "vocab_size = True is not a whole number"),
        (LLAMA | {"num_key_value_heads": 7}, "num_attention_heads = 64 is no multiple of num_key_value_heads = 7"),
        (LLAMA | {"num_attention_heads": 63, "num_key_value_heads": 63}, "no multiple of num_attention_heads = 63"),
        (LLAMA | {"attention_bias": "yes"}, "attention_bias = 'yes' is neither true nor false"),
        (LLAMA | {"is_encoder_decoder": True}, "is_encoder_decoder = True is not modelled"),
        (LLAMA | {"n_embd": 5}, "hidden_size and n_embd say the same thing and differ"),
        (PUBLISHED["Mixtral-8x7B"] | {"num_experts_per_tok": 9}, "takes num_experts_per_tok = 9 of num_experts = 8"),
        (PUBLISHED["DeepSeek-V3"] | {"moe_layer_freq": 2}, "moe_layer_freq = 2 is not modelled"),
        ("[1]", "it is no JSON object"),
        ("{", "looks like JSON|not JSON"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_understood_is_refused_in_one_sentence(members, said, write):
    with pytest.raises(InvalidWorkloadError, match=said) as caught:
        get_model(write(members))
    assert str(caught.value).count("\n") == 0


def test_a_name_that_is_no_model_and_no_file_is_told_the_models():
    with pytest.raises(UnknownNameError, match="Unknown model 'Llama-9'"):
        get_model("Llama-9")


# --- Devices ----------------------------------------------------------------------------------------------------------

HEADER = "device,bf16_tflops,memory_gb,bandwidth_gb_s,scale_up_gb_s,usd_per_h\n"


def test_a_users_device_has_the_figures_of_its_row_and_a_known_one_keeps_what_is_left_out(write):
    path = write(HEADER + "X1,400,96,4000,300,2.5\nH100-SXM-80GB,,94,,,1.99\nA100-SXM-80GB,,,,,1.1\n", "mine.csv")
    own = load_devices(path)
    assert own["X1"].peak_flops == {"bf16": 400e12}
    assert own["X1"].usd_per_h == 2.5
    assert own["X1"].scale_out_bytes_s is None
    h100, known = own["H100-SXM-80GB"], devices()["H100-SXM-80GB"]
    assert h100.memory_bytes == 94e9
    assert h100.peak_flops == known.peak_flops
    assert (h100.source, own["A100-SXM-80GB"].source) == ("yours", devices()["A100-SXM-80GB"].source)


def test_every_device_of_the_package_is_what_its_row_says():
    assert devices()["A100-SXM-80GB"].peak_flops["bf16"] == 312e12
    assert all(each.memory_bytes > 1e10 and each.bandwidth_bytes_s > 1e11 for each in devices().values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER + "X1,400,96,4000,,2\n", "line 2: X1 is no known device, and its row lacks scale_up_gb_s"),
        (HEADER + "X1,400,-96,4000,300,2\n", "line 2: memory_gb = '-96' is not a number above 0"),
        (HEADER + "X1,400,96,4000,300,-2\n", "line 2: usd_per_h = '-2' is not a number above 0, at most 1000"),
        (HEADER + "X1,fast,96,4000,300,2\n", "line 2: bf16_tflops = 'fast' is not a number"),
        (HEADER + "X1,400,96,4000,300,2\n\nX1,4,9,40,30,2\n", "line 4: the device X1 is given twice"),
        (HEADER + "X1,1e-300,96,4000,300,2\n", "line 2: bf16_tflops = '1e-300' is less than 1e-06"),
        (HEADER + "X1,1e-400,96,4000,300,2\n", "line 2: bf16_tflops = '1e-400' is not a number above 0"),
        (HEADER + "\u202eX1\x07,400,96,4000,300,2\n", "1 to 60 letters that can be seen"),
        (HEADER + ",400,96,4000,300,2\n", "line 2: a device's name has 1 to 60 letters"),
        ("device,memory_gib\nX1,80\n", "unknown column 'memory_gib'; the columns are device, bf16_tflops"),
        (HEADER, "needs a header line and at least one device"),
    ],
)
def test_a_table_of_devices_that_cannot_be_is_refused_with_the_line(text, said, write):
    with pytest.raises(InvalidWorkloadError, match=said):
        load_devices(write(text, "mine.csv"))


def test_one_device_is_taken_where_one_is_asked_for(write):
    assert get_device(write(HEADER + "X1,400,96,4000,300,2.5\n", "one.csv")).name == "X1"
    with pytest.raises(InvalidWorkloadError, match="the table has 2 devices, X1, X2; one is taken here"):
        get_device(write(HEADER + "X1,400,96,4000,300,2.5\nX2,400,96,4000,300,2.5\n", "two.csv"))
    with pytest.raises(UnknownNameError, match="Unknown GPU 'X9'"):
        get_device("X9")
