"""Print docs/settings.md: every section and key of the configuration, from the code itself.

    python scripts/print_settings.py > docs/settings.md

What a key means is the text below its field in the section's class; a test fails where the page and
the code differ.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import textwrap
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rgan.config import PRESETS, Config

HEAD = """\
# Settings

    rgan train icu --set generator.hidden=96 --set train.steps=3000

Every setting has a section and a key. Give one with `--set section.key=value`, many in a TOML file
with `--config my.toml`, or in Python with `RGAN(settings={"generator.hidden": 96})`. The order is:
preset, then file, then flags, then `--set`; the later one wins. An unknown key is an error that
names the nearest one. The whole configuration of a run lies in its `config.toml`, which is itself a
file for `--config`.

The column *paper* says what the preset `paper` (Esteban, Hyland & Rätsch 2017) sets otherwise.

This page is printed by `scripts/print_settings.py`."""

TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false"}
LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def field_texts(section: type[Any]) -> dict[str, str]:
    """Key to the text below its field."""
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(found, ast.ClassDef)
    texts = {}
    for field, after in zip(found.body, found.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            value = after.value if isinstance(after, ast.Expr) else None
            text = value.value if isinstance(value, ast.Constant) else ""
            texts[field.target.id] = " ".join(str(text).split())
    return texts


def allowed(kind: Any, limits: list[Any]) -> str:
    """What may stand there, in words."""
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) is tuple:
        return "list of text"
    bounds = [
        f"{word} {getattr(limit, name):g}"
        for limit in limits
        for name, word in LIMITS.items()
        if getattr(limit, name, None) is not None
    ]
    return ", ".join([TYPES[kind], *bounds])


def toml(value: Any) -> str:
    """A value as it stands in a TOML file."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def section_lines(name: str, section: type[Any]) -> list[str]:
    """A heading, the section's own sentence, and a table of its keys."""
    about = (inspect.getdoc(section) or "").split("\n\n")[0].replace("\n", " ")
    about = re.sub(r"^Sections? ``.*``[.:] ?", "", about).replace(
        "``", "`"
    )  # the heading says which
    lines = [f"## [{name}]", "", *([about[0].upper() + about[1:], ""] if about else [])]
    lines += ["| key | default | paper | values | meaning |", "|---|---|---|---|---|"]
    texts, kinds = field_texts(section), get_type_hints(section)
    paper = PRESETS["paper"]
    for field in dataclasses.fields(section):
        limits = section.__pydantic_fields__[field.name].metadata
        path = f"{name}.{field.name}"
        cells = [
            f"`{field.name}`",
            f"`{toml(getattr(section(), field.name))}`",
            f"`{toml(paper[path])}`" if path in paper else "",
            allowed(kinds[field.name], limits),
            texts[field.name].replace("``", "`").replace("|", "\\|"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def render() -> str:
    """The whole page."""
    lines = [HEAD]
    for field in dataclasses.fields(Config):
        lines += ["", *section_lines(field.name, field.default_factory)]  # type: ignore[arg-type]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(render(), end="")
