"""Wider groups: MobileNetV1 on a 64 x 64 array, against the closed form's published table, and what is refused."""

import jax
import numpy as np
import pytest

from dsegym.costmodels import wide
from dsegym.costmodels.accelerator import model
from dsegym.costmodels.accelerator.grouping import depthwise_layers, extra_macs, widened
from dsegym.costmodels.accelerator.platforms import get_platform
from dsegym.costmodels.accelerator.workloads import get_workload
from dsegym.costmodels.errors import DsegymError, InvalidWorkloadError, UnknownNameError

# Width: million multiply-accumulates, million unstalled cycles weight, output and input stationary.
TABLE = {
    1: (569, 3.220, 4.818, 6.740),
    2: (586, 1.782, 2.709, 3.560),
    4: (621, 1.064, 1.654, 1.970),
    8: (690, 1.064, 1.127, 2.003),
    16: (830, 0.884, 0.864, 1.639),
    32: (1108, 0.794, 0.732, 1.508),
}
NETWORK = get_workload("mobilenet_v1")
_evaluate = jax.jit(model.evaluate, static_argnames="platform")


def cycles(workload, dataflow):
    sizes = (64, 64, 2048, 2048, 2048, 256, model.DATAFLOWS.index(dataflow))
    hardware = model.Hardware(*(np.array(size, np.int32) for size in sizes))
    metrics = _evaluate(hardware, workload.distinct, platform=get_platform("gemmini"))
    return int(wide.to_int64(metrics.compute_cycles))


@pytest.mark.parametrize("width", TABLE)
def test_work_and_cycles_are_the_tables(width):
    wider = widened(NETWORK, width)
    macs, *expected = TABLE[width]
    assert wider.macs / 1e6 == pytest.approx(macs, abs=0.51)
    assert [cycles(wider, each) / 1e6 for each in model.DATAFLOWS] == pytest.approx(expected, abs=5.1e-4)


def test_groups_of_two_everywhere_save_the_42_6_percent_that_draco_reports_for_3_1_percent_more_work():
    wider = widened(NETWORK, 2)
    assert cycles(wider, "ws") <= (1 - 0.426) * cycles(NETWORK, "ws")
    assert extra_macs(NETWORK, wider) == pytest.approx(0.0306, abs=5e-5)


def test_widths_of_layers_by_name_add_up_to_the_same_for_all():
    names = depthwise_layers(NETWORK)
    assert len(names) == 13
    assert widened(NETWORK, dict.fromkeys(names, 2)).layers == widened(NETWORK, 2).layers
    some = widened(NETWORK, dict.fromkeys(names[:6], 2))
    assert cycles(NETWORK, "ws") > cycles(some, "ws") > cycles(widened(NETWORK, 2), "ws")


def test_width_one_changes_nothing_but_the_name():
    assert widened(NETWORK, 1).layers == NETWORK.layers


def test_what_is_no_depthwise_layer_or_does_not_divide_is_refused():
    name = depthwise_layers(NETWORK)[0]
    with pytest.raises(UnknownNameError, match="depthwise convolution"):
        widened(NETWORK, {"no_such_layer": 2})
    with pytest.raises(InvalidWorkloadError, match=f"{name}: groups of 3 channels do not divide its 32"):
        widened(NETWORK, {name: 3})
    with pytest.raises(DsegymError):
        widened(NETWORK, {name: 0})
    assert widened(get_workload("alexnet"), 2).layers == get_workload("alexnet").layers
