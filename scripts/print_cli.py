"""Print docs/cli.md: every command and option, from the command line itself.

    python scripts/print_cli.py > docs/cli.md

A test fails where the page and the commands differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from rgan.cli.main import app

HEAD = """\
# Commands

    rgan demo

Every command answers `--help`. Exit codes: 0 done, 1 failed or stopped, 2 bad input (nothing has
been written then). An error says what was found, the rule, the reason, and a line to paste.

A flag of `rgan train` is short for a setting: `--epochs 20` is `--set train.epochs=20`. Every
setting is in [settings.md](settings.md).

This page is printed by `scripts/print_cli.py`."""


def commands(command: Any, words: tuple[str, ...] = ("rgan",)) -> Iterator[tuple[str, Any]]:
    """Every command below this one by what is typed, the groups left out."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(words), command
        return
    for name, inner in below.items():
        yield from commands(inner, (*words, name))


def is_argument(parameter: Any) -> bool:
    """Whether it stands without a name."""
    return not parameter.opts[0].startswith("-")


def shown_default(parameter: Any) -> str:
    """What holds where the option is not given."""
    if getattr(parameter, "is_flag", False):
        return "off"
    if parameter.required:
        return "required"
    if parameter.default in (None, "", [], ()):
        return ""
    return f"`{json.dumps(parameter.default)}`".replace('"', "")


def command_lines(typed: str, command: Any) -> list[str]:
    """A heading, how it is typed, its help, and a table of its options."""
    arguments = [p for p in command.params if is_argument(p)]
    options = [p for p in command.params if not is_argument(p)]
    usage = " ".join([typed, *(p.name.upper() for p in arguments), "[OPTIONS]"])
    lines = ["", f"## {typed}", "", f"    {usage}", "", (command.help or "").strip()]
    lines += ["", "| | default | what it does |", "|---|---|---|"]
    for parameter in [*arguments, *options]:
        name = parameter.name.upper()
        if not is_argument(parameter):
            flag = getattr(parameter, "is_flag", False)
            name = ", ".join([*parameter.opts, *parameter.secondary_opts]) + ("" if flag else " …")
        what = (parameter.help or "").replace("|", "\\|")
        lines.append(f"| `{name}` | {shown_default(parameter)} | {what} |")
    return lines


def render() -> str:
    """The whole page."""
    top = get_command(app)
    lines = [HEAD]
    lines += ["", f"`rgan {top.params[0].opts[0]}`: {top.params[0].help}"]
    for typed, command in commands(top):
        lines += command_lines(typed, command)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(render(), end="")
