"""The tables of the time series benchmark, and what other methods have published.

Published figures, all by the protocols that ``tsg_scores.published`` follows:

- RCGAN, TimeGAN (discriminative, Sines, Stocks, Energy at 24 steps): Yoon, Jarrett & van der Schaar
  2019, "Time-series Generative Adversarial Networks" (NeurIPS), table 2.
- TimeGAN (everything else) and Diffusion-TS: Yuan & Qiao 2024, "Diffusion-TS: Interpretable
  Diffusion for General Time Series Generation" (ICLR, arXiv 2403.01742), tables 1 and 2, and its
  appendix for Energy at more than 24 steps.
- best: the best figures published without choosing by the reported metric, of flow and diffusion
  models of 2024 and 2025, as they were collected for the targets of this project.

Each is the mean of several judgements of one trained generator, without a floor.
"""

from __future__ import annotations

from statistics import mean, stdev
from typing import Any

from common import markdown, reached

Part = dict[str, Any]
Published = dict[tuple[str, str, int], dict[str, float]]
METHODS = ("RCGAN", "TimeGAN", "Diffusion-TS", "best")
LABELS = {
    "discriminative_legacy": "discriminative",
    "predictive_legacy": "predictive",
    "context_fid": "Context-FID",
    "correlational": "correlational",
    "discriminative": "discriminative, strong judge",
    "predictive": "predictive, all features",
    "nn_share": "closer to training than held-out",
    "nn_ratio": "distance to training / held-out",
    "three_sample_p": "three-sample test, p",
}
PUBLISHED_LABELS = tuple(LABELS)[:4]
MINUTES, MILLISECONDS = 60.0, 200.0


def _figures() -> Published:
    sets = ("sines", "stocks", "etth1", "energy")
    rows: dict[tuple[str, str], tuple[float | None, ...]] = {
        ("discriminative_legacy", "RCGAN"): (0.022, 0.196, None, 0.336),
        ("discriminative_legacy", "TimeGAN"): (0.011, 0.102, 0.114, 0.236),
        ("discriminative_legacy", "Diffusion-TS"): (0.006, 0.067, 0.061, 0.122),
        ("discriminative_legacy", "best"): (0.004, 0.009, 0.005, 0.079),
        ("predictive_legacy", "TimeGAN"): (0.093, 0.038, 0.124, 0.273),
        ("predictive_legacy", "Diffusion-TS"): (0.093, 0.036, 0.119, 0.250),
        ("context_fid", "TimeGAN"): (0.101, 0.103, 0.300, 0.767),
        ("context_fid", "Diffusion-TS"): (0.006, 0.147, 0.116, 0.089),
        ("context_fid", "best"): (0.004, 0.005, 0.005, 0.010),
        ("correlational", "TimeGAN"): (0.045, 0.063, 0.210, 4.010),
        ("correlational", "Diffusion-TS"): (0.015, 0.004, 0.049, 0.856),
    }
    found: Published = {}
    for (score, method), values in rows.items():
        for name, value in zip(sets, values, strict=True):
            if value is not None:
                found.setdefault((score, name, 24), {})[method] = value
    longer: dict[tuple[str, str], tuple[float | None, ...]] = {
        ("discriminative_legacy", "etth1"): (0.106, 0.144, 0.060),
        ("discriminative_legacy", "energy"): (0.078, 0.143, 0.290),
        ("context_fid", "etth1"): (0.631, 0.787, 0.423),
        ("correlational", "etth1"): (0.082, 0.088, 0.064),
        ("predictive_legacy", "etth1"): (0.116, 0.110, None),
    }
    for (score, name), three in longer.items():
        for length, value in zip((64, 128, 256), three, strict=True):
            if value is not None:
                found[score, name, length] = {"Diffusion-TS": value}
    return found


PUBLISHED = _figures()
TO_REACH = {
    ("discriminative_legacy", "sines"): 0.006,
    ("discriminative_legacy", "stocks"): 0.012,
    ("discriminative_legacy", "etth1"): 0.010,
    ("discriminative_legacy", "energy"): 0.060,
    ("context_fid", "sines"): 0.006,
    ("context_fid", "stocks"): 0.030,
    ("context_fid", "etth1"): 0.030,
    ("context_fid", "energy"): 0.060,
}
"""At 24 steps; at more, a discriminative score below that of Diffusion-TS."""


def target(score: str, data: str, length: int) -> float | None:
    """What is to be reached, if anything."""
    if length == 24:
        return TO_REACH.get((score, data))
    if score != "discriminative_legacy":
        return None
    return PUBLISHED.get((score, data, length), {}).get("Diffusion-TS")


def show(parts: list[Part]) -> str:
    """Everything that the file holds, data set by data set."""
    groups: dict[tuple[Any, ...], list[Part]] = {}
    for part in parts:
        groups.setdefault((part["data"], part["length"]), []).append(part)
    return "\n\n".join(_one(data, length, found) for (data, length), found in groups.items())


def _one(data: str, length: int, parts: list[Part]) -> str:
    lines = [f"## {data}, {length} steps", *dict.fromkeys(part["machine"] for part in parts)]
    warnings = [w for w in dict.fromkeys(map(_warning, parts)) if w]
    # what is said of controls is the beginning of what is said of generators
    lines += [f"**{w}**" for w in warnings if not any(o != w and o.startswith(w) for o in warnings)]
    for title, windows, render in (
        ("Trained on all windows, judged as published", "all", _published),
        ("Trained on blocks of time, judged on other blocks", "blocks", _held_out),
        ("Trained on the past, judged on the future", "past", _held_out),
    ):
        mine = [part for part in parts if part["windows"] == windows]
        if mine:
            lines += [f"{title}:", render(data, length, mine), _costs(mine)]
    lines.append(_minutes(parts))
    return "\n\n".join(line for line in lines if line)


def _minutes(parts: list[Part]) -> str:
    """Both trainings of a seed and all judging, against the bar."""
    seeds = dict.fromkeys(p["who"] for p in parts if p["who"].startswith("seed"))
    minutes = [sum(_seconds(p) for p in parts if p["who"] == who) / 60 for who in seeds]
    if not minutes:
        return ""
    bar = reached(max(minutes) <= MINUTES)
    return f"In all {spread(minutes, 1)} minutes a seed (bar: at most {MINUTES:.0f}: {bar})"


def _seconds(part: Part) -> float:
    """What a part took, a training that was resumed counted from its beginning."""
    return max(float(part["seconds"]), float(part.get("train_seconds", 0)))


def _warning(part: Part) -> str:
    """What sets these numbers apart from the protocol; "" where nothing does."""
    s = part["settings"]
    words = {
        "judge_steps": "judges trained for {} steps only",
        "size": "at most {} windows judged",
        "rows": "the first {} rows only",
        "steps": "generators trained for {} steps instead of the preset's",
    }
    said = [text.format(s[key]) for key, text in words.items() if s.get(key)]
    said += [f"set {', '.join(s['set'])}"] if s.get("set") else []
    return f"NOT THE PROTOCOL: {'; '.join(said)}" if said else ""


def values(parts: list[Part], score: str, who: str) -> list[float]:
    """Means over repeats: one for each training seed, or one for a control ("floor", "copy")."""
    found = [
        p for p in parts if (p["who"].startswith("seed") if who == "seed" else p["who"] == who)
    ]
    return [mean(p["values"][score]) for p in found if p.get("values", {}).get(score)]


def spread(numbers: list[float], digits: int = 3) -> str:
    """Mean ± standard deviation, or a dash."""
    if len(numbers) < 2:
        return f"{numbers[0]:.{digits}f}" if numbers else "-"
    return f"{mean(numbers):.{digits}f} ± {stdev(numbers):.{digits}f}"


def _published(data: str, length: int, parts: list[Part]) -> str:
    header = ["score", "rgan", "seeds", "real (floor)", "copy", *METHODS, "to reach", "reached"]
    rows = []
    for score in PUBLISHED_LABELS:
        mine, asked = values(parts, score, "seed"), target(score, data, length)
        others = PUBLISHED.get((score, data, length), {})
        row = [LABELS[score], spread(mine), str(len(mine))]
        row += [spread(values(parts, score, who)) for who in ("floor", "copy")]
        row += [f"{others[m]:.3f}" if m in others else "-" for m in METHODS]
        row += ["" if asked is None else f"{asked:.3f}"]
        row += ["" if asked is None or not mine else reached(mean(mine) <= asked)]
        rows.append(row)
    return markdown(header, rows)


def _held_out(data: str, length: int, parts: list[Part]) -> str:
    rows = []
    for score in list(LABELS)[4:]:
        mine = values(parts, score, "seed")
        controls = [spread(values(parts, score, who)) for who in ("floor", "copy")]
        rows.append([LABELS[score], spread(mine), str(len(mine)), *controls])
    return markdown(["score", "rgan", "seeds", "real (floor)", "copy"], rows)


def _costs(parts: list[Part]) -> str:
    """Lines on training, parameters and sampling."""
    found = {part["part"]: [p for p in parts if p["part"] == part["part"]] for part in parts}
    words = []
    for part in found.get("training", []):
        least = "at least " if part["killed"] else ""  # what was killed could not say how long
        words.append(
            f"{part['who']}: {part['steps']:,} steps in {least}{part['train_seconds']:.0f} s, "
            f"{part['parameters']:,} parameters of the generator"
        )
    fastest = [
        sorted(p["milliseconds"])[len(p["milliseconds"]) // 2] for p in found.get("sampling", [])
    ]
    if fastest:
        bar = reached(max(fastest) < MILLISECONDS)
        words.append(
            f"2,000 windows on one core in {spread(fastest, 0)} ms (median of 5; bar "
            f"{MILLISECONDS:.0f}: {bar})"
        )
    return "\n".join(f"- {word}" for word in words)
