"""What goes wrong between two machines, as errors that a user can act on.

The libraries behind fsspec raise errors of their own; they are known here by name, so that none of
them is imported where it is not used.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Iterator

from rgan.errors import RganError, RunError

_LOST = {
    "SSHException",
    "NoValidConnectionsError",
    "ProxyCommandFailure",
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ConnectionClosedError",
    "ConnectionError",
    "HTTPClientError",
    "IncompleteReadError",
    "ResponseStreamingError",
    "ClientPayloadError",
    "ClientConnectionError",
    "FSTimeoutError",
    "TimeoutError",
    "EOFError",
    "gaierror",
}
_STRANGER = {"AuthenticationException", "PasswordRequiredException"}
_NO_KEYS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}
_LOST_NUMBERS = {
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EPIPE,
    errno.ETIMEDOUT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENETDOWN,
}


class ConnectionLost(RunError):
    """The other machine cannot be reached now; trying again later may help."""


class Damaged(RunError):
    """What was read is not what was written."""


@contextlib.contextmanager
def explained(shown: str, secrets: Iterable[str] = ()) -> Iterator[None]:
    """Turns the errors of a place into those of this package.

    ``FileNotFoundError`` passes: while a run is training, files may go at any moment.

    Args:
        shown: how the place is called, without any secret.
        secrets: words that no message may hold.

    Raises:
        ConnectionLost: the other machine does not answer, or the line was cut.
        RunError: it answers with a refusal.
    """
    try:
        yield
    except (RganError, FileNotFoundError):
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(str(error)) from error
    except Exception as error:
        raise translated(error, shown, secrets) from error


@contextlib.contextmanager
def writing(shown: str, secrets: Iterable[str] = ()) -> Iterator[None]:
    """As ``explained``; and what is written into has to be there.

    Raises:
        RunError: the folder or the bucket has gone, or never was.
    """
    with explained(shown, secrets):
        try:
            yield
        except FileNotFoundError as error:
            raise RunError(
                f'"{shown}" cannot be written: {scrubbed(str(error), secrets)}',
                rule="the bucket, or the folder, is there",
                repair="make it first, or look at the address again",
            ) from error


def translated(error: Exception, shown: str, secrets: Iterable[str] = ()) -> RunError:
    """The error of this package that says what ``error`` says."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = scrubbed(str(error) or type(error).__name__, secrets)
    if isinstance(error, PermissionError) and error.errno in (errno.EACCES, errno.EPERM):
        return _forbidden(shown, text)
    if kinds & _STRANGER:
        return refused_key(shown, text)
    if kinds & _NO_KEYS:
        return RunError(
            f'there are no keys for "{shown}": {text}',
            rule="an object store is opened with an access key and a secret key",
            repair="export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...",
        )
    if "BadHostKeyException" in kinds or "not found in known_hosts" in text:
        return unknown_host(shown, text)
    if isinstance(error, PermissionError):
        return _forbidden(shown, text)
    number = getattr(error, "errno", None)
    if kinds & _LOST or number in _LOST_NUMBERS or "Socket is closed" in text:
        return lost(shown, text)
    return RunError(
        f'"{shown}" cannot be used: {text}',
        rule="runs are copied from and to a folder that can be listed, read and written",
        repair="look whether the place has room and may be written, then run the command again",
    )


def lost(shown: str, text: str) -> ConnectionLost:
    """The other machine does not answer."""
    return ConnectionLost(
        f'"{shown}" cannot be reached: {text}',
        rule="the other machine answers",
        reason="what has arrived so far is kept, and the same command goes on from there",
        repair="check the name, the port and the network, then run the same command again",
    )


def refused_key(shown: str, text: str) -> RunError:
    """The other machine does not know this user."""
    return RunError(
        f'"{shown}" does not let this user in: {text}',
        rule="SSH is opened with a key that the other machine knows",
        repair="--option key_filename=~/.ssh/id_ed25519, or add the key there with ssh-copy-id",
    )


def unknown_host(shown: str, text: str) -> RunError:
    """The other machine's key is not the one that is known, or none is."""
    return RunError(
        f'the key of the machine behind "{shown}" is not known: {text}',
        rule="the machine's key stands in ~/.ssh/known_hosts",
        reason="else another machine could pass for it and take what is sent",
        repair="log in there once with ssh and confirm its key, then run the command again",
    )


def _forbidden(shown: str, text: str) -> RunError:
    return RunError(
        f'"{shown}" refuses: {text}',
        rule="the files may be read at the source and written at the destination",
        repair="check the rights of the folder, or the keys and rights of the bucket",
    )


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, on one line."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return " ".join(text.split())[:400]
