"""Fits the roofline of serving to half of the measured dense rows, and says how far off the other half is.

    python benchmarks/serving_roofline.py aiconfigurator_silicon_e2e.csv

The constants of `costmodels/serving/roofline.py` are the fit to all rows, its first line; those of the second line see
half of the rows, and the other half says what to expect of new ones. Halves are told apart by a hash of the row.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import polars as pl
from scipy.optimize import least_squares
from scipy.stats import spearmanr

from dsegym.costmodels.serving.roofline import CALIBRATION, Calibration, Replica, replica_of, tpot_parts
from dsegym.costmodels.transformers.architectures import Architecture, cache_copies, get_architecture
from dsegym.costmodels.transformers.devices import get_device, get_precision

DEVICES = {
    "h100_sxm": "H100-SXM-80GB",
    "h200_sxm": "H200-SXM-141GB",
    "b200_sxm": "B200-SXM",
    "gb200": "GB200",
}
MODELS = {
    "Llama-3.1-70B": "Llama-3-70B",
    "Qwen3-32B": "Qwen3-32B",
    "DeepSeek-R1": "DeepSeek-V3",
    "DeepSeek-V3": "DeepSeek-V3",
}
_NODE = 8  # accelerators of a server


def rows_of(path: Path, models: tuple[str, ...]) -> pl.DataFrame:
    """Aggregated rows of models whose precision the table states."""
    rows = pl.read_csv(path, infer_schema_length=None)
    named = pl.any_horizontal([pl.col("model_path").str.contains(model) for model in models])
    known = pl.col("precision").is_in(["fp8", "fp4"]) & pl.col("system").is_in(list(DEVICES))
    return rows.filter((pl.col("mode") == "agg") & known & named & (pl.col("pp_size") == 1))


def stacked(replicas: list[Replica]) -> Replica:
    """One record of arrays."""
    model = Architecture(*np.array([each.model for each in replicas], float).T)
    return Replica(model, *np.array([each[1:] for each in replicas], float).T)


def split_of_row(row: dict, squares: bool = True) -> tuple[int, int]:
    """Accelerators of a replica, and groups of attention among them.

    `squares`: rows of k x k accelerators, k for the width and k for the number of experts, are taken to have k. The
    rows do not say so. They are dumps of InferenceX's runs, whose configurations of a B200 server have `tp4 ep4` and
    `tp8 ep8`, one and the same accelerators, and no 16 or 64.
    """
    gpus, groups = int(row["tp_size"] * (row["attention_dp_size"] or 1)), int(row["attention_dp_size"] or 1)
    k = int(row["moe_ep_size"] or 1)
    if squares and 1 < k <= _NODE and row["moe_tp_size"] == k and gpus == k * k:
        return k, min(groups, k)
    return gpus, groups


def replica_of_row(row: dict, squares: bool = True) -> Replica:
    name = next(ours for theirs, ours in MODELS.items() if theirs in row["model_path"])
    gpus, groups = split_of_row(row, squares)
    device, precision = get_device(DEVICES[row["system"]]), get_precision(row["precision"])
    engine = "vllm" if row["backend"] == "vllm" else "trtllm"
    model = get_architecture(name)
    replica = replica_of(model, device, precision, gpus, engine)
    # Groups of attention hold their own requests.
    copies = cache_copies(model, gpus // groups) / cache_copies(model, gpus)
    return replica._replace(kv_bytes_per_token=replica.kv_bytes_per_token * copies)


def predicted_s(rows: pl.DataFrame, calibration: Calibration, squares: bool = True) -> np.ndarray:
    """float64[rows], TPOT."""
    replicas = stacked([replica_of_row(row, squares) for row in rows.iter_rows(named=True)])
    batch = (rows["batch_size"] * rows["attention_dp_size"].fill_null(1)).to_numpy().astype(float)
    isl, osl = (rows[name].to_numpy().astype(float) for name in ("isl", "osl"))
    return np.asarray(tpot_parts(replicas, batch, isl, osl, calibration).total_s())


def errors(rows: pl.DataFrame, calibration: Calibration, squares: bool = True) -> tuple[float, float, float]:
    """Mean and median relative error, and Spearman's rank correlation."""
    predicted, measured = predicted_s(rows, calibration, squares), rows["silicon_tpot_ms"].to_numpy() / 1e3
    error = np.abs(predicted / measured - 1)
    return float(error.mean()), float(np.median(error)), float(spearmanr(predicted, measured)[0])


def fit(rows: pl.DataFrame) -> Calibration:
    """Least squares of logarithms, with a soft loss; shares stay at or below 1."""
    measured = rows["silicon_tpot_ms"].to_numpy() / 1e3
    start = np.log(np.array(CALIBRATION))
    highest = np.log([1.0, 1.0, 1.0, 1.0, 1e-3, 4.0, 1e-3])
    found = least_squares(
        lambda x: np.log(predicted_s(rows, Calibration(*np.exp(x))) / measured),
        np.minimum(start, highest - 1e-3),
        bounds=(-30, highest),
        loss="soft_l1",
        f_scale=0.1,
    )
    return Calibration(*np.exp(found.x).tolist())


def halves(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two halves, by a hash of each row."""
    first = [hashlib.sha256(repr(row).encode()).digest()[0] % 2 == 0 for row in rows.iter_rows()]
    return rows.filter(pl.Series(first)), rows.filter(~pl.Series(first))


def main(path: Path) -> None:
    """Prints the fit and its errors."""
    dense = rows_of(path, ("Llama-3.1-70B", "Qwen3-32B"))
    one, other = halves(dense)
    found = fit(one)
    for name, each in (("all rows", fit(dense)), ("one half", found)):
        print(f"fit to {name}:", " ".join(f"{key} {value:.4g}" for key, value in each._asdict().items()))
    for name, rows in (("fitted half", one), ("held-out half", other), ("all dense rows", dense)):
        for said, calibration in (("this fit", found), ("shipped", CALIBRATION)):
            mean, median, rank = errors(rows, calibration)
            print(f"{name:16} {said:9} n {len(rows):4}  mean {mean:.3f}  median {median:.3f}  Spearman {rank:.4f}")
    for system in dense["system"].unique().sort():
        rest, alone = dense.filter(pl.col("system") != system), dense.filter(pl.col("system") == system)
        mean, median, rank = errors(alone, fit(rest))
        print(f"fit without {system:9}: n {len(alone):4}  mean {mean:.3f}  median {median:.3f}  Spearman {rank:.4f}")
    for column in ("tp_size", "batch_size", "backend", "precision", "isl"):
        for value, part in dense.group_by(column, maintain_order=True):
            if len(part) > 9:
                print(f"  {column} {value[0]}: n {len(part)} mean {errors(part, CALIBRATION)[0]:.3f}")
    experts = rows_of(path, ("DeepSeek-R1", "DeepSeek-V3"))
    of_row = list(experts.iter_rows(named=True))
    square = pl.Series([split_of_row(row) != split_of_row(row, squares=False) for row in of_row])
    small = pl.Series([split_of_row(row)[0] <= _NODE for row in of_row])
    parts = {
        "all": experts,
        "squares": experts.filter(square),
        "other rows of a server": experts.filter(~square & small),
        "beyond a server": experts.filter(~small),
    }
    for name, part in parts.items():
        for squares in (False, True):
            mean, median, rank = errors(part, CALIBRATION, squares)
            said = "k accelerators in squares" if squares else "as stated"
            print(
                f"DeepSeek, not fitted, {name:22} {said:25} n {len(part):3}  mean {mean:.3f}  median {median:.3f}  "
                f"Spearman {rank:.4f}"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
