"""The tables of ``images.py``: what was measured, beside what was asked for."""

from __future__ import annotations

from statistics import mean
from typing import Any

from common import markdown, reached

MODELS = ("recurrent", "dcgan")
LEAST_TSTR, LEAST_TRTS, MOST_BELOW_REAL = 0.975, 0.98, 0.05
MOST_FID, LEAST_SHARE = 1.2, 0.5
COLUMNS = ("fid", "precision", "recall", "density", "coverage", "least_class", "tstr", "trts",
           "seam", "worst_seam")  # fmt: skip
Row = dict[str, Any]


def group(row: Row) -> tuple[Any, ...]:
    """What rows of one table have in common."""
    return row["data"], row["preset"], row["budget"], tuple(row["set"]), tuple(row["judged"])


def averaged(rows: list[Row], which: str, name: str) -> float | None:
    """Mean of a score over rows; None where there is none."""
    found = [row[which][name] for row in rows if name in row[which]]
    return mean(found) if found else None


def table(rows: list[Row]) -> str:
    """Real images, the recipe and the rival, of one set of rows with the same budget."""
    cells = []
    sides = [("real", rows[:1], "floor")]
    for model in MODELS:
        sides.append((model, [row for row in rows if row["model"] == model], "scores"))
    for model, mine, which in sides:
        if not mine:
            continue
        numbers = [averaged(mine, which, name) for name in COLUMNS]
        cell = [model, *("-" if x is None else f"{x:.3f}" for x in numbers)]
        if which == "scores":
            short = any(row["steps"] < row.get("planned", 0) for row in mine)
            cell += [
                f"{mean(row['train_cpu_seconds'] for row in mine):.0f}",
                f"{mean(row['steps'] for row in mine):,.0f}{' (broken off)' if short else ''}",
                f"{mean(row['sample_ms'] for row in mine):.2f}",
                f"{mean(row['parameters'] for row in mine):,.0f}",
                str(len(mine)),
            ]
        cells.append(cell + [""] * (len(COLUMNS) + 6 - len(cell)))
    header = ["model", *(name.replace("_", " ") for name in COLUMNS), "training, s", "steps"]
    return markdown([*header, "ms an image", "weights", "seeds"], cells)


def bars(data: str, rows: list[Row]) -> list[str]:
    """What was asked for, and whether it was reached."""
    mine, other = ([row for row in rows if row["model"] == model] for model in MODELS)
    if not mine:
        return []
    got = {name: averaged(mine, "scores", name) for name in COLUMNS}
    asked: list[tuple[str, float | None, float, bool]] = []
    theirs = averaged(other, "scores", "fid") if other else None
    if theirs:
        asked.append(("FID over the DCGAN's", (got["fid"] or 0) / theirs, MOST_FID, True))
    if data == "mnist":
        asked += [("TSTR", got["tstr"], LEAST_TSTR, False)]
        asked += [("TRTS", got["trts"], LEAST_TRTS, False)]
    real = averaged(mine, "floor", "tstr")
    if data == "fashion" and real:
        asked.append(("TSTR", got["tstr"], real - MOST_BELOW_REAL, False))
    asked.append(("least class", got["least_class"], LEAST_SHARE, False))
    return [
        f"{what} {value:.3f}, {'at most' if low else 'at least'} {bound:.3f}: "
        f"{reached(value <= bound if low else value >= bound)}"
        for what, value, bound, low in asked
        if value is not None
    ]


def show(rows: list[Row]) -> None:
    """Print a table, the bars and the shares of the classes for each set and budget."""
    for one in dict.fromkeys(map(group, rows)):
        mine = [row for row in rows if group(row) == one]
        data, recipe, budget, extra, (most, _) = one
        long = f"{budget:.0f} s of one thread each" if budget else "the recipe's own length"
        print(
            f"\n{' '.join((data, *extra))}, preset {recipe}: {long}, at most {most:,} images a side"
        )
        for line in dict.fromkeys(row["machine"] for row in mine):
            print(line)
        print(f"\n{table(mine)}\n")
        for line in bars(data, mine):
            print(line)
        for row in mine:
            shares = row["scores"].get("class_shares", {})
            if shares:
                said = ", ".join(f"{name} {value:.2f}" for name, value in shares.items())
                print(f"classes of {row['model']}, seed {row['seed']}: {said}")
