"""SSH, twice: by the ``ssh`` program with all that the user has set up for it, or by paramiko.

``user@host:path`` runs ``ssh``, so jump hosts, agents, names from ~/.ssh/config and second factors
work; one connection serves SFTP, checksums and rsync. ``sftp://`` is fsspec's own, but for this: it
takes no machine whose key is not known, where fsspec takes any.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsspec.implementations.sftp import SFTPFileSystem  # type: ignore[import-untyped, unused-ignore]

from rgan.errors import InputError
from rgan.runs.moving import faults
from rgan.runs.moving.ends import End
from rgan.runs.moving.places import Place
from rgan.runs.moving.sftp import SftpEnd

_DIGEST = re.compile(r"[0-9a-f]{64}(?=\s)")
_SILENT = 60.0  # seconds without an answer after which the line counts as cut

# what paramiko logs, the errors say; without a handler Python would print it
logging.getLogger("paramiko").addHandler(logging.NullHandler())


# -- paramiko ----------------------------------------------------------------------------------


class KnownHostsSftp(SFTPFileSystem):  # type: ignore[misc, unused-ignore]
    """fsspec's SFTP that refuses machines whose key is not in known_hosts."""

    def _connect(self) -> None:
        import paramiko  # type: ignore[import-untyped, unused-ignore]

        options = dict(self.ssh_kwargs)
        known = options.pop("known_hosts", None)
        if "key_filename" in options:
            options["key_filename"] = str(Path(options["key_filename"]).expanduser())
        waits = {"timeout": 15, "banner_timeout": 15, "auth_timeout": 30}
        self.client = paramiko.SSHClient()
        self.client.load_system_host_keys(None if known is None else str(Path(known).expanduser()))
        self.client.set_missing_host_key_policy(self.host_key_policy)
        try:
            self.client.connect(self.host, **{**waits, **options})
            transport = self.client.get_transport()
            transport.set_keepalive(15)
            with contextlib.suppress(OSError, AttributeError):  # small questions go out at once
                transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.ftp = self.client.open_sftp()
        except BaseException:
            self.client.close()
            raise
        self.ftp.get_channel().settimeout(_SILENT)


def open_sftp(place: Place) -> End:
    """The end of an ``sftp://`` address.

    Raises:
        InputError: an option is not one of paramiko's.
    """
    options = {**KnownHostsSftp._get_kwargs_from_urls(place.path), **place.options}
    options.setdefault("host_key_policy", "reject")
    try:
        fs = KnownHostsSftp(skip_instance_cache=True, **options)
    except (TypeError, ValueError) as error:
        raise InputError(
            f'"{place.shown}" cannot be opened: {error}',
            rule="options are those of paramiko's connect, and known_hosts, host_key_policy",
        ) from error
    except FileNotFoundError as error:
        raise InputError(
            f'"{error.filename}" is not there', rule="key_filename and known_hosts name files"
        ) from error

    def shell() -> tuple[Any, Any]:
        stdin, stdout, _ = fs.client.exec_command("sh", timeout=_SILENT)
        return stdin, stdout

    root = KnownHostsSftp._strip_protocol(place.path) or "/"
    return SftpEnd(fs, root, place.shown, place.secrets, Shell(shell), fs.client.close)


class Shell:
    """A shell on the other machine that is asked for checksums, one question after another.

    Args:
        start: gives the shell's input and output.
    """

    def __init__(self, start: Callable[[], tuple[Any, Any]]) -> None:
        self._start = start
        self._streams: tuple[Any, Any] | None = None
        self._works = True

    def sha256(self, path: str) -> str | None:
        """The SHA-256 of a file, None where only SFTP is allowed or there is no such program."""
        if not self._works:
            return None
        try:
            self._streams = self._streams or self._start()
            stdin, stdout = self._streams
            stdin.write(f"sha256sum -- {shlex.quote(path)} 2>/dev/null || echo none\n".encode())
            stdin.flush()
            answer = stdout.readline()
        except Exception:  # whatever it was, reading the file tells more
            answer = b""
        text = answer.decode("ascii", "replace") if isinstance(answer, bytes) else str(answer)
        found = _DIGEST.match(text.lstrip("\\"))
        self._works = found is not None or text == "none\n"
        return found[0] if found is not None else None


# -- the ssh program ---------------------------------------------------------------------------


class SshEnd(SftpEnd):
    """A folder reached by the ``ssh`` program.

    Args:
        ssh: the program and its options, without the machine.
        host: ``user@host``.
    """

    def __init__(
        self, fs: Any, place: Place, ssh: list[str], host: str, close: Callable[[], None]
    ) -> None:
        super().__init__(fs, place.path, place.shown, place.secrets, Shell(self._shell), self._end)
        self.ssh, self.host, self._close_pipe = ssh, host, close
        self._shells: list[subprocess.Popen[bytes]] = []
        self._rsync: bool | None = None

    def _shell(self) -> tuple[Any, Any]:
        pipe = subprocess.PIPE
        command = [*self.ssh, "--", self.host, "sh"]
        shell = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        self._shells.append(shell)
        return shell.stdin, shell.stdout

    def _end(self) -> None:
        for shell in self._shells:
            shell.terminate()
            with contextlib.suppress(OSError):  # what was not sent is of no use now
                shell.communicate()
        self._close_pipe()

    @property
    def has_rsync(self) -> bool:
        """Whether both machines have rsync."""
        if self._rsync is None:
            self._rsync = shutil.which("rsync") is not None and self._has_rsync_there()
        return self._rsync

    def _has_rsync_there(self) -> bool:
        command = [*self.ssh, "--", self.host, "rsync --version"]
        quiet = subprocess.DEVNULL
        try:
            done = subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0


def open_ssh(place: Place) -> End:
    """The end of ``user@host:path``.

    Raises:
        ConnectionLost: the machine does not answer.
        RunError: it does not let us in, or its key is not known.
        InputError: there is no ssh program.
    """
    if shutil.which("ssh") is None:
        raise InputError(
            f'"{place.shown}" needs the program ssh',
            rule="user@host:path is reached by ssh",
            repair=f"sftp://{place.host}/{place.path}",
        )
    folder = tempfile.mkdtemp(prefix="rgan-")
    host = f"{place.user}@{place.host}" if place.user else place.host
    ssh = [*_options(place, host), *_shared(place, host, folder)]
    pipe = _Pipe([*ssh, "-s", "--", host, "sftp"], Path(folder))

    def close() -> None:
        pipe.close()
        shutil.rmtree(folder, ignore_errors=True)

    try:
        fs = _PipedSftp(place.host, skip_instance_cache=True, pipe=pipe)
    except BaseException as error:
        said = pipe.said()
        close()
        if isinstance(error, Exception):
            raise _explained(place, said or str(error)) from error
        raise
    return SshEnd(fs, place, ssh, host, close)


def _options(place: Place, host: str) -> list[str]:
    found = ["ssh", "-T", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15"]
    if not sys.stdin.isatty():
        found += ["-o", "BatchMode=yes"]  # nobody is there to be asked
    options = dict(place.options)
    port = options.pop("port", place.port)
    named = {"key_filename": "-i", "ssh_config": "-F"}
    if port is not None:
        found += ["-p", str(int(port))]
    for key, value in options.items():
        if key in named:
            found += [named[key], str(Path(str(value)).expanduser())]
        elif key == "known_hosts":
            found += ["-o", f"UserKnownHostsFile={Path(str(value)).expanduser()}"]
        else:
            raise InputError(
                f'"{key}" is not an option of {host}:...',
                rule="the options are key_filename, port, ssh_config and known_hosts",
                repair="put other settings into ~/.ssh/config",
            )
    return found


def _shared(place: Place, host: str, folder: str) -> list[str]:
    """Lets checksums and rsync use the first connection, unless the user's settings do already."""
    command = [*_options(place, host), "-G", "--", host]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    settings = dict(line.partition(" ")[::2] for line in told.splitlines())
    if settings.get("controlpath", "none") != "none":
        return []
    return ["-o", "ControlMaster=auto", "-o", f"ControlPath={folder}/%C", "-o", "ControlPersist=no"]


def _explained(place: Place, said: str) -> Exception:
    if "Host key verification failed" in said or "IDENTIFICATION HAS CHANGED" in said:
        return faults.unknown_host(place.shown, "host key verification failed")
    if "Permission denied" in said or "Too many authentication" in said:
        return faults.refused_key(place.shown, said.splitlines()[-1])
    return faults.lost(place.shown, faults.scrubbed(said, place.secrets))


class _PipedSftp(SFTPFileSystem):  # type: ignore[misc, unused-ignore]
    """fsspec's SFTP over a running ``ssh -s HOST sftp``."""

    def _connect(self) -> None:
        import paramiko

        self.ftp = paramiko.SFTPClient(self.ssh_kwargs["pipe"])


class _Pipe:
    """What paramiko's SFTP client asks of a channel, over a program's input and output."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._errors = folder / "ssh.err"
        with self._errors.open("wb") as errors:
            # a session of its own, so that Ctrl-C reaches us and not the line in mid-word
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                start_new_session=not sys.stdin.isatty(),
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def send(self, data: bytes) -> int:
        return os.write(self._in.fileno(), data)

    def recv(self, size: int) -> bytes:
        if not select.select([self._out], [], [], _SILENT)[0]:
            raise TimeoutError(f"no answer for {_SILENT:.0f} seconds")
        return os.read(self._out.fileno(), size)

    def recv_ready(self) -> bool:
        return bool(select.select([self._out], [], [], 0)[0])

    def get_name(self) -> str:
        return "ssh"

    def said(self) -> str:
        """What ssh printed, once it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        with contextlib.suppress(OSError):
            return self._errors.read_text(errors="replace").strip()
        return ""

    def close(self) -> None:
        for stream in (self._in, self._out):
            with contextlib.suppress(OSError):
                stream.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
