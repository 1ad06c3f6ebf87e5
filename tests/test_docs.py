"""The documentation says what the code does: printed pages are current, lines to paste work."""

from __future__ import annotations

import inspect
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rgan
from rgan.config import Config, changed

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
EVERYWHERE = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "README.md", ROOT / "benchmarks/README.md"]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in EVERYWHERE}
DOCS = [page.relative_to(ROOT).as_posix() for page in PAGES]
CLI = runpy.run_path(str(ROOT / "scripts/print_cli.py"))
COMMANDS: dict[str, Any] = dict(CLI["commands"](CLI["get_command"](CLI["app"])))


@pytest.mark.parametrize(("script", "page"), [("print_settings", "settings"), ("print_cli", "cli")])
def test_a_printed_page_is_current(script: str, page: str) -> None:
    text = runpy.run_path(str(ROOT / f"scripts/{script}.py"))["render"]()
    assert text == TEXTS[f"docs/{page}.md"], f"python scripts/{script}.py > docs/{page}.md"


def test_every_command_and_option_is_in_the_page_of_commands() -> None:
    page = TEXTS["docs/cli.md"]
    assert "rgan data show" in COMMANDS and "rgan train" in COMMANDS
    for typed, command in COMMANDS.items():
        part = re.split(r"^## ", page, flags=re.M)
        (own,) = [text for text in part if text.startswith(f"{typed}\n")]
        for option in (name for parameter in command.params for name in parameter.opts):
            if option.startswith("-"):
                assert re.search(rf"{re.escape(option)}\b", own), f"{typed} {option}"


def test_every_setting_has_a_meaning() -> None:
    page = TEXTS["docs/settings.md"]
    for section, keys in Config().to_sections().items():
        own = page.split(f"## [{section}]")[1].split("\n## ")[0]
        for key in keys:
            (line,) = [row for row in own.splitlines() if row.startswith(f"| `{key}` |")]
            assert len(line.split(" | ")[-1]) > 5, f"{section}.{key} has no text"


def test_every_public_name_has_a_heading_and_its_parameters() -> None:
    page = TEXTS["docs/python.md"].replace("\\_", "_")
    for name in rgan.__all__:
        assert f"\n## {name}\n" in page, name
    for method in ("__init__", "fit", "sample", "save"):
        for parameter in inspect.signature(getattr(rgan.RGAN, method)).parameters:
            if parameter != "self":
                assert re.search(rf"\b{parameter}\b", page), f"{method}({parameter})"
    for field in rgan.Sequences.__dataclass_fields__:
        assert f"`{field}`" in page, field


@pytest.mark.parametrize("page", DOCS)
def test_a_page_begins_with_a_line_to_paste(page: str) -> None:
    title, blank, first = TEXTS[page].splitlines()[:3]
    assert title.startswith("# ") and blank == ""
    assert first.startswith(("    ", "```")), first


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXTS[page]):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        file = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), flags=re.M)
            slugs = {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in headings}
            assert anchor in slugs, f"{page}: {target}"


def typed_lines() -> Iterator[tuple[str, str]]:
    """(page, line) of every line to paste that calls rgan."""
    for page, text in TEXTS.items():
        for line in re.findall(r"^ {4,}(rgan [^\n]+)$|^(rgan [^\n]+)$", text, flags=re.M):
            yield page, (line[0] or line[1])


@pytest.mark.parametrize(("page", "line"), list(typed_lines()))
def test_lines_to_paste_name_commands_options_and_settings_that_exist(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    two = " ".join(words[:3]), " ".join(words[:2])
    if line.endswith("[OPTIONS]"):
        return
    typed = next((name for name in two if name in COMMANDS), None)
    assert typed, f"{page}: {line}"
    known = {name for parameter in COMMANDS[typed].params for name in parameter.opts}
    options = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    assert set(options) <= known, f"{page}: {line}"
    for path in [words[i + 1] for i, word in enumerate(words) if word == "--set"]:
        key, _, value = path.partition("=")
        changed(Config(), {key: value})


def test_settings_named_in_the_text_exist() -> None:
    sections = Config().to_sections()
    named = r"`(?:--set )?(" + "|".join(sections) + r")\.([a-z_0-9]+)(?:=[^`]*)?`"
    found = [(page, *m) for page, text in TEXTS.items() for m in re.findall(named, text)]
    assert len(found) > 10
    for page, section, key in found:
        if key not in ("py", "safetensors"):  # files
            assert key in sections[section], f"{page}: {section}.{key}"


def test_the_examples_in_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", TEXTS["docs/python.md"], flags=re.M | re.S)
    assert len(blocks) >= 5
    quick = {r"steps=\d+": "steps=2", r'"train.steps": \d+': '"train.steps": 2'}
    code = "\n".join(blocks)
    for long, short in quick.items():
        code, count = re.subn(long, short, code)
        assert count, long
    code = code.replace('("mmd", "tstr")', '("marginals",)')
    exec(compile(code, "docs/python.md", "exec"), {})
    assert (tmp_path / "my-run" / "run.json").is_file()
