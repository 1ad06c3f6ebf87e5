"""SOURCE and DEST as a user types them, and opening what they name.

runs, ~/runs, file:///data/runs          a folder of this machine
user@host:path, ssh://user@host/path     over ssh, with its own settings and keys
sftp://user@host:port/path               over SFTP by fsspec
s3://bucket/prefix, any other scheme     whatever fsspec reaches
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rgan.errors import InputError
from rgan.runs.moving.ends import End, LocalEnd
from rgan.runs.moving.faults import explained

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCP = re.compile(r"(?:([^@/:\s]+)@)?([^@/:\s]+):(?!//)(.*)", re.DOTALL)
_SECRETS = ("password", "passphrase", "secret", "token", "key")
_NO_SECRETS = ("key_filename", "look_for_keys", "known_hosts", "host_key_policy")


@dataclass(frozen=True)
class Place:
    """A folder somewhere.

    Args:
        kind: "local", "ssh" or "url".
        path: the folder, or for "url" the whole address.
        shown: what messages call it; never with a password.
        host, user, port: for "ssh".
        options: for the filesystem.
    """

    kind: str
    path: str
    shown: str
    host: str = ""
    user: str = ""
    port: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The last part of the path."""
        path = str(Path(self.path).absolute()) if self.kind == "local" else self.path
        return path.rstrip("/").rpartition("/")[2]

    @property
    def secrets(self) -> tuple[str, ...]:
        """Words that no message may hold."""
        found = []
        if self.kind == "url":
            password = urlsplit(self.path).password or ""
            found += [password, unquote(password)]
        return tuple(found) + _secrets_in(self.options)


def _secrets_in(options: Mapping[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    for key, value in options.items():
        if isinstance(value, Mapping):
            found += _secrets_in(value)
        elif key not in _NO_SECRETS and any(word in key.lower() for word in _SECRETS):
            found.append(str(value))
    return tuple(found)


def parse_place(text: str, options: Mapping[str, Any] | None = None) -> Place:
    """What SOURCE or DEST means.

    Args:
        text: a path or an address, as in this module's docstring.
        options: for the filesystem, such as ``{"key_filename": "..."}``.

    Raises:
        InputError: it is empty, or names a machine in a way that ssh would take for an option.
    """
    options = dict(options or {})
    if not text.strip():
        raise InputError("a place is empty", rule="SOURCE and DEST are a path or an address")
    scheme = _SCHEME.match(text)
    if scheme is None:
        remote = _SCP.fullmatch(text)
        if remote is None or Path(text).expanduser().exists() or len(remote[2]) == 1:
            return _local(text, options)
        return _ssh(text, remote[1] or "", remote[2], None, remote[3], options)
    name = scheme[1].lower()
    if name in ("file", "local"):
        return _local(text[scheme.end() :], options)
    try:
        address = urlsplit(text)
        port = address.port
    except ValueError as error:
        raise InputError(f"an address cannot be read: {error}", rule=_FORMS) from error
    if name == "ssh":
        if address.password:
            raise InputError(
                f'"{shown_address(text)}" holds a password',
                rule="ssh:// uses the keys of ssh",
                repair="use sftp://, or ssh-copy-id and leave the password out",
            )
        return _ssh(
            text, address.username or "", address.hostname or "", port, address.path, options
        )
    return Place("url", text, shown_address(text), options=options)


_FORMS = "a place is PATH, user@host:PATH, sftp://user@host:port/PATH, or s3://bucket/PATH"


def _local(path: str, options: Mapping[str, Any]) -> Place:
    folder = str(Path(path).expanduser())
    return Place("local", folder, folder, options=options)


def _ssh(
    text: str, user: str, host: str, port: int | None, path: str, options: Mapping[str, Any]
) -> Place:
    if not host or host.startswith("-") or user.startswith("-"):
        raise InputError(f'"{text}" names no machine', rule=_FORMS)
    if text.lower().startswith("ssh://"):
        path = unquote(path)
        path = path[3:] if path.startswith("/~/") else path
    path = (path[2:] if path.startswith("~/") else path) or "."
    if path == "~" or path.startswith("~"):
        path = "." if path == "~" else f"./{path}"
    return Place("ssh", path, text, host, user, port, options)


def shown_address(text: str) -> str:
    """An address without its password and without what follows a question mark.

    >>> shown_address("sftp://ann:secret@host/runs")
    'sftp://ann:***@host/runs'
    """
    text = re.sub(r"(//[^/:@]*):.*@", r"\1:***@", text, count=1)
    return text.partition("?")[0]


def parse_options(pairs: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """``--option`` as settings of the two filesystems, (source's, dest's).

    Args:
        pairs: "key=value" for both ends, "source.key=value" or "dest.key=value" for one. A value
            is JSON, or else text.

    Raises:
        InputError: one has no "=".
    """
    found: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for pair in pairs:
        key, equals, text = pair.partition("=")
        side, dot, rest = key.partition(".")
        if not equals or not key or (dot and (side not in ("source", "dest") or not rest)):
            raise InputError(
                f'--option "{key}" cannot be read',
                rule="an option is key=value, source.key=value or dest.key=value",
                repair="--option key_filename=~/.ssh/id_ed25519",
            )
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        for number, name in enumerate(("source", "dest")):
            if not dot or side == name:
                found[number][rest if dot else key] = value
    return found


def open_end(place: Place) -> End:
    """The folder that a place names, ready to list, read and write.

    Raises:
        ConnectionLost: the machine does not answer.
        InputError: it does not let us in, or what reaches it is not installed.
    """
    if place.kind == "local":
        return LocalEnd(place.path, place.shown)
    with explained(place.shown, place.secrets):
        try:
            from rgan.runs.moving.ssh import open_ssh
            from rgan.runs.moving.store import open_remote

            return open_ssh(place) if place.kind == "ssh" else open_remote(place)
        except ImportError as error:
            raise InputError(
                f'"{place.shown}" needs a package that is not installed: {error.name or error}',
                rule="copying to and from other machines uses fsspec and its backends",
                repair="pip install 'rgan[sync]'",
            ) from error
