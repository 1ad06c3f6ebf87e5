"""Writing the part of TOML that a configuration needs; the standard library reads it.

A configuration is sections of scalars and lists: ``{"train": {"epochs": 10, "betas": [0, 0.99]}}``.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from rgan.errors import ConfigError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def dumps(config: Mapping[str, Any], *, header: str = "") -> str:
    """A configuration as TOML text, which ``loads`` reads back equal (tuples as lists).

    Args:
        config: values and sections by name; a section holds scalars, lists and small mappings.
        header: lines of comment for the top of the file.

    Raises:
        ConfigError: a value has no TOML form (None, an object, half a surrogate pair).

    >>> print(dumps({"train": {"epochs": 10, "device": "cpu"}}), end="")
    [train]
    epochs = 10
    device = "cpu"
    """
    blocks = ["\n".join(f"# {line}".rstrip() for line in header.splitlines())] if header else []
    plain = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    if plain:
        blocks.append(_lines(plain, ""))
    for name, section in config.items():
        if isinstance(section, Mapping):
            lines = _lines(section, f"{name}.")
            blocks.append(f"[{_key(name)}]" + (f"\n{lines}" if lines else ""))
    return "\n\n".join(blocks) + "\n"


def loads(text: str, *, source: str = "the configuration") -> dict[str, Any]:
    """The sections that TOML text holds.

    Args:
        text: the TOML.
        source: what to call it in an error, such as its path.

    Raises:
        ConfigError: it is not TOML; says at which line and column.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{source} is not TOML: {error}",
            rule='a section is [name], a setting is name = value, text stands in "quotes"',
        ) from error
    except (RecursionError, ValueError) as error:  # a number of thousands of digits
        raise ConfigError(f"{source} cannot be read: {error}") from error


def _lines(section: Mapping[str, Any], where: str) -> str:
    return "\n".join(
        f"{_key(name)} = {_value(value, f'{where}{name}')}" for name, value in section.items()
    )


def _key(name: str) -> str:
    if not isinstance(name, str):
        raise ConfigError(f"the name {name!r} is not text", rule="sections and settings have names")
    return name if _BARE_KEY.fullmatch(name) else _string(name, name)


def _value(value: Any, where: str) -> str:
    if isinstance(value, bool):  # before int, which a bool also is
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value, where)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        if math.isnan(value):
            return "nan"
        return float.__repr__(value)  # the shortest text that reads back to the same bits
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item, where) for item in value) + "]"
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {_value(item, f'{where}.{key}')}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    raise ConfigError(
        f'"{where}" is {value!r} ({type(value).__name__}), which TOML cannot hold',
        rule="a setting is text, a number, true or false, or a list of those",
    )


def _string(text: str, where: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError(
            f'"{where!a}" holds text that is not Unicode: {text!a}',
            rule="text can be written as UTF-8",
        ) from error
    return '"' + "".join(_escape(letter) for letter in text) + '"'


def _escape(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if ord(letter) < 0x20 or ord(letter) == 0x7F:
        return f"\\u{ord(letter):04x}"
    return letter
