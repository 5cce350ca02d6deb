"""The tables of `fused.py`, from what it has written as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LOCAL, AUTO = "LocalExecutor", 'width="auto"'
CPU_AIMS = {  # model, optimizer -> widths of which the best counts, times as fast
    ("MLP 64-32-32-10", "Adam"): ((16,), 4.0),
    ("MLP 64-32-32-10", "SGD"): ((16,), 3.0),
    ("transformer 32", "Adam"): ((1, 2, 4, 8, 16), 1.5),
    ("transformer 32", "SGD"): ((1, 2, 4, 8, 16), 1.5),
}
GPU_AIMS = {"the MLP": ("MLP",), "a small CNN": ("CNN",)}  # how the names of its models begin
GPU_TIMES, NEVER_BELOW = 15.0, 0.95
Row = Mapping[str, Any]


def rate_cells(row: Row) -> list[str]:
    """Alone, and the ratios."""
    ratios = [f"{ratio:.2f}" for ratio in row["ratios"].values()]
    auto = f"{auto_ratio(row):.2f} at {row['auto']}"
    return [row["task"], row["optimizer"], f"{row['alone']:,.0f}", *ratios, auto]


def auto_ratio(row: Row) -> float:
    """Of the width that "auto" takes; at 1 it does not fuse."""
    return 1.0 if row["auto"] == 1 else float(row["ratios"][str(row["auto"])])


def rate_heads(rows: Sequence[Row]) -> list[str]:
    """Of those."""
    return ["model", "optimizer", "alone, steps/s", *rows[0]["ratios"], "auto"]


def agreement_cells(row: Row) -> list[str]:
    """Differences and memory."""
    added = "" if row["added_bytes"] is None else f"{row['added_bytes'] / 2**20:.1f}"
    differences = [f"{row[what]:.0e}" for what in ("losses", "weights")]
    return [row["task"], row["optimizer"], *differences, f"{16 * row['row_bytes'] / 2**20:.1f}", added]


AGREEMENT_HEADS = ["model", "optimizer", "losses", "weights", "16 models, MB: estimate", "measured"]


def comparison_ratio(row: Row, name: str) -> float:
    """Median over the rounds of LocalExecutor's time over another's."""
    seconds = row["seconds"]
    return statistics.median(float(local / other) for local, other in zip(seconds[LOCAL], seconds[name], strict=True))


def comparison_cells(row: Row) -> list[str]:
    """Seconds, and how many times as fast."""
    cells = [row["task"], row["optimizer"], str(row["steps"])]
    for name, seconds in row["seconds"].items():
        times = "" if name == LOCAL else f" ({comparison_ratio(row, name):.2f})"
        cells.append(f"{statistics.median(seconds):.1f}{times}")
    return cells


def comparison_heads(rows: Sequence[Row]) -> list[str]:
    """Of those."""
    return ["model", "optimizer", "steps", *rows[0]["seconds"]]


def best(row: Row, widths: Iterable[int]) -> tuple[float, int]:
    """The largest ratio, and its width."""
    return max((float(row["ratios"][str(width)]), width) for width in widths)


def aims(device: str, found: Row) -> list[str]:
    """What was aimed at and what came of it."""
    rows = found["rows"]
    lines = cpu_aims(rows) if device == "cpu" else gpu_aims(rows)
    autos = [(auto_ratio(row), f"{row['task']}, {row['optimizer']}") for row in rows]
    lines.append(_aim(f'width="auto", rates: {_slowest(autos)}', min(autos)[0], NEVER_BELOW))
    whole = [(comparison_ratio(row, AUTO), f"{row['task']}, {row['optimizer']}") for row in found["comparisons"]]
    lines.append(_aim(f'width="auto", whole comparisons: {_slowest(whole)}', min(whole)[0], NEVER_BELOW))
    return lines


def cpu_aims(rows: Sequence[Row]) -> list[str]:
    """Of the models that have one."""
    lines = []
    for row in rows:
        widths, times = CPU_AIMS.get((row["task"], row["optimizer"]), ((), 0.0))
        timed = [width for width in widths if str(width) in row["ratios"]]
        if timed:
            ratio, width = best(row, timed)
            lines.append(_aim(f"{row['task']}, {row['optimizer']}: {ratio:.2f} times at width {width}", ratio, times))
    return lines


def gpu_aims(rows: Sequence[Row]) -> list[str]:
    """At the best width."""
    lines = []
    for what, begins in GPU_AIMS.items():
        some = [(*best(row, map(int, row["ratios"])), row) for row in rows if row["task"].startswith(begins)]
        if some:
            ratio, width, row = max(some, key=lambda each: each[0])
            told = f"{what}: {ratio:.2f} times at width {width} ({row['task']}, {row['optimizer']})"
            lines.append(_aim(told, ratio, GPU_TIMES))
    return lines


def _slowest(some: Sequence[tuple[float, str]]) -> str:
    ratio, name = min(some)
    return f"{ratio:.2f} times at its slowest ({name})"


def _aim(told: str, ratio: float, least: float) -> str:
    return f"{told}, aim {least:g}: {'reached' if ratio >= least else 'MISSED'}"


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def device_text(device: str, found: Row) -> str:
    """One device's tables."""
    where, rows, whole = found["machine"], found["rows"], found["comparisons"]
    name = f"{where['gpu']} ({where['processor']})" if "gpu" in where else f"{where['processor']}, one thread"
    clock = "seconds" if "gpu" in where else "CPU seconds"
    return "\n\n".join(
        [
            f"{name}, torch {where['torch']}: times as fast as one model after another, by how many are trained together",
            markdown(rate_heads(rows), map(rate_cells, rows)),
            "Relative difference of 16 models trained together from each by itself, after 50 steps; memory of the 16",
            markdown(AGREEMENT_HEADS, map(agreement_cells, rows)),
            f"A whole comparison, a grid of {whole[0]['trials']} LRs: {clock} (times as fast as {LOCAL})",
            markdown(comparison_heads(whole), map(comparison_cells, whole)),
            "\n".join(aims(device, found)),
        ]
    )


def text(found: Mapping[str, Row]) -> str:
    """All of it."""
    return "\n\n".join(device_text(device, each) for device, each in found.items())
