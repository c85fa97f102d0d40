"""A transformer from the `config.json` that Hugging Face's transformers writes; nothing is downloaded or executed.

`FAMILIES` says what each `model_type` is made of beyond its sizes: matrices of a feed-forward network, norms, biases,
which experts. Parameters then equal those of the library's own model to the last one. An unknown type is refused: its
layers may hold what no field says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from ..errors import UnknownNameError, literal
from ..files import fail, is_path, is_whole, parse_json, read_text
from ..formats import format_of
from .architectures import Architecture, architectures

__all__ = ["FAMILIES", "Configured", "Family", "get_model", "load_configuration"]

_MOST = 100_000_000  # of any size
_MOST_LAYERS = 10_000
Bias: TypeAlias = "bool | tuple[str, bool]"  # whether there is one, or the member that says so and its default


@dataclass(frozen=True)
class Family:
    """What the models of a type have in common."""

    norms: int = 2  # vectors of the hidden size, a layer
    last_norms: int = 1  # and outside of the layers
    matrices: int = 3  # of a feed-forward network
    tied: bool = False  # whether the output embedding is the input's, where the file does not say
    input_bias: Bias = False  # of queries, keys and values
    output_bias: Bias = False  # of attention's output
    ffn_bias: Bias = False
    head_norms: str = ""  # of queries and keys: of a head ("head"), of all ("all"), of a head if use_qk_norm ("asked")
    latent: bool = False  # whether attention is multi-head latent attention
    experts: str = ""  # entry of `_EXPERTS`
    positions: int | None = None  # rows beyond the longest context of a learned table; None for no such table
    fourfold: bool = False  # the feed-forward network is 4 hidden sizes wide where the file does not say
    windows: bool = False  # some layers always attend to a window


@dataclass(frozen=True)
class Configured:
    """What a file says."""

    architecture: Architecture
    notes: tuple[str, ...]  # for users


_ATTENTION = ("attention_bias", False)
_LLAMA = Family(input_bias=_ATTENTION, output_bias=_ATTENTION, ffn_bias=("mlp_bias", False))
_GEMMA = Family(tied=True, input_bias=_ATTENTION, output_bias=_ATTENTION)
_QWEN3 = Family(input_bias=_ATTENTION, output_bias=_ATTENTION, head_norms="head")
_BIASED = Family(
    norms=4, last_norms=2, matrices=2, tied=True, input_bias=True, output_bias=True, ffn_bias=True, fourfold=True
)
_LATENT = Family(latent=True, experts="routed")


FAMILIES: Mapping[str, Family] = {
    "llama": _LLAMA,
    "granite": _LLAMA,
    "smollm3": replace(_LLAMA, tied=True),
    "mistral": Family(),
    "phi3": Family(),
    "qwen2": Family(input_bias=True),
    "qwen3": _QWEN3,
    "olmo2": replace(_QWEN3, head_norms="all"),
    "olmo3": replace(_QWEN3, head_norms="all", windows=True),
    "glm": Family(input_bias=("attention_bias", True)),
    "glm4": Family(norms=4, input_bias=("attention_bias", True)),
    "exaone4": Family(head_norms="head", windows=True),
    "seed_oss": Family(
        input_bias=("attention_bias", True), output_bias=("attention_out_bias", False), ffn_bias=("mlp_bias", False)
    ),
    "ernie4_5": Family(
        tied=True, input_bias=("use_bias", False), output_bias=("use_bias", False), ffn_bias=("use_bias", False)
    ),
    "cohere": replace(_GEMMA, norms=1),
    "gemma": _GEMMA,
    "gemma2": replace(_GEMMA, norms=4, windows=True),
    "gemma3_text": replace(_GEMMA, norms=4, head_norms="head", windows=True),
    "opt": replace(_BIASED, positions=2, fourfold=False),
    "gpt2": replace(_BIASED, positions=0),
    "bloom": replace(_BIASED, last_norms=4),
    "gpt_neox": replace(
        _BIASED, tied=False, fourfold=False, input_bias=("attention_bias", True), output_bias=("attention_bias", True)
    ),
    "starcoder2": replace(
        _BIASED, fourfold=False, input_bias=("use_bias", True), output_bias=("use_bias", True),
        ffn_bias=("use_bias", True),
    ),
    "mixtral": Family(experts="local"),
    "olmoe": replace(_QWEN3, head_norms="all", experts="local"),
    "granitemoe": Family(input_bias=_ATTENTION, output_bias=_ATTENTION, experts="local"),
    "phimoe": Family(norms=4, last_norms=2, input_bias=_ATTENTION, output_bias=_ATTENTION, experts="local"),
    "minimax_m2": Family(head_norms="all", experts="local"),
    "glm4_moe": Family(input_bias=_ATTENTION, head_norms="asked", experts="routed"),
    "gpt_oss": Family(
        input_bias=("attention_bias", True), output_bias=("attention_bias", True), experts="biased", windows=True
    ),
    "qwen2_moe": Family(input_bias=("qkv_bias", True), experts="sparse_and_shared"),
    "qwen3_moe": replace(_QWEN3, experts="sparse"),
    "deepseek_v2": _LATENT,
    "deepseek_v3": _LATENT,
    "kimi_k2": _LATENT,
}  # fmt: skip

# Names under which members of one meaning are written.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "hidden_size": ("hidden_size", "n_embd", "n_embed"),
    "num_hidden_layers": ("num_hidden_layers", "n_layer"),
    "num_attention_heads": ("num_attention_heads", "n_head"),
    "intermediate_size": ("intermediate_size", "ffn_dim", "n_inner"),
    "max_position_embeddings": ("max_position_embeddings", "n_positions"),
    "num_experts": ("num_experts", "num_local_experts"),
    "num_experts_per_tok": ("num_experts_per_tok", "experts_per_token"),
}
# Members that change a model in a way that is not read, and their harmless values.
_UNREAD: Mapping[str, tuple[object, ...]] = {
    "is_encoder_decoder": (None, False),
    "moe_layer_freq": (None, 1),
    "qk_layernorm": (None, False),
    "lm_head_bias": (None, False),
    "cross_attention_hidden_size": (None,),
    "add_cross_attention": (None, False),
    "enable_bias": (None, True),
    "layer_norm_elementwise_affine": (None, True),
    "do_layer_norm_before": (None, True),
    "_remove_final_layer_norm": (None, False),
}


@dataclass(frozen=True)
class _File:
    """A configuration's members, read with errors that name the file."""

    path: str
    members: Mapping[str, object]

    def get(self, name: str) -> object:
        """The value under any of a member's names; None where there is none."""
        found = {each: self.members[each] for each in _NAMES.get(name, (name,)) if self.members.get(each) is not None}
        if len(set(map(str, found.values()))) > 1:
            fail(self.path, f"{' and '.join(found)} say the same thing and differ")
        return next(iter(found.values()), None)

    def whole(self, name: str, default: int | None = None, *, least: int = 1, most: int = _MOST) -> int:
        """A member's whole number, or the default where it is left out or null."""
        value = self.get(name)
        if value is None:
            if default is None:
                fail(self.path, f"the member {' or '.join(_NAMES.get(name, (name,)))} is missing")
            return default
        if not isinstance(value, int | float) or not is_whole(value) or not least <= value <= most:
            fail(self.path, f"{name} = {literal(value)} is not a whole number from {least:,} to {most:,}")
        return int(value)

    def flag(self, bias: Bias) -> bool:
        """Whether there is a bias."""
        if isinstance(bias, bool):
            return bias
        name, default = bias
        value = self.members.get(name)
        if value is not None and not isinstance(value, bool):
            fail(self.path, f"{name} = {literal(value)} is neither true nor false")
        return default if value is None else value


@dataclass(frozen=True)
class _Experts:
    """Those of a layer."""

    dense_layers: int
    parameters: int  # of one
    routed: int
    active: int
    shared: float  # in units of a routed one
    vectors: float = 0  # numbers of a layer beside their matrices, over all layers


def _no_experts(file: _File, layers: int, hidden: int) -> _Experts:
    return _Experts(layers, 0, 0, 0, 0)


def _local(file: _File, layers: int, hidden: int) -> _Experts:
    return _Experts(0, 3 * hidden * file.whole("intermediate_size"), *_routing(file, "num_experts"), 0)


def _biased(file: _File, layers: int, hidden: int) -> _Experts:
    """With biases of experts and router, and a sink for each head."""
    wide, (routed, active) = file.whole("intermediate_size"), _routing(file, "num_experts")
    own = 3 * hidden * wide + 2 * wide + hidden
    return _Experts(0, own, routed, active, 0, routed + file.whole("num_attention_heads"))


def _sparse(file: _File, layers: int, hidden: int) -> _Experts:
    step, dense = file.whole("decoder_sparse_step", 1), file.members.get("mlp_only_layers") or []
    if not isinstance(dense, list) or not all(is_whole(each) for each in dense):
        fail(file.path, "mlp_only_layers is no list of whole numbers")
    count = sum(place in dense or (place + 1) % step != 0 for place in range(layers))
    return _Experts(count, 3 * hidden * file.whole("moe_intermediate_size"), *_routing(file, "num_experts"), 0)


def _sparse_and_shared(file: _File, layers: int, hidden: int) -> _Experts:
    """With one shared expert of its own width, and a gate for it."""
    found, wide = _sparse(file, layers, hidden), file.whole("shared_expert_intermediate_size")
    own = (3 * hidden * wide + hidden) / found.parameters
    return _Experts(found.dense_layers, found.parameters, found.routed, found.active, own)


def _routed(file: _File, layers: int, hidden: int) -> _Experts:
    dense = min(file.whole("first_k_dense_replace", 0, least=0), layers)
    own = 3 * hidden * file.whole("moe_intermediate_size")
    return _Experts(dense, own, *_routing(file, "n_routed_experts"), file.whole("n_shared_experts", 0, least=0))


def _routing(file: _File, name: str) -> tuple[int, int]:
    routed, active = file.whole(name), file.whole("num_experts_per_tok")
    if active > routed:
        fail(file.path, f"a token takes num_experts_per_tok = {active} of {name} = {routed} experts")
    return routed, active


_EXPERTS: Mapping[str, Callable[[_File, int, int], _Experts]] = {
    "": _no_experts,
    "local": _local,
    "biased": _biased,
    "sparse": _sparse,
    "sparse_and_shared": _sparse_and_shared,
    "routed": _routed,
}


@dataclass(frozen=True)
class _Attention:
    """That of a layer."""

    parameters: int
    vectors: int
    kv_heads: int
    kv_numbers: int
    kv_shards: int
    prefill_pair_flop: int
    decode_pair_flop: int


def _attention(file: _File, family: Family, hidden: int, heads: int) -> _Attention:
    if family.latent:
        return _latent(file, hidden, heads)
    kv_heads = file.whole("num_key_value_heads", heads)
    if heads % kv_heads:
        fail(file.path, f"num_attention_heads = {heads} is no multiple of num_key_value_heads = {kv_heads}")
    if file.get("head_dim") is None and hidden % heads:
        fail(
            file.path,
            f"hidden_size = {hidden} is no multiple of num_attention_heads = {heads}, and head_dim is missing",
        )
    d = file.whole("head_dim", hidden // heads)
    queries, keys = heads * d, kv_heads * d
    vectors = (queries + 2 * keys) * file.flag(family.input_bias) + hidden * file.flag(family.output_bias)
    asked = file.flag(("use_qk_norm", False))
    if asked and not family.head_norms:
        fail(file.path, "use_qk_norm = True is not modelled")
    vectors += {"": 0, "head": 2 * d, "all": queries + keys, "asked": 2 * d * asked}[family.head_norms]
    return _Attention(
        parameters=2 * hidden * (queries + keys),
        vectors=vectors,
        kv_heads=kv_heads,
        kv_numbers=2 * keys,
        kv_shards=kv_heads,
        prefill_pair_flop=4 * queries,
        decode_pair_flop=4 * queries,
    )


def _latent(file: _File, hidden: int, heads: int) -> _Attention:
    """Multi-head latent attention; queries may have a rank of their own."""
    c, r = file.whole("kv_lora_rank"), file.whole("qk_rope_head_dim")
    d, value = file.whole("qk_nope_head_dim"), file.whole("v_head_dim")
    q = file.whole("q_lora_rank", 0)
    query = hidden * q + q * heads * (d + r) if q else hidden * heads * (d + r)
    biases = (q + c + r + hidden) * file.flag(_ATTENTION)
    return _Attention(
        parameters=query + hidden * (c + r) + c * heads * (d + value) + heads * value * hidden,
        vectors=q + c + biases,
        kv_heads=heads,
        kv_numbers=c + r,
        kv_shards=1,
        prefill_pair_flop=2 * heads * (d + r + value),
        decode_pair_flop=2 * heads * (2 * c + r),
    )


def _object_of(path: str) -> Mapping[str, object]:
    text = read_text(path)
    format_of(path, text, "model", {".json": "a Hugging Face configuration"})
    members = parse_json(path, text)
    if not isinstance(members, dict):
        fail(path, "it is no JSON object")
    return members


def load_configuration(path: str) -> Configured:
    """The architecture of a file.

    Raises:
        InvalidWorkloadError: it is no such file, of a type that is not known, or a size is missing or impossible.
    """
    file = _File(path, _object_of(path))
    kind = file.members.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        given = "it has no model_type" if kind is None else f"the model_type {literal(kind)} is not known"
        fail(path, f"{given}; known are {', '.join(FAMILIES)}")
    for name, harmless in _UNREAD.items():
        if file.members.get(name) not in harmless:
            fail(path, f"{name} = {literal(file.members[name])} is not modelled")
    family = FAMILIES[kind]
    hidden, heads = file.whole("hidden_size"), file.whole("num_attention_heads")
    layers, vocabulary = file.whole("num_hidden_layers", most=_MOST_LAYERS), file.whole("vocab_size")
    if file.whole("word_embed_proj_dim", hidden) != hidden:
        fail(path, "embeddings of another size than hidden_size (word_embed_proj_dim) are not modelled")
    attention = _attention(file, family, hidden, heads)
    experts = _EXPERTS[family.experts](file, layers, hidden)
    wide = file.whole("intermediate_size", 4 * hidden if family.fourfold else None) if experts.dense_layers else 0
    biases = ((family.matrices - 1) * wide + hidden) * file.flag(family.ffn_bias)
    tied = file.flag(("tie_word_embeddings", family.tied))
    rows = vocabulary
    if family.positions is not None:
        rows += file.whole("max_position_embeddings") + family.positions
    architecture = Architecture(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=attention.kv_heads,
        attention_parameters=attention.parameters,
        dense_layers=experts.dense_layers,
        ffn_parameters=family.matrices * hidden * wide + biases,
        expert_parameters=experts.parameters,
        experts=experts.routed,
        active_experts=experts.active,
        shared_experts=experts.shared,
        vector_parameters=family.norms * hidden + attention.vectors + experts.vectors,
        lookup_parameters=rows * hidden + family.last_norms * hidden,  # what is stored and multiplies no token
        output_parameters=vocabulary * hidden,
        stored_output_parameters=0 if tied else vocabulary * hidden,
        kv_numbers=attention.kv_numbers,
        kv_shards=attention.kv_shards,
        prefill_pair_flop=attention.prefill_pair_flop,
        decode_pair_flop=attention.decode_pair_flop,
    )
    return Configured(architecture, _notes(file, family))


def _notes(file: _File, family: Family) -> tuple[str, ...]:
    notes = ["The model's sizes are those of your file; its parameters are counted, and nothing of it was measured."]
    window = file.members.get("sliding_window") and file.members.get("use_sliding_window") is not False
    if family.windows or window:
        notes.append("Sliding windows are not modelled: every layer attends to the whole context and caches it.")
    if file.members.get("quantization_config"):
        notes.append("The file's quantisation is not read: the option precision says how weights are stored.")
    if file.members.get("num_nextn_predict_layers"):
        notes.append("Layers that predict further tokens are left out.")
    return tuple(notes)


def get_model(name: str) -> Architecture:
    """An architecture of the table by its name, or of a user's `config.json` by its path.

    Raises:
        UnknownNameError: it is neither a name nor a path.
        InvalidWorkloadError: the file is none that is read.
    """
    if name in architectures():
        return architectures()[name]
    if not is_path(name):
        raise UnknownNameError("model", name, architectures())
    return load_configuration(name).architecture
