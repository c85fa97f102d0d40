"""Collections of graphs and of streams on systems on chip: what is trained on, and the others that policies meet.

Graphs: random ones of many sizes, ratios of communication to computation (CCR) and heterogeneities are trained on;
those of the literature, and random ones of another seed, are the test. Their optima are mostly known
(`costmodels/soc/bounds.csv`). Streams: mixes of jobs, rates and noise as DeepSoCS and DS3 have them; the test part has
other mixes, at rates and noise between those trained on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..core.collections import Collection, Instances

__all__ = ["STATIC", "STATIC_LARGE", "STREAM", "STREAM_DS3", "STREAM_RATES"]

_STATIC, _STREAM = "dsegym/SocSchedulingStatic-v0", "dsegym/SocSchedulingStream-v0"


# Graphs

_RATIOS, _HETEROGENEITIES = ("0.1", "0.5", "1", "2", "5"), ("0.5", "1", "1.5")
_TEN = tuple(f"top{number}" for number in range(1, 11))


def _random(sizes: Iterable[str], seeds: Iterable[int]) -> Iterator[str]:
    """Graphs of these sizes, N_P: with every ratio and heterogeneity, each graph of a seed of its own."""
    every = itertools.product(sizes, _RATIOS, _HETEROGENEITIES)
    for (size, ratio, heterogeneity), seed in zip(itertools.cycle(every), seeds, strict=False):
        yield f"random_{size}_ccr{ratio}_s{seed}" + ("" if heterogeneity == "1" else f"_h{heterogeneity}")


def _graphs(names: Iterable[str]) -> Instances:
    listed = tuple({"graph": name} for name in names)
    return lambda: listed


_SMALL, _LARGE = ("10_3", "20_3", "30_3", "10_4", "20_4"), ("20_8", "40_8", "30_16", "60_16")

STATIC = Collection(
    name="soc-static",
    scenario=_STATIC,
    form="by_action",
    summary="random graphs of 10 to 30 tasks on 3 or 4 elements; tested on those of the literature for 3, and others",
    train=_graphs(_random(_SMALL, range(1000, 1150))),
    validation=_graphs(_random(_SMALL, range(2000, 2075, 5))),
    test=_graphs((*_TEN, "peft", *(f"random_{n}_3_ccr{ratio}_s1" for n in (20, 30) for ratio in ("0.1", "1", "5")))),
)
STATIC_LARGE = Collection(
    name="soc-static-large",
    scenario=_STATIC,
    form="by_action",
    summary="random graphs of 20 to 60 tasks on 8 or 16 elements; tested on DS3's applications, and others",
    train=_graphs(_random(_LARGE, range(1000, 1060))),
    validation=_graphs(_random(_LARGE, range(2000, 2008))),
    test=_graphs(
        (
            *("wifi_tx", "wifi_rx", "range_detection", "sct", "scr", "temporal_mitigation", "pulse_doppler"),
            *(f"random_50_8_ccr{ratio}_s1" for ratio in ("0.1", "1", "5")),
        )
    ),
)


# Streams


def _streams(
    mixes: Sequence[str],
    intervals_us: Sequence[int],
    noises: Sequence[float],
    platforms: Sequence[str] = ("own",),
    **common: object,
) -> Instances:
    """Every mix at every rate and noise on every platform."""

    def made() -> Sequence[Mapping[str, object]]:
        every = itertools.product(mixes, platforms, intervals_us, noises)
        return [
            {"jobs": jobs, "platform": platform, "interval_us": interval_us, "noise": noise, **common}
            for jobs, platform, interval_us, noise in every
        ]

    return made


_JOBS = 30  # of a trace

STREAM_RATES = Collection(
    name="soc-stream-rates",
    scenario=_STREAM,
    summary="the ten graphs of gym_ds3 at many rates and noises; tested at rates and noises between",
    train=_streams(["top"], (15, 25, 40, 65, 100), (0, 0.1, 0.25), count=_JOBS),
    validation=_streams(["top"], (30, 80), (0.15,), count=_JOBS),
    test=_streams(["top"], (20, 50), (0.05, 0.2), count=_JOBS),
)
STREAM = Collection(
    name="soc-stream",
    scenario=_STREAM,
    summary="mixes of seven graphs of gym_ds3; tested on mixes with the other three, at rates and noises between",
    train=_streams(
        [
            "+".join(f"{graph}:1" for graph in _TEN[:7]),
            "top1",
            "top2:1+top3:1",
            "top4:1+top5:1+top6:1",
            "top1:2+top7:1",
            "top3:1+top6:3",
        ],
        (15, 25, 40, 65, 100),
        (0, 0.1, 0.25),
        count=_JOBS,
    ),
    validation=_streams(["top2:1+top4:1", "top1:1+top5:2"], (30, 80), (0.15,), count=_JOBS),
    test=_streams(["top8:1+top9:1+top10:1", "top8:3+top10:1", "top2:1+top9:2", "top"], (20, 50), (0.05, 0.2),
                  count=_JOBS),
)  # fmt: skip
STREAM_DS3 = Collection(
    name="soc-stream-ds3",
    scenario=_STREAM,
    summary="mixes of DS3's applications on its platform and smaller ones; tested on other mixes and another platform",
    train=_streams(
        ["wifi_tx:1", "wifi_rx:1", "wifi", "range_detection:1+scr:1", "wifi_tx:1+range_detection:1", "single_carrier"],
        (40, 80, 160),
        (0, 0.15),
        ("multiple_bal", "bal_mm1_fft1_vit1"),
        count=20,
    ),
    validation=_streams(["wifi_tx:1+wifi_rx:1"], (60, 120), (0.1,), ("multiple_bal", "bal_mm1_fft1_vit1"), count=20),
    test=_streams(
        ["wifi_rx", "wifi_tx:1+wifi_rx:1+range_detection:1", "wifi_tx:2+temporal_mitigation:1"],
        (50, 120),
        (0.1,),
        ("multiple_bal", "bal_mm1_fft2_vit1"),
        count=20,
    ),
)
