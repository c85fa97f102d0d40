"""The tracer: rules on small functions checked by hand, the shipped programs, and XLA's own cost analysis."""

import functools
import json
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dsegym.costmodels.errors import DsegymError, InvalidWorkloadError, UnknownNameError
from dsegym.costmodels.memory import tracer
from dsegym.costmodels.memory.models import PROGRAMS, trace_shipped
from dsegym.costmodels.memory.program import get_program, load_program, program_names, save_program
from dsegym.costmodels.memory.tracer import parse_spec, trace, trace_location


def shape(*sizes, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(sizes, dtype)


def kernels(program):
    """[(name without number, {buffer: B read}, {buffer: B written})]."""
    names = [buffer.name for buffer in program.buffers]
    return [
        (i.name.rpartition(".")[0], {names[b]: s for b, s in i.reads}, {names[b]: s for b, s in i.writes})
        for i in program.instructions
    ]


def traced(function, *args, **options):
    return trace(function, *args, name="test", **options)


def operations(program):
    return [name for name, _, _ in kernels(program)]


def buffers(program):
    return {buffer.name: buffer for buffer in program.buffers}


def chains(program):
    """The alias groups, as lists of names in the order of the buffers."""
    found = {}
    for buffer in program.buffers:
        if buffer.alias_group >= 0:
            found.setdefault(buffer.alias_group, []).append(buffer.name)
    return list(found.values())


# Fusion and traffic, checked by hand.


def test_a_bias_and_an_activation_join_the_product_before_them():
    program = traced(lambda x, w, b: jnp.maximum(x @ w + b, 0), shape(8, 16), shape(16, 32), shape(32))
    assert kernels(program) == [("dot_general", {"x": 512, "w": 2048, "b": 128}, {"dot_general.0": 1024})]
    assert program.flops == 2 * 8 * 16 * 32 + 2 * 8 * 32
    assert buffers(program)["dot_general.0"].live_out


def test_an_elementwise_operation_does_not_join_the_product_behind_it():
    program = traced(lambda x, w: jnp.sin(x) @ w, shape(8, 16), shape(16, 32))
    assert operations(program) == ["sin", "dot_general"]


def test_a_transpose_and_a_cast_join_the_product_behind_them():
    program = traced(lambda x, w: x @ w.T.astype(jnp.float32), shape(8, 16), shape(32, 16, dtype=jnp.bfloat16))
    assert kernels(program) == [("dot_general", {"x": 512, "w": 1024}, {"dot_general.0": 1024})]


def test_two_products_are_two_kernels():
    program = traced(lambda x, a, b: x @ a + x @ b, shape(8, 16), shape(16, 32), shape(16, 32))
    assert [set(reads) for _, reads, _ in kernels(program)] == [{"x", "a"}, {"x", "b", "dot_general.0"}]


def test_a_softmax_is_a_maximum_an_exponential_a_sum_and_a_quotient():
    program = traced(jax.nn.softmax, shape(64, 32))
    assert operations(program) == ["reduce_max", "exp", "reduce_sum", "div"]
    whole, row = 64 * 32 * 4, 64 * 4
    assert [(sum(r.values()), sum(w.values())) for _, r, w in kernels(program)] == [
        (whole, row),
        (whole + row, whole),
        (whole, row),
        (whole + row, whole),
    ]


def test_a_reduction_takes_in_the_elementwise_operations_before_it():
    program = traced(lambda x: jnp.sum(jnp.square(x) + 1, axis=0), shape(64, 32))
    assert kernels(program) == [("reduce_sum", {"x": 64 * 32 * 4}, {"reduce_sum.0": 128})]
    assert program.flops == 3 * 64 * 32


def test_what_two_kernels_need_is_computed_once_if_it_is_expensive_and_repeated_if_not():
    def function(operation):
        return lambda x, w: ((y := operation(x)).sum(axis=1), jnp.sqrt(y) * w)

    expensive, cheap = (traced(function(f), shape(64, 32), shape(64, 32)) for f in (jnp.exp, jnp.negative))
    assert operations(expensive) == ["exp", "reduce_sum", "mul"]
    assert operations(cheap) == ["reduce_sum", "mul"]
    assert all("x" in reads for _, reads, _ in kernels(cheap))


def test_an_output_that_others_use_too_is_written_by_their_kernel():
    program = traced(lambda x, g: ((m := 0.9 * x + g), x - 0.1 * m), shape(64, 32), shape(64, 32))
    ((_, reads, writes),) = kernels(program)
    assert len(reads) == len(writes) == 2
    assert all(buffers(program)[name].live_out for name in writes)


def test_a_slice_costs_its_own_bytes_and_two_slices_of_one_buffer_are_one_access():
    program = traced(lambda x: x[:2] * x[6:], shape(8, 16))
    assert kernels(program) == [("mul", {"x": 2 * 2 * 16 * 4}, {"mul.0": 2 * 16 * 4})]
    overlapping = traced(lambda x: x[:6] * x[2:], shape(8, 16))
    assert kernels(overlapping)[0][1] == {"x": 8 * 16 * 4}


def test_a_gather_costs_what_it_yields():
    program = traced(lambda x, i: jnp.take(x, i, axis=0, mode="clip"), shape(1000, 16), shape(8, dtype=jnp.int32))
    assert kernels(program) == [("gather", {"x": 8 * 16 * 4, "i": 32}, {"gather.0": 8 * 16 * 4})]


def test_views_are_their_source():
    def function(x):
        y = lax.stop_gradient(x.reshape(4, 1, 32).squeeze(1)[:, None].transpose(1, 0, 2))
        return y * 2

    assert kernels(traced(function, shape(8, 16))) == [("mul", {"x": 512}, {"mul.0": 512})]


def test_what_no_output_needs_is_dropped_and_what_is_known_is_not_computed_again():
    def function(x, unused):
        _ = x @ x + unused
        return jnp.exp(x).sum(axis=0)

    program = traced(function, shape(8, 8), shape(8))
    assert [buffer.name for buffer in program.buffers] == ["x", "reduce_sum.0"]
    both = traced(lambda x: (jnp.exp(x) @ x, x @ jnp.exp(x)), shape(8, 8))
    assert operations(both).count("exp") == 1


def test_a_checkpoint_computes_again():
    def loss(weights, x, layer):
        return layer(layer(x, weights), weights).sum()

    def layer(x, w):
        return jnp.sin(jnp.sin(x @ w) @ w)

    plain, again = (
        traced(jax.value_and_grad(functools.partial(loss, layer=f)), shape(16, 16), shape(16, 16))
        for f in (layer, jax.checkpoint(layer))
    )
    assert operations(again).count("dot_general") > operations(plain).count("dot_general")
    assert again.flops > 1.2 * plain.flops


def test_a_mask_made_of_iotas_is_no_buffer():
    program = traced(lambda x: jnp.where(jnp.tril(jnp.ones((8, 8), bool)), x, 0), shape(8, 8))
    assert operations(program) == ["select_n"]
    assert [b.name for b in program.buffers if b.kind == "parameter"] == ["x"]


def test_scalars_are_no_buffers():
    program = traced(lambda x, rate: jnp.mean(x) * rate * x, shape(8, 8), shape())
    assert [buffer.name for buffer in program.buffers] == ["x", "mul.1"]
    assert operations(program) == ["reduce_sum", "mul"]


def test_constants_are_parameters():
    table = jnp.arange(16.0)
    program = traced(lambda x: x + table, shape(8, 16))
    assert [(b.name, b.kind, b.bytes) for b in program.buffers][1] == ("constant0", "parameter", 64)


def test_parameters_are_named_after_the_arguments():
    program = traced(lambda p, x: p["w"][1] * x, {"w": [shape(4), shape(4)]}, shape(4))
    assert [b.name for b in program.buffers] == ["p.w.1", "x", "mul.0"]


def test_an_output_that_is_a_parameter_is_live_out_and_not_overwritten():
    program = traced(lambda x: (x, x + 1), shape(8, 8), donate=(0,))
    assert [(b.name, b.live_out, b.alias_group) for b in program.buffers] == [("x", True, -1), ("add.0", True, -1)]


def test_the_program_has_the_dtype_of_most_bytes():
    program = traced(lambda x, i: x * i.astype(x.dtype), shape(64, 64, dtype=jnp.bfloat16), shape(64, dtype=jnp.int32))
    assert program.dtype == "bfloat16"


# Operations.


def convolution(image, kernel, **options):
    return lax.conv_general_dilated(image, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options)


@pytest.mark.parametrize(
    ("function", "args", "flops"),
    [
        (lambda x, y: jnp.einsum("bij,bkj->bik", x, y), (shape(2, 3, 5), shape(2, 7, 5)), 2 * 2 * 3 * 7 * 5),
        (lambda x: jnp.cumsum(x, axis=1), (shape(4, 8),), 32),
        (lambda x: jnp.max(x, axis=1), (shape(4, 8),), 32),
        (lambda x: x.T, (shape(4, 8),), 0),
        (lambda x: x.astype(jnp.bfloat16), (shape(4, 8),), 0),
        (lambda x: jnp.sort(x), (shape(4, 8),), 32 * 3),
        (
            lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (2, 2), "VALID"),
            (shape(8, 8),),
            16 * 4,
        ),
        # 3 x 3 over 4 x 4 with padding: 4 + 4 + 2 of the 12 pairs of positions along an axis meet the image.
        (
            lambda x, k: convolution(x, k, window_strides=(1, 1), padding="SAME"),
            (shape(2, 4, 4, 3), shape(3, 3, 3, 5)),
            2 * 2 * 5 * 3 * 10**2,
        ),
        (
            lambda x, k: convolution(x, k, window_strides=(1, 1), padding="VALID", feature_group_count=6),
            (shape(1, 5, 5, 6), shape(3, 3, 1, 6)),
            2 * 9 * 9 * 6,
        ),
        # A dilated image: of every two elements one is a hole.
        (
            lambda x, k: convolution(x, k, window_strides=(1, 1), padding=((0, 0), (0, 0)), lhs_dilation=(2, 2)),
            (shape(1, 4, 4, 1), shape(2, 2, 1, 1)),
            2 * 6 * 6,
        ),
    ],
)
def test_operations_are_counted_as_stated(function, args, flops):
    assert traced(function, *args).flops == flops


# Control flow.


def test_a_scan_is_unrolled_and_its_stacked_weights_are_read_a_slice_at_a_time():
    program = traced(lambda w, x: lax.scan(lambda h, w: (h @ w, None), x, w)[0], shape(3, 8, 8), shape(4, 8))
    assert kernels(program) == [
        ("dot_general", {"w": 256, previous: 128}, {f"dot_general.{k}": 128})
        for k, previous in enumerate(("x", "dot_general.0", "dot_general.1"))
    ]


def test_the_stacked_outputs_of_a_scan_are_written_in_place_a_slice_at_a_time():
    program = traced(lambda x: lax.scan(lambda h, r: (h, jnp.sin(r)), 0.0, x)[1], shape(3, 8))
    names = [f"dynamic_update_slice.{k}" for k in range(3)]
    assert [(reads, writes) for _, reads, writes in kernels(program)] == [({"x": 32}, {name: 32}) for name in names]
    assert chains(program) == [names]
    assert [buffers(program)[name].live_out for name in names] == [False, False, True]


def test_what_a_scan_carries_is_written_in_place_where_the_kernel_allows_it():
    def accumulate(a, b):
        return lax.scan(lambda total, ab: (total + ab[0] @ ab[1], None), jnp.zeros((8, 8)), (a, b))[0]

    def multiply(w, x):
        return lax.scan(lambda h, w: (h @ w, None), x, w)[0]

    assert [len(chain) for chain in chains(traced(accumulate, shape(4, 8, 8), shape(4, 8, 8)))] == [4]
    assert chains(traced(multiply, shape(4, 8, 8), shape(8, 8))) == []


def test_a_loop_of_constant_length_is_unrolled_and_nested_scans_multiply():
    loop = traced(lambda x: lax.fori_loop(0, 3, lambda i, h: h @ h, x), shape(8, 8))
    assert operations(loop) == ["dot_general"] * 3

    def inner(h, _):
        return lax.scan(lambda h, _: (h @ h, None), h, None, length=2)

    nested = traced(lambda x: lax.scan(lambda h, _: (inner(h, _)[0], None), x, None, length=3)[0], shape(8, 8))
    assert operations(nested) == ["dot_general"] * 6


def test_of_a_condition_the_costliest_branch_is_taken():
    program = traced(lambda x: lax.cond(x[0, 0] > 0, lambda x: x + 1, lambda x: x @ x, x), shape(8, 8))
    assert operations(program)[-1] == "dot_general"
    assert program.flops >= 2 * 8**3


# Aliases.


def test_a_donated_argument_is_updated_in_place_unless_its_kernel_needs_all_of_it():
    assert chains(traced(lambda x, g: x - 0.1 * g, shape(8, 8), shape(8, 8), donate=(0,))) == [["x", "sub.0"]]
    assert chains(traced(lambda x, g: x @ g, shape(8, 8), shape(8, 8), donate=(0,))) == []
    assert chains(traced(lambda x, g: x + x.T, shape(8, 8), shape(8, 8), donate=(0,))) == []


def test_a_donated_argument_that_is_read_later_is_not_overwritten():
    def function(x):
        y = jnp.exp(x)
        return y, jnp.sum(y, axis=0) @ x

    program = traced(function, shape(8, 8), donate=(0,))
    assert operations(program) == ["reduce_sum", "dot_general"]
    assert "x" in kernels(program)[1][1]
    assert chains(program) == []


def test_an_update_is_in_place_only_where_the_storage_may_be_overwritten():
    def function(cache, row):
        return lax.dynamic_update_slice(cache, row, (3, 0))

    args = shape(64, 8), shape(1, 8)
    assert kernels(traced(function, *args, donate=(0,))) == [
        ("dynamic_update_slice", {"row": 32}, {"dynamic_update_slice.0": 32})
    ]
    copied = traced(function, *args)
    assert kernels(copied)[0][1:] == ({"cache": 2048, "row": 32}, {"dynamic_update_slice.0": 2048})
    assert chains(copied) == []


def test_a_kernel_does_not_read_what_it_updates_in_place():
    program = traced(lambda x: x.at[0].set(x[1] * 2), shape(64, 8), donate=(0,))
    (_, before, _), (name, reads, writes) = kernels(program)
    assert before == {"x": 32}
    assert name == "scatter"
    assert "x" not in reads
    assert list(writes.values()) == [32]
    assert chains(program)[0][0] == "x"


def test_donated_weights_and_momentum_are_all_updated_in_place():
    program = trace_shipped("mlp_train_donated")
    assert sorted(len(chain) for chain in chains(program)) == [2] * 16
    assert program.bytes_moved == trace_shipped("mlp_train").bytes_moved
    assert all(b.alias_group >= 0 for b in program.buffers if b.live_out)


def test_decoding_updates_every_cache_in_place_and_reads_it_whole():
    program = trace_shipped("gqa_decode")
    assert [len(chain) for chain in chains(program)] == [2] * 8
    cache = next(b for b in program.buffers if b.alias_group == 0 and b.kind == "temporary")
    index = program.buffers.index(cache)
    assert [a.bytes for a in program.accesses if a.buffer == index] == [8 * 1 * 4 * 64 * 2, cache.bytes]


# Errors.


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: lax.while_loop(lambda h: h.sum() < 3, lambda h: h + 1, x), "'while' .*jax.lax.scan"),
        (lambda x: jnp.linalg.svd(x)[0], "'svd' has no rule"),
        (lambda x: jax.pure_callback(lambda a: a, shape(8, 8), x), "'pure_callback' hides"),
        (lambda x: x if x.sum() > 0 else -x, r"Cannot trace 'test' with float32\[8,8\]: Tracer"),
        (lambda x: x @ jnp.ones((3, 3)), "TypeError"),
        (lambda x: x, "computes nothing"),
        (lambda x: 1.0, "computes nothing"),
        (lambda x: lax.scan(lambda h, _: (h + 1, None), x, None, length=10**6)[0], "more than 20000 operations"),
    ],
)
def test_what_cannot_be_traced_is_refused_in_one_sentence(function, message):
    with pytest.raises(InvalidWorkloadError, match=message) as caught:
        traced(function, shape(8, 8))
    assert "\n" not in str(caught.value)


def test_donating_an_argument_that_is_not_there_is_refused():
    with pytest.raises(InvalidWorkloadError, match="donate argument 1"):
        traced(lambda x: x + 1, shape(8), donate=(1,))


# Locations and texts.


def test_shapes_can_be_written_as_texts():
    for text in ("bf16[8,128]", "bfloat16[8, 128]", " bf16 [8,128] "):
        assert (parse_spec(text).shape, str(parse_spec(text).dtype)) == ((8, 128), "bfloat16")
    assert parse_spec("i32[]").shape == ()
    assert parse_spec("pred[3]").dtype == np.bool_


@pytest.mark.parametrize("text", ["bf16", "bf16[8", "[8]", "bf16[8,]]", "bf16[-1]", "bf16[a]", ""])
def test_a_text_that_is_no_shape_is_refused(text):
    with pytest.raises(InvalidWorkloadError, match="is not a shape"):
        parse_spec(text)


def test_an_unknown_dtype_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'bfloat16'"):
        parse_spec("bfloat[8]")


MODEL = """
import jax, jax.numpy as jnp

def forward(x, w):
    '''A layer.

    More.
    '''
    return jnp.tanh(x @ w)

def example(p, x):
    return p["w"] * x
example.example_args = ({"w": "bf16[8,8]"}, jax.ShapeDtypeStruct((8, 8), "bfloat16"))

@jax.jit
def jitted(x):
    return x + 1
jitted.example_args = lambda: (jnp.ones(4),)

def alone():
    return jnp.zeros((4, 4)) + 1

class Model:
    @staticmethod
    def call(x):
        return x * 2

broken = 3
def wrong(x):
    return x
wrong.example_args = 7
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A module in the current directory."""
    (tmp_path / "traced_model.py").write_text(MODEL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield "traced_model"
    sys.modules.pop("traced_model", None)


def test_a_function_is_traced_from_where_it_is(model):
    before = list(sys.path)
    program = trace_location(f"{model}:forward", ["bf16[8,16]", "bf16[16,32]"], donate=())
    assert (program.name, program.summary, program.dtype) == ("forward", "A layer.", "bfloat16")
    assert program.provenance["source"] == f"{model}:forward"
    assert program.provenance["jax"] == jax.__version__
    assert sys.path == before
    assert trace_location(f"{model}:forward", ["f32[8,16]", "f32[16,32]"], name="mine").name == "mine"


@pytest.mark.parametrize("function", ["example", "jitted", "alone"])
def test_example_arguments_stand_for_inputs(model, function):
    assert len(trace_location(f"{model}:{function}").instructions) == 1


def test_a_method_can_be_named_and_donation_reaches_it(model):
    program = trace_location(f"{model}:Model.call", ["f32[4]"], donate=[0])
    assert (program.name, chains(program)) == ("call", [["x", "mul.0"]])


@pytest.mark.parametrize(
    ("location", "inputs", "message"),
    [
        ("no_such_module:f", [], "Cannot import 'no_such_module'"),
        ("traced_model:forwrd", [], "Unknown function .*Did you mean 'forward'"),
        ("traced_model", [], "write module:function"),
        ("traced_model:", [], "write module:function"),
        ("traced_model:broken", [], "is a int, not a function"),
        ("traced_model:forward", [], "does not take 0 inputs .*example_args"),
        ("traced_model:forward", ["f32[8]"], "does not take 1 input "),
        ("traced_model:forward", ["f32[8,3]", "f32[4,8]"], "Cannot trace 'forward' with"),
        ("traced_model:forward", ["f32(8,3)", "f32[4,8]"], "is not a shape"),
        ("traced_model:wrong", [], "a tuple is expected"),
    ],
)
@pytest.mark.usefixtures("model")
def test_a_wrong_location_or_input_is_refused_in_one_sentence(location, inputs, message):
    with pytest.raises(DsegymError, match=message) as caught:
        trace_location(location, inputs)
    assert "\n" not in str(caught.value)


# The shipped programs.


def test_every_shipped_program_has_a_function_and_a_file():
    assert set(program_names()) == set(PROGRAMS)
    assert len(PROGRAMS) >= 24


# Programs of which another JAX makes another jaxpr than the one that made the files, 0.10.2; measured with 0.12.0.1.
OTHER_JAXPR = {
    "transformer_train": "the derivatives of tanh (`one_minus_square` in place of two products) and of a maximum",
    "lstm_train": "the derivative of tanh: one product and one sum fewer, so an addition reads one buffer less",
    "diffusion_step": "one division more, of a scalar",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_shipped_program_is_what_its_function_gives(name, tmp_path):
    """To the byte; with another JAX but for its version, and but for a stated difference, within 0.1 % and 1 %."""
    stored = get_program(name)
    fresh = trace_shipped(name)
    frozen = Path(tracer.__file__).parent / "programs" / f"{name}.jsonl"
    assert load_program(frozen) == stored
    assert fresh.provenance["jax"] == jax.__version__
    if name in OTHER_JAXPR and jax.__version__ != stored.provenance["jax"]:
        assert fresh.buffers == stored.buffers
        assert [i.name for i in fresh.instructions] == [i.name for i in stored.instructions]
        assert fresh.flops == pytest.approx(stored.flops, rel=1e-3)
        assert fresh.bytes_moved == pytest.approx(stored.bytes_moved, rel=1e-2)
        return
    save_program(replace(fresh, provenance={**fresh.provenance, "jax": stored.provenance["jax"]}), tmp_path / "program")
    text, expected = (tmp_path / "program").read_text(), frozen.read_text()
    if jax.__version__ != stored.provenance["jax"]:  # `jnp.stack` is a primitive of that name since JAX 0.10.1
        text, expected = (t.replace('"concatenate.', '"stack.') for t in (text, expected))
    assert text == expected


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_shipped_program_is_a_fair_game(name):
    program = get_program(name)
    assert program.dtype == "bfloat16"
    assert program.summary
    assert len(program.accesses) <= 900
    assert any(buffer.live_out for buffer in program.buffers)
    assert all(size > 0 for i in program.instructions for _, size in (*i.reads, *i.writes))
    used = {access.buffer for access in program.accesses}
    last = {b.alias_group for i, b in enumerate(program.buffers) if i in used}
    assert all(i in used or b.alias_group in last - {-1} for i, b in enumerate(program.buffers))


@pytest.mark.parametrize(("name", "accesses"), [("mlp_tiny", 12), ("attention_tiny", 18), ("residual_tiny", 30)])
def test_the_tiny_programs_are_tiny(name, accesses):
    assert len(get_program(name).accesses) <= accesses


def test_an_unknown_shipped_program_is_refused():
    with pytest.raises(UnknownNameError, match="mlp_train"):
        trace_shipped("mlp_trian")


def test_the_strassen_program_has_49_products():
    assert operations(get_program("strassen")).count("dot_general") == 49


# XLA's cost analysis of the compiled program, in float32 (the CPU's compiler widens bfloat16), scans unrolled.
#
# The measured ratio of the tracer's count to XLA's, JAX 0.10.2, library rewriting off (it hides products and depends on
# the processor). The bands around it: 2 % for operations, 15 % for bytes.
#
# Operations agree within 1 % but for: resnet_train, whose fused batch norms XLA recomputes more often; adam_step, whose
# square roots XLA counts apart; state_space, where XLA recomputes across the levels of the scan.
#
# Bytes are fewer than XLA's for the CPU: its products and convolutions take in no bias, activation or residual, and
# slices of matrices (strassen) are written out. A gather inside a fusion counts there as a read of the whole table
# (recommender). With library rewriting on, transformer_forward's ratio is 1.08.
RATIOS = {
    # name: (operations, bytes)
    "mlp_forward": (1.000, 0.672),
    "mlp_train": (1.000, 0.734),
    "transformer_forward": (1.000, 0.762),
    "transformer_train": (0.991, 0.683),
    "bert_layer": (0.999, 0.713),
    "vision_transformer": (1.000, 0.745),
    "llama_mlp": (1.000, 0.872),
    "llama_block": (0.999, 0.900),
    "mlp_mixer": (1.000, 0.652),
    "moe_block": (1.000, 0.754),
    "strassen": (0.991, 0.456),
    "resnet_forward": (0.995, 0.600),
    "resnet_train": (0.948, 0.638),
    "resnet50_forward": (0.992, 0.538),
    "mobilenet_block": (1.005, 0.497),
    "unet_block": (0.999, 0.854),
    "diffusion_step": (0.999, 0.856),
    "recurrent_scan": (1.002, 0.353),
    "lstm": (0.997, 0.851),
    "lstm_train": (0.996, 1.003),
    "gqa_decode": (0.999, 0.664),
    "blocked_attention": (1.004, 0.934),
    "state_space": (0.865, 0.462),
    "graph_convolution": (1.000, 0.893),
    "recommender": (1.000, 0.110),
    "adam_step": (1.091, 0.700),
}
# Bytes where a later XLA fuses otherwise; measured with JAX 0.12.0.1, whose other 25 ratios stay in their bands. Of
# llama_block it leaves 20 fusions and 2 concatenations, where 0.10.2 leaves 15 fusions, and so moves 19 % more.
LATER_BYTES = {"llama_block": 0.760}
QUICK = ("mlp_forward", "llama_mlp", "llama_block", "mobilenet_block", "recurrent_scan", "graph_convolution")


def in_float32(name):
    """The arguments of a shipped program, in float32."""
    return jax.tree.map(lambda leaf: shape(*leaf.shape) if leaf.dtype == jnp.bfloat16 else leaf, PROGRAMS[name].args)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in RATIOS]
)
def test_operations_and_bytes_agree_with_xla_within_the_stated_bands(name, monkeypatch):
    if jax.default_backend() != "cpu":
        pytest.skip("the bands were measured on XLA's CPU compiler; others fuse, and so count bytes, otherwise")
    function, args = PROGRAMS[name].function, in_float32(name)
    program = traced(function, *args, donate=PROGRAMS[name].donate)
    monkeypatch.setattr(lax, "scan", functools.partial(lax.scan, unroll=True))
    compiled = jax.jit(lambda *args: function(*args), donate_argnums=PROGRAMS[name].donate).lower(*args)
    analysis = compiled.compile({"xla_disable_hlo_passes": "dot-library-rewriter"}).cost_analysis()
    operations, moved = RATIOS[name]
    assert program.flops / analysis["flops"] == pytest.approx(operations, rel=0.02)
    measured = program.bytes_moved / analysis["bytes accessed"]
    assert any(measured == pytest.approx(value, rel=0.15) for value in {moved, LATER_BYTES.get(name, moved)}), measured


# An earlier prototype's figures for programs of the same sizes, float32, fused: (instructions, buffers, 1e9 operations,
# MB moved, MB of parameters). Where the tracer differs by more than 10 %, the reason stands beside the row.
PROTOTYPE = {
    "mlp_train": (46, 64, 8.14, 143, 24.9),  # 28 instructions, 131 MB: one-hot instead of gathered labels, repetition
    "transformer_forward": (30, 55, 7.60, 258, 8.4),  # 36: the mean and the mean square of a norm are two reductions
    "transformer_train": (150, 175, 22.75, 975, 8.4),  # 109, 848 MB: cheap operations are repeated
    "resnet_forward": (18, 96, 18.75, 473, 10.2),
    "resnet_train": (188, 266, 64.7, 2968, 10.2),  # 54.5e9: padding is not counted; 3969 MB: the batch's statistics
    "resnet50_forward": (56, 324, 65.8, 1011, 107),
    "strassen": (207, 209, 1.66, 311, 8.4),  # 130, 142 MB: slices are read where they are needed
    "recurrent_scan": (6, 8, 0.05, 10, 1.6),  # 2.4 MB: an iteration reads its own weights only
}
EXPECTED_MB = {"transformer_train": 848, "resnet_train": 3969, "strassen": 142, "recurrent_scan": 2.36}
EXPECTED_INSTRUCTIONS = {"mlp_train": 28, "transformer_forward": 36, "transformer_train": 109, "strassen": 130}


@pytest.mark.parametrize("name", PROTOTYPE)
def test_programs_are_near_an_earlier_prototype_or_differ_for_a_known_reason(name):
    instructions, _, operations, moved, parameters = PROTOTYPE[name]
    program = traced(PROGRAMS[name].function, *in_float32(name))
    assert len(program.instructions) == pytest.approx(EXPECTED_INSTRUCTIONS.get(name, instructions), rel=0.15)
    operations = 54.5 if name == "resnet_train" else operations
    assert program.flops / 1e9 == pytest.approx(operations, rel=0.04)
    assert program.bytes_moved / 1e6 == pytest.approx(EXPECTED_MB.get(name, moved), rel=0.1)
    extra = 2.1 if name == "transformer_train" else 0.0  # the target outputs
    assert program.parameter_bytes / 1e6 == pytest.approx(parameters + extra, rel=0.03)


def test_a_trace_is_the_same_every_time(tmp_path):
    files = [tmp_path / "first.jsonl", tmp_path / "second.jsonl"]
    for file in files:
        jax.clear_caches()
        save_program(trace_shipped("transformer_train"), file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert json.loads(files[0].read_text().splitlines()[0])["provenance"]["tracer"].startswith("dsegym")
