"""Who may talk to a learner: exposure of its port, tokens, and TLS on both sides."""

from __future__ import annotations

import hmac
import os
import socket
import ssl
import stat
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from e2hil_rllib.errors import UserError

SHORTEST_TOKEN = 16
"""Characters that a token has at least."""

PLAIN_TO_TLS = b"\x15\x03\x01\x00\x02\x02\x46"
"""What a server that wants TLS answers a client without: a fatal alert, protocol_version."""

_MAKE_TOKEN = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
_LONGEST_FILE = 4096  # a token's [bytes]


class SecurityError(UserError):
    """A port, token or certificate that is not safe to use; the message says what to do."""


def check_exposure(host: str, token: str | None) -> None:
    """Makes sure that nobody without a token can talk to a server, unless from this machine.

    Args:
        host: Where the server is to listen, e.g. "127.0.0.1" or "0.0.0.0".
        token: What clients have to know; None or "" for nothing.

    Raises:
        SecurityError: Other machines could reach the server, and there is no token or a short one.
    """
    if _is_loopback(host) or len(token or "") >= SHORTEST_TOKEN:
        return
    fault = f"a token of only {len(token)} characters" if token else "no token"
    raise SecurityError(
        f"The server is to listen at {host!r}, where other machines may reach it, and has {fault}; "
        f"expected at least {SHORTEST_TOKEN} characters. {_how_to_make('token.txt')} Then give the "
        "file to the server and to its robots, or listen at 127.0.0.1."
    )


def read_token(path: Path | str) -> str:
    """Reads a token, the only line of a file that nobody but its owner can read.

    Raises:
        SecurityError: The file is missing, open to others, or has something else in it.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_LONGEST_FILE + 1)
    except OSError as error:
        raise SecurityError(
            f"The token file {path} cannot be read: {error.strerror or error}. "
            f"{_how_to_make(str(path))}"
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SecurityError(
            f"Others than its owner may use the token file {path} (its mode is {mode & 0o777:o}). "
            f"Type `chmod 600 {path}`; where others could have read it, make a new token."
        )
    token = data.decode("utf-8", "replace").strip()
    fault = _fault_of(token)
    if fault:
        raise SecurityError(
            f"The token file {path} {fault}; expected one line of at least {SHORTEST_TOKEN} "
            f"characters without blanks. {_how_to_make(str(path))}"
        )
    return token


def tokens_agree(given: str, expected: str) -> bool:
    """Whether a token is the right one, in a time that says nothing about how nearly it is.

    Never raises: what is no str at all agrees with nothing.
    """
    if not isinstance(given, str) or not isinstance(expected, str):
        return False
    one, other = (token.encode("utf-8", "surrogatepass") for token in (given, expected))
    return hmac.compare_digest(sha256(one).digest(), sha256(other).digest())


def server_context(certificate: Path | str, key: Path | str) -> ssl.SSLContext:
    """How a server speaks TLS 1.2 or newer.

    Args:
        certificate: PEM file of the server's certificate, and of those between it and an authority.
        key: PEM file of its private key, without a passphrase.

    Raises:
        SecurityError: One of the files is missing or none, or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    how = _how_to_sign(certificate, key, socket.gethostname())
    _check_pem(certificate, "CERTIFICATE", how)
    _check_pem(key, "PRIVATE KEY", how)

    def no_passphrase() -> str:
        # Without this, OpenSSL asks at the terminal, and a server in the background hangs.
        raise SecurityError(
            f"The key {key} has a passphrase, which nobody could type. Take it off with "
            f"`openssl pkey -in {key} -out {key}.open`, and name {key}.open instead."
        )

    try:
        context.load_cert_chain(certificate, key, no_passphrase)
    except ssl.SSLError as error:
        fault = f"cannot be used: {error.reason or error}"
        if error.reason == "KEY_VALUES_MISMATCH":
            fault = "do not belong together"
        raise SecurityError(
            f"The certificate {certificate} and the key {key} {fault}. {how}"
        ) from error
    return context


def client_context(authority: Path | str) -> ssl.SSLContext:
    """How a client speaks TLS 1.2 or newer to a server that it can be sure of.

    Only what is in the file is trusted, not the authorities of the system; and the certificate has
    to be for the host that was connected to.

    Args:
        authority: PEM file of the server's own certificate, or of the authority that signed it.

    Raises:
        SecurityError: The file is missing, or is no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A certificate that somebody else signed may stand in the file as well, and is then enough.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    how = (
        "Copy the server's certificate to this machine (never its key). "
        f"{_how_to_sign('certificate.pem', 'key.pem', 'SERVER')}"
    )
    _check_pem(authority, "CERTIFICATE", how)
    try:
        context.load_verify_locations(authority)
    except ssl.SSLError as error:
        raise SecurityError(
            f"The certificate {authority} cannot be used: {error.reason or error}. {how}"
        ) from error
    return context


def connect(host: str, port: int, context: ssl.SSLContext | None, timeout: float) -> socket.socket:
    """Connects to a server, with TLS if there is a context for it.

    Args:
        host: Its name or address.
        port: Where it listens.
        context: See `client_context`; None for no encryption.
        timeout: For the connection and again for the handshake [s]; it stays the socket's.

    Raises:
        OSError: The server is not to be had; it is none that the context trusts; or one of both
            sides speaks TLS and the other does not. The text says which.
    """
    try:
        plain = socket.create_connection((host, port), timeout)
    except UnicodeError as error:
        raise ConnectionError(f"{host!r} is no name of a host: {error}") from error
    if context is None:
        return _PlainSocket(plain)
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except (ssl.SSLError, ConnectionError, TimeoutError) as error:
        raise ConnectionError(_handshake_fault(error, host, timeout)) from error


def tls_fault(error: ssl.SSLError) -> str:
    """What went wrong between two sides that try to speak TLS, in words."""
    reason = error.reason or ""
    if isinstance(error, ssl.SSLEOFError):
        return "the other side has hung up in the midst of TLS"
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return "the other side does not speak TLS"
    if reason in ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_SHARED_CIPHER"):
        return "the other side speaks no version of TLS that this one takes (1.2 or newer)"
    if "UNKNOWN_CA" in reason or "CERTIFICATE" in reason:
        return f"the other side does not trust the certificate ({reason})"
    return f"TLS failed: {reason or error}"


class _PlainSocket(socket.socket):
    """A connection without TLS that says so, in words, where the server wants TLS."""

    def __init__(self, connected: socket.socket) -> None:
        timeout = connected.gettimeout()
        super().__init__(connected.family, connected.type, connected.proto, connected.detach())
        self.settimeout(timeout)
        self._is_first = True

    def recv(self, *arguments: Any) -> bytes:
        """As of any socket.

        Raises:
            ConnectionError: The first that the server says is an alert of TLS.
        """
        data = super().recv(*arguments)
        if self._is_first and data.startswith(PLAIN_TO_TLS[:2]):
            raise ConnectionError(
                "the server wants TLS, and this side speaks none: name the server's certificate"
            )
        self._is_first = False
        return data


def _is_loopback(host: str) -> bool:
    return host.lower() == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _fault_of(token: str) -> str:
    """Why a token is none, "" if it is one."""
    if not token:
        return "is empty"
    if not token.isprintable() or any(character.isspace() for character in token):
        return "has more than one word in it"
    if "\N{REPLACEMENT CHARACTER}" in token or len(token) > _LONGEST_FILE // 4:
        return "holds no token"
    if len(token) < SHORTEST_TOKEN:
        return f"holds only {len(token)} characters"
    return ""


def _check_pem(path: Path | str, what: str, how: str) -> None:
    """OpenSSL names neither the file that is missing nor the one that is none; this does."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise SecurityError(f"{path} cannot be read: {error.strerror or error}. {how}") from error
    if not any(b"-----BEGIN" in line and what.encode() in line for line in text.splitlines()):
        raise SecurityError(f"{path} holds no {what} in PEM. {how}")


def _handshake_fault(error: OSError, host: str, timeout: float) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrust(error, host)
    if isinstance(error, TimeoutError):
        return f"the server did not answer the TLS handshake within {timeout:g} s"
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return tls_fault(error)
    return "the server hung up in the TLS handshake: it speaks no TLS, or is full"


def _distrust(error: ssl.SSLCertVerificationError, host: str) -> str:
    reason = error.verify_message
    if error.verify_code in (62, 64):  # X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
        return (
            f"the server's certificate is not for {host}: connect by a name that it is for, or "
            f"make one for this. {_how_to_sign('certificate.pem', 'key.pem', host)}"
        )
    if error.verify_code in (9, 10):  # X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED
        return (
            f"the server's certificate is not valid now ({reason}): look at this machine's clock, "
            "or make a new one"
        )
    return (
        f"the server's certificate is not the trusted one ({reason}): if it is the right server, "
        "copy the certificate that it uses to this machine"
    )


def _how_to_make(path: str) -> str:
    return f"Make one: `(umask 077; {_MAKE_TOKEN} > {path})`."


def _how_to_sign(certificate: Path | str, key: Path | str, host: str) -> str:
    kind = "IP" if _is_address(host) else "DNS"
    return (
        "To make a pair that signs itself: `openssl req -x509 -newkey rsa:3072 -nodes -days 825 "
        f"-keyout {key} -out {certificate} -subj /CN={host} "
        f"-addext subjectAltName={kind}:{host},DNS:localhost,IP:127.0.0.1`, with a DNS: or IP: for "
        "each name and address by which robots connect."
    )
