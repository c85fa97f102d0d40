"""The mapping-aware model against Timeloop: about half of the results that DOSA publishes, split by layer.

The constants come from Timeloop's own formula, not from these rows; the fit here shows that a fit would find the same,
and the layers held out that neither it nor the rules know their layers by heart.
"""

import csv
import gzip

import jax
import numpy as np
import pytest
from scipy.stats import spearmanr

from dsegym.costmodels import wide
from dsegym.costmodels.accelerator.mapping import model, notation

HELD_OUT = 3  # one layer in this many, in the order of their shapes


@pytest.fixture(scope="module", params=[9, pytest.param(1, marks=pytest.mark.slow)], ids=["every_ninth", "all"])
def timeloop(shared_data, request):
    """Measurements, costs, microjoules by part, rows of held-out layers, shares of capacity, machines."""
    text = gzip.decompress((shared_data / "timeloop_gemmini" / "timeloop_gemmini.csv.gz").read_bytes()).decode()
    rows = list(csv.DictReader(text.splitlines()))[:: request.param]

    def column(name):
        return np.array([int(row[name]) for row in rows], np.int32)

    shapes = model.LayerShape(
        np.stack([column(f"prob.{each}") for each in model.DIMENSIONS], axis=1),
        np.stack([column("prob.Wstride"), column("prob.Hstride")], axis=1),
        np.stack([column("prob.Wdilation"), column("prob.Hdilation")], axis=1),
    )
    mappings = [
        notation.parse_mapping(row["mapping.mapping"], jax.tree.map(lambda leaf, at=at: leaf[at], shapes), f"row {at}")
        for at, row in enumerate(rows)
    ]
    mappings = jax.tree.map(lambda *leaves: np.stack(leaves), *mappings)
    edge = column("arch.meshX")
    hardware = model.Hardware(
        edge,
        column("arch.mem2_entries") // 1024,
        column("arch.mem1_entries") * edge * 4 // 1024,
        np.full(len(rows), 8, np.int32),
    )
    costs = jax.jit(jax.vmap(model.evaluate))(mappings, shapes, hardware)
    parts = np.stack(jax.jit(jax.vmap(model.energies))(costs, hardware), axis=1).astype(np.float64) * 1e6
    shares = np.asarray(jax.jit(jax.vmap(model.overflow))(mappings, shapes, hardware))
    layers = np.concatenate([shapes.bounds, shapes.strides], axis=1)
    _, number = np.unique(layers, axis=0, return_inverse=True)
    measured = {name: np.array([float(row[f"target.{name}"]) for row in rows]) for name in ("cycle", "energy", "area")}
    return measured, costs, parts, number.ravel() % HELD_OUT == 0, shares, hardware


def test_there_are_layers_on_both_sides_of_the_split(timeloop):
    _, _, _, held_out, _, _ = timeloop
    assert len(held_out) / 6 < held_out.sum() < len(held_out) / 2


def test_cycles_are_timeloop_s_to_one_cycle(timeloop):
    """Timeloop rounds up a quotient of doubles, which is one too many where it is whole."""
    measured, costs, _, _, _, _ = timeloop
    more = measured["cycle"] - wide.to_int64(costs.cycles)
    assert set(more.tolist()) <= {0, 1}
    assert np.mean(more == 0) > 0.9
    assert np.all(measured["cycle"] >= wide.to_int64(costs.compute_cycles))


def test_latency_and_energy_rank_and_track_held_out_layers(timeloop):
    measured, costs, parts, held_out, _, _ = timeloop
    for value, truth, most in (
        (wide.to_int64(costs.cycles), measured["cycle"], 0.02),  # one cycle in 65 of the shortest
        (parts.sum(axis=1), measured["energy"], 1e-4),
    ):
        assert spearmanr(value[held_out], truth[held_out]).statistic > 0.9999
        error = np.abs(value / truth - 1)[held_out]
        assert np.median(error) < 1e-6
        assert error.max() < most


def test_a_fit_to_the_other_layers_finds_the_constants_that_timeloop_s_formula_gives(timeloop):
    measured, _, parts, held_out, _, _ = timeloop
    shares = (parts / measured["energy"][:, None])[~held_out]
    scales, *_ = np.linalg.lstsq(shares, np.ones(len(shares)), rcond=None)
    np.testing.assert_allclose(scales, 1, atol=1e-4)


def test_every_mapping_that_timeloop_accepted_fits_and_some_fill_each_level(timeloop):
    _, _, _, _, shares, _ = timeloop
    assert shares.max() == 1
    assert np.all(shares.max(axis=0) > 0.9)


def test_area_tracks_timeloop_s(timeloop):
    measured, _, _, _, _, hardware = timeloop
    machines, first = np.unique(np.stack(hardware[:3], axis=1), axis=0, return_index=True)
    assert len(machines) > 90
    area = np.asarray(jax.vmap(model.area_mm2)(model.Hardware(*(leaf[first] for leaf in hardware))))
    error = np.abs(area / measured["area"][first] - 1)
    assert error.mean() < 0.06
    assert error.max() < 0.2
