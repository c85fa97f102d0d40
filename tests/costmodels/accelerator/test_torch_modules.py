"""PyTorch modules as layers: against torch's own counter of operations, and the same module as ONNX."""

import dataclasses
import warnings

import pytest

from dsegym.costmodels.accelerator.workloads import from_named_model, from_onnx, from_torch, get_workload, load_workload
from dsegym.costmodels.errors import DsegymError, InvalidWorkloadError, UnknownNameError

torch = pytest.importorskip("torch", reason="torch is not installed")
nn = torch.nn
functional = torch.nn.functional


class Bottleneck(nn.Module):
    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(each) for each in (width, width, 4 * width)])
        same = stride == 1 and channels == 4 * width
        self.down = nn.Identity() if same else nn.Conv2d(channels, 4 * width, 1, stride, bias=False)

    def forward(self, x):
        y = torch.relu(self.norms[0](self.conv1(x)))
        y = torch.relu(self.norms[1](self.conv2(y)))
        return torch.relu(self.norms[2](self.conv3(y)) + self.down(x))


class ResNet50(nn.Module):
    """He et al., with the stride in the 3 x 3 convolutions; its names are those of the shipped table."""

    def __init__(self):
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        channels = 64
        for stage, (depth, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=1):
            blocks = []
            for index in range(depth):
                blocks.append(Bottleneck(channels, width, 2 if index == 0 and stage > 1 else 1))
                channels = 4 * width
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, 1000)

    def forward(self, x):
        x = functional.max_pool2d(torch.relu(self.norm(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))


def test_a_resnet_50_of_torch_has_the_layers_of_the_shipped_table_and_so_has_its_saved_table(tmp_path):
    with torch.device("meta"):
        network = from_torch(ResNet50(), (torch.empty(1, 3, 224, 224),))
    shipped = get_workload("resnet50").layers
    assert network.workload().layers == shipped  # names too
    network.save(tmp_path / "mine.csv")
    assert load_workload(tmp_path / "mine.csv").layers == shipped
    kinds = {(each.kind, each.operator): each.times for each in network.free}
    assert kinds["norm", "aten.batch_norm"] == 49
    assert kinds["activation", "aten.relu"] == 49
    assert kinds["pooling", "aten.max_pool2d"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [True, False])
def test_the_resnet_50_that_torch_exports_to_onnx_has_the_layers_of_the_shipped_table(tmp_path, dynamo):
    pytest.importorskip("onnx", reason="ONNX is not installed")
    pytest.importorskip("onnxscript", reason="ONNX Script is not installed")
    path = tmp_path / "net.onnx"
    export(ResNet50().eval(), (torch.zeros(1, 3, 224, 224),), path, dynamo=dynamo)
    unnamed = [dataclasses.replace(layer, name="") for layer in from_onnx(path).workload().layers]
    assert unnamed == [dataclasses.replace(layer, name="") for layer in get_workload("resnet50").layers]


def export(module, inputs, path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, inputs, path, **options)


class Attention(nn.Module):
    def forward(self, query, key, value):
        return functional.scaled_dot_product_attention(query, key, value)


class Call(nn.Module):
    def __init__(self, function, *shapes):
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList([nn.Parameter(torch.zeros(shape)) for shape in shapes])

    def forward(self, *inputs):
        return self.function(*inputs, *self.weights)


def zeros(*shapes):
    return tuple(torch.zeros(shape) for shape in shapes)


MODULES = {  # name: (module, shapes of its inputs)
    "convolution of one axis": (nn.Conv1d(6, 8, 5, 2, 3), [(2, 6, 31)]),
    "convolution without a batch": (nn.Conv2d(3, 4, 3), [(3, 9, 8)]),
    "strided, padded": (nn.Conv2d(3, 8, (5, 3), (2, 1), (0, 1)), [(2, 3, 17, 12)]),
    "dilated": (nn.Conv2d(4, 6, 3, padding=2, dilation=2), [(1, 4, 11, 13)]),
    "grouped": (nn.Conv2d(8, 12, 3, groups=4), [(3, 8, 10, 10)]),
    "depthwise": (nn.Conv2d(8, 8, 3, padding=1, groups=8), [(1, 8, 14, 14)]),
    "same padding of an even kernel": (nn.Conv2d(2, 3, (4, 2), padding="same"), [(1, 2, 9, 9)]),
    "convolution of three axes": (nn.Conv3d(4, 6, (3, 2, 3), (2, 1, 1), (1, 0, 1), groups=2), [(2, 4, 9, 8, 7)]),
    "transposed": (nn.ConvTranspose2d(6, 4, 3, 2, 1, 1), [(2, 6, 7, 5)]),
    "transposed, grouped": (nn.ConvTranspose2d(6, 4, 4, 2, groups=2), [(1, 6, 7, 7)]),
    "transposed of one axis": (nn.ConvTranspose1d(3, 5, 4), [(1, 3, 20)]),
    "linear of tokens": (nn.Linear(12, 20), [(2, 7, 12)]),
    "linear of a vector": (nn.Linear(12, 20), [(12,)]),
    "batched product": (Call(torch.matmul), [(3, 1, 5, 7), (4, 7, 2)]),
    "weights on the left": (Call(lambda x, w: torch.matmul(w, x), (9, 7)), [(4, 7, 5)]),
    "experts": (Call(torch.bmm, (4, 7, 9)), [(4, 3, 7)]),
    "addmm": (Call(lambda x, w: torch.addmm(x, x, w), (6, 6)), [(5, 6)]),
    "einsum": (Call(lambda a, b: torch.einsum("bhqd,bkhd->bhqk", a, b)), [(2, 3, 5, 4), (2, 6, 3, 4)]),
    "einsum with an ellipsis": (Call(lambda a, b: torch.einsum("...ij,jk->...ik", a, b)), [(2, 3, 5, 4), (4, 6)]),
    "einsum without an arrow": (Call(lambda a, b: torch.einsum("ij,jk", a, b)), [(5, 4), (4, 6)]),
    "tensordot": (Call(lambda a, b: torch.tensordot(a, b, ([1, 2], [0, 1]))), [(5, 4, 3), (4, 3, 6)]),
    "vmap of activations": (Call(torch.vmap(torch.matmul)), [(3, 5, 7), (3, 7, 2)]),
    "vmap of a layer": (Call(torch.vmap(lambda x, w: functional.linear(x, w), (0, None)), (9, 7)), [(3, 5, 7)]),
    "vmap of a vmap": (Call(torch.vmap(torch.vmap(torch.matmul, (0, None)))), [(3, 4, 5, 7), (3, 7, 2)]),
    "product without a gradient": (Call(lambda x, w: torch.no_grad()(functional.linear)(x, w), (9, 7)), [(5, 7)]),
    "linear by activations": (Call(functional.linear), [(5, 7), (3, 7)]),
    "attention layer": (nn.MultiheadAttention(16, 4, batch_first=True), [(2, 5, 16)] * 3),
    "encoder": (nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), [(2, 5, 16)]),
}


@pytest.mark.parametrize("name", MODULES)
def test_multiply_accumulates_are_half_the_operations_that_torch_counts(name):
    from torch.utils.flop_counter import FlopCounterMode

    module, shapes = MODULES[name]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.train()(*zeros(*shapes))  # in evaluation, torch has fused kernels that it does not count
    network = from_torch(module, zeros(*shapes))
    assert network.workload().macs * 2 == counter.get_total_flops() > 0


def test_what_python_calls_with_tensors_and_is_not_known_is_listed():
    program = torch.export.export(nn.Linear(4, 5), zeros((3, 4)))
    (node,) = [each for each in program.graph.nodes if each.op == "call_function"]
    node.target = torch.export.custom_ops._call_custom_autograd_function_in_pre_dispatch
    ((_, operator, reason),) = from_torch(program).unsupported
    assert operator == "_call_custom_autograd_function_in_pre_dispatch"
    assert "it may hold multiply-accumulates" in reason


def test_a_product_with_a_vector_is_one_of_a_matrix_with_one_column():
    """Which torch's counter passes over."""
    (layer,) = from_torch(Call(torch.matmul), zeros((5, 7), (7,))).layers
    assert (layer.m, layer.n, layer.k) == (5, 1, 7)


WEIGHTS = {"batched product": 0, "weights on the left": 63, "experts": 4 * 7 * 9, "grouped": 12 * 2 * 9, "einsum": 0}
WEIGHTS |= {
    "vmap of activations": 0,
    "vmap of a layer": 63,
    "product without a gradient": 63,
    "linear by activations": 0,
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_what_is_held_is_weights_and_what_is_computed_is_none(name):
    module, shapes = MODULES[name]
    workload = from_torch(module, zeros(*shapes)).workload()
    assert workload.weights == WEIGHTS[name]
    assert workload.layers[0].kind == ("conv" if name == "grouped" else "gemm" if WEIGHTS[name] else "attention")


ONNX_MODULES = [  # what the older exporter, which takes a tenth of a second, takes as it is
    *("convolution of one axis", "strided, padded", "dilated", "grouped", "depthwise", "convolution of three axes"),
    *("transposed", "transposed, grouped", "linear of tokens", "batched product", "weights on the left", "experts"),
    *("addmm", "einsum", "same padding of an even kernel"),
]


@pytest.mark.parametrize("name", ONNX_MODULES)
def test_a_module_and_its_onnx_export_have_the_same_layers(name, tmp_path):
    pytest.importorskip("onnx", reason="ONNX is not installed")
    module, shapes = MODULES[name]
    inputs = tuple(torch.ones(shape) for shape in shapes)
    export(module.eval(), inputs, tmp_path / "net.onnx", dynamo=False)
    ours, theirs = from_torch(module, inputs).workload(), from_onnx(tmp_path / "net.onnx").workload()
    assert [dataclasses.replace(each, name="") for each in theirs.layers] == [
        dataclasses.replace(each, name="") for each in ours.layers
    ]


def test_scaled_dot_product_attention_is_two_products_a_head():
    network = from_torch(Attention(), zeros((2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 3)))
    assert [(each.kind, each.m, each.n, each.k, each.products) for each in network.layers] == [
        ("attention", 5, 7, 8, 8),
        ("attention", 5, 3, 7, 8),
    ]
    assert [each.name.rpartition(".")[2] for each in network.layers] == ["qk", "av"]


# --- What is refused --------------------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.encoder(x)[0])


def test_an_operator_without_a_rule_is_listed_with_its_layer_and_no_workload_is_made_without_it():
    network = from_torch(Recurrent(), zeros((1, 6, 4)))
    ((layer, operator, reason),) = network.unsupported
    assert (layer, operator) == ("encoder.lstm", "aten.lstm")
    assert "each step waits for the one before" in reason
    assert [each.name for each in network.layers] == ["head"]
    assert "# NOT SUPPORTED, LEFT OUT: aten.lstm of layer 'encoder.lstm'" in network.table()
    with pytest.raises(InvalidWorkloadError, match=r"aten.lstm of layer 'encoder.lstm' is not supported"):
        network.workload()


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_module_that_cannot_be_traced_is_refused_in_one_sentence():
    with pytest.raises(InvalidWorkloadError, match=r"torch\.export cannot trace 'Branching'") as caught:
        from_torch(Branching(), zeros((3,)))
    assert "\n" not in str(caught.value)
    with pytest.raises(InvalidWorkloadError, match=r"neither a torch\.nn.Module nor"):
        from_torch(torch.relu, zeros((3,)))


def test_a_program_with_dynamic_shapes_names_the_layer():
    linear = nn.Sequential(nn.Linear(4, 5))
    batch = torch.export.Dim("batch")
    program = torch.export.export(linear, zeros((3, 4)), dynamic_shapes=({0: batch},))
    (only,) = from_torch(program).unsupported
    assert only.layer == "0"
    assert "is dynamic" in only.reason


def test_a_table_without_what_is_not_supported_is_saved_only_where_that_is_asked_for(tmp_path):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(8, 8), nn.GRU(8, 8)

        def forward(self, x):
            return self.second(self.first(x))[0]

    network = from_torch(Recurrent().eval(), zeros((5, 1, 8)))
    with pytest.raises(InvalidWorkloadError, match=r"gru of layer 'second.* nothing is written"):
        network.save(tmp_path / "mine.csv")
    assert not (tmp_path / "mine.csv").exists()
    network.save(tmp_path / "mine.csv", partial=True)
    assert [layer.name for layer in load_workload(tmp_path / "mine.csv").layers] == ["first"]


def test_a_module_without_products_has_no_workload(tmp_path):
    network = from_torch(nn.ReLU(), zeros((3,)))
    with pytest.raises(InvalidWorkloadError, match="no operator with multiply-accumulates"):
        network.workload()
    with pytest.raises(InvalidWorkloadError, match="nothing is written"):
        network.save(tmp_path / "mine.csv")


# --- Models of libraries ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_bert_of_transformers_has_the_layers_of_the_shipped_table():
    pytest.importorskip("transformers", reason="Transformers is not installed")
    network = from_named_model("transformers:BertModel")
    shipped = get_workload("bert_base_s128")
    sizes = sorted((each.m, each.n, each.k, each.products) for each in shipped.layers for _ in range(each.repeat))
    pooler = (1, 768, 768, 1)  # which the shipped encoder is without
    assert sorted((each.m, each.n, each.k, each.products) for each in network.workload().layers) == sorted(
        [*sizes, pooler]
    )


@pytest.mark.slow
def test_settings_and_a_configuration_file_decide_the_sizes(tmp_path):
    pytest.importorskip("transformers", reason="Transformers is not installed")
    settings = {"num_hidden_layers": "1", "hidden_size": "64", "num_attention_heads": "4", "intermediate_size": "96"}
    settings |= {"num_key_value_heads": "2", "vocab_size": "100"}
    one = from_named_model("transformers:LlamaForCausalLM", settings=settings, inputs=[(2, 10)])
    members = ", ".join(f'"{name}": {value}' for name, value in settings.items())
    (tmp_path / "config.json").write_text(f'{{"model_type": "llama", {members}, "auto_map": {{"x": "y"}}}}')
    other = from_named_model("transformers:LlamaForCausalLM", config=tmp_path / "config.json", inputs=[(2, 10)])
    assert one.layers == other.layers
    tokens, keys = 20, 2 * 16
    weights = 64 * 64 + 2 * 64 * keys + 64 * 64 + 3 * 64 * 96 + 64 * 100
    assert one.workload().weights == weights
    assert one.workload().macs == tokens * weights + 2 * (2 * 4) * 10 * 10 * 16
    with pytest.raises(UnknownNameError, match="hidden_sise"):
        from_named_model("transformers:LlamaModel", settings={"hidden_sise": "1"})
    with pytest.raises(InvalidWorkloadError, match="it is of the model type 'llama'; BertModel is of bert"):
        from_named_model("transformers:BertModel", config=tmp_path / "config.json")


PUBLISHED = {  # billions of multiply-accumulates, as torchvision's documentation has them
    "alexnet": 0.71, "convnext_tiny": 4.46, "densenet121": 2.83, "efficientnet_b0": 0.39, "googlenet": 1.5,
    "mnasnet1_0": 0.31, "mobilenet_v2": 0.3, "mobilenet_v3_large": 0.22, "regnet_y_400mf": 0.4, "resnet18": 1.81,
    "resnet50": 4.09, "resnext50_32x4d": 4.23, "shufflenet_v2_x1_0": 0.14, "squeezenet1_1": 0.35, "swin_t": 4.49,
    "vgg16": 15.47, "vit_b_16": 17.56, "wide_resnet50_2": 11.4,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_models_of_torchvision_have_the_published_multiply_accumulates(name):
    pytest.importorskip("torchvision", exc_type=ImportError, reason="torchvision is not installed")
    network = from_named_model(f"torchvision:{name}")
    assert round(network.workload().macs / 1e9, 2) == pytest.approx(PUBLISHED[name], abs=0.0101)
    if name in ("resnet50", "vgg16"):
        sizes = [(each.m, each.n, each.k, each.products) for each in network.layers]
        assert sizes == [(each.m, each.n, each.k, each.products) for each in get_workload(name).layers]


@pytest.mark.parametrize("spelling", ["keras:ResNet50", "torchvision:", "transformers:os.system", "torchvision:a/b"])
def test_a_spelling_of_no_library_is_refused_before_anything_is_imported(spelling, monkeypatch):
    monkeypatch.setattr("importlib.import_module", lambda name: pytest.fail(f"{name} is imported"))
    with pytest.raises(UnknownNameError, match="torchvision:NAME"):
        from_named_model(spelling)


def test_a_missing_library_is_named_in_one_sentence(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(DsegymError, match=r"^This needs torch: pip install 'dsegym\[agents\]'\.$"):
        from_torch(nn.ReLU(), ())


def test_what_is_no_model_of_transformers_is_refused():
    pytest.importorskip("transformers", reason="Transformers is not installed")
    for name in ("BertConfig", "pipeline", "PreTrainedModel", "nothing"):
        with pytest.raises(UnknownNameError, match="model of transformers"):
            from_named_model(f"transformers:{name}")
