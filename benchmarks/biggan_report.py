"""Tables of what ``bench_biggan_deep_128.py`` has measured."""

from __future__ import annotations

from typing import Any

WAYS = {
    "textbook": "textbook",
    "eager": "ours",
    "compiled": "ours, `--compile`",
    "recompute": "ours, `--recompute`",
}


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def steps(result: dict[str, Any]) -> str:
    """Time of a step, and of the passes alone."""
    rows = []
    for kind, one in result["step"].items():
        passes = one.get("passes")
        rows.append([
            WAYS[kind],
            f"{one['seconds']:.2f}",
            f"{one['speed_up']:.2f}×",
            f"{one['cpu_seconds']:.1f}" if "cpu_seconds" in one else "",
            f"{one['cpu_speed_up']:.2f}×" if "cpu_speed_up" in one else "",
            f"{100 * passes['share']:.0f}% of {result['matmul_gflops']:.0f} GFLOP/s" if passes else "",
            f"{one['gradient_difference']:.1%}",
            f"{one['first_seconds']:.0f}",
        ])  # fmt: skip
    heads = [
        "",
        "seconds a step",
        "times as fast",
        "CPU seconds",
        "fewer by",
        "products, of this machine's rate",
        "gradient differs by",
        "first step",
    ]
    return table(heads, rows)


def memory(result: dict[str, Any]) -> str:
    """Peak memory of a step."""
    whole = next((row["peak_mb"] for row in result["memory"] if row["kind"] == "textbook"), None)
    rows = []
    for row in result["memory"]:
        share = f"{100 * row['peak_mb'] / whole:.0f}%" if whole and row.get("batch") is None else ""
        batch = row.get("batch", result["batch"])
        rows.append([WAYS[row["kind"]], str(batch), str(row.get("micro", batch)), f"{row['peak_mb']:.0f}", share])
        rows[-1].append(f"{row['cpu_seconds']:.1f}")
    return table(["", "batch", "micro-batch", "MB at the peak", "of the textbook's", "CPU seconds"], rows)


def held_table(rows: list[dict[str, float]]) -> str:
    """What is held for the backward pass."""
    cells = [[f"{row['batch']}", f"{row['textbook']:.0f}"] for row in rows]
    for line, row in zip(cells, rows, strict=True):
        line += [f"{row[name]:.0f} ({row[name] / row['textbook']:.0%})" for name in list(row)[2:]]
    return table(["batch", "textbook", "ours", "`--recompute`", "`--micro-batch 2`"], cells)


def held(result: dict[str, Any]) -> str:
    """The same, and what it is."""
    return (
        "What a step holds for its backward pass, in MB (also printed by `python benchmarks/bench_held_memory.py`).\n"
        "Counted is what torch saves, on tensors without values; weights are left out, but for those that the "
        "textbook's\nspectral norm makes anew in each forward. Shares are of the textbook's at the same batch.\n\n"
        + held_table(result["held"])
    )


def ceiling(result: dict[str, Any]) -> str:
    """How fast a step could be if it were nothing but products at the machine's rate."""
    passes = result["step"].get("eager", {}).get("passes")
    textbook = result["step"].get("textbook")
    if not passes or not textbook:
        return ""
    least = passes["gflop"] / result["matmul_gflops"]
    return (
        f"\n\nThe products of our step are {passes['gflop']:.0f} GFLOP. At the rate of this machine's fastest product "
        f"of matrices they alone take {least:.2f} s,\n{textbook['seconds'] / least:.1f}× less than the textbook's step."
    )


def growth(result: dict[str, Any]) -> str:
    """Time of a step as it grows."""
    usual = {"batch": result["batch"], "micro": None, "ndirs": result["ndirs"], "probes": 2}
    rows = []
    for row in result["growth"]:
        setting = usual | {name: value for name, value in row.items() if name != "seconds"}
        images = 2 * setting["probes"] * setting["batch"]
        cells = [str(setting["batch"]), str(setting["micro"] or setting["batch"]), str(setting["ndirs"])]
        rows.append([*cells, str(setting["probes"]), f"{row['seconds']:.2f}", f"{row['seconds'] / images:.3f}"])
    return table(["batch", "micro-batch", "ndirs", "probes", "seconds a step", "seconds an image"], rows)


def parts(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Headings and tables of what was measured."""
    found = []
    if "step" in result:
        found.append(("A step", steps(result) + ceiling(result)))
    if "gram_schmidt" in result:
        times = result["gram_schmidt"]
        rows = [[WAYS.get(name, name), f"{value:.1f}"] for name, value in times.items()]
        found.append(("Gram–Schmidt of 120 rows, forward and backward", table(["", "milliseconds"], rows)))
    if "held" in result:
        found.append(("Memory held", held(result)))
    if "memory" in result:
        found.append(("Memory of the process during a step", memory(result)))
    if "growth" in result:
        found.append(("How a step grows (ours)", growth(result)))
    if "render" in result:
        rates = result["render"]
        rows = [["the generator alone", f"{rates['bare']:.2f}", ""]]
        rows += [["rendered and encoded as a GIF", f"{rates['rendered']:.2f}", f"{100 * rates['share']:.0f}%"]]
        found.append(("Rendering", table(["", "images a second", "of the generator alone"], rows)))
    return found


def summary(result: dict[str, Any]) -> str:
    """What is printed."""
    head = f"BigGAN-deep-128, channel width {result['width']}, batch {result['batch']}, {result['machine']}:"
    return "\n\n".join([head, *(f"{heading}\n{text}" for heading, text in parts(result))])


def markdown(result: dict[str, Any]) -> str:
    """A page of the documents."""
    intro = f"""# Benchmarks

Printed by `python benchmarks/bench_biggan_deep_128.py --out docs` (a part of `make bench`), on {result["machine"]}.
BigGAN-deep-128 with channel width {result["width"]} and random, calibrated weights; batch {result["batch"]}, 2 probes,
{result["ndirs"]} directions in as many components of z, unless a table says otherwise. *Textbook* is a step written
from the paper: a loop for Gram–Schmidt, 2k + 1 separate forwards of the package's module with spectral norm in each,
the generator's weights frozen. *Ours* is what `directions discover` runs. Each has a process of its own; seconds are
medians of steps taken in turn, two by two, of which the better counts. Memory of the process is its peak during a step,
less what it held before. The gradients are compared with the textbook's: they differ by rounding, which moves values
across the kinks of ReLUs."""
    return "\n\n".join([intro, *(f"## {heading}\n\n{text}" for heading, text in parts(result))]) + "\n"
