"""Ports, tokens and certificates are safe to use, or it is said what to do about it."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from e2hil_rllib.external.protocol import secure
from e2hil_rllib.external.protocol.secure import (
    SecurityError,
    check_exposure,
    client_context,
    connect,
    read_token,
    server_context,
    tokens_agree,
)
from tests.external.certificates import Pair, make_pair

LOOPBACK = "127.0.0.1"
TOKEN = "correct-horse-battery"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost", "LocalHost"])
def test_this_machine_needs_no_token(host: str) -> None:
    check_exposure(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.7", "learner.local", "127.0.0.1.x"])
def test_other_machines_need_a_long_one(host: str) -> None:
    for token in (None, "", "x" * 15):
        with pytest.raises(SecurityError, match=r"16 characters.*secrets\.token_urlsafe\(32\)"):
            check_exposure(host, token)
    check_exposure(host, "x" * 16)


def token_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "token.txt"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [TOKEN, f"{TOKEN}\n", f"  {TOKEN} \r\n\n"])
def test_a_token_is_read(content: str, tmp_path: Path) -> None:
    assert read_token(token_file(tmp_path, content.encode())) == TOKEN


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"x" * 15, "only 15 characters"),
        (b"correct horse battery staple", "more than one word"),
        (f"{TOKEN}\n{TOKEN}\n".encode(), "more than one word"),
        (b"correct-horse\x00-battery", "more than one word"),
        (b"\xff\xfe" * 20, "holds no token"),
        (b"x" * 1_000_000, "holds no token"),
    ],
)
def test_what_is_no_token_is_refused(content: bytes, fault: str, tmp_path: Path) -> None:
    path = token_file(tmp_path, content)
    with pytest.raises(SecurityError, match=f"{re.escape(str(path))}.*{fault}.*Make one"):
        read_token(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_token_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    path = token_file(tmp_path, TOKEN.encode(), mode)
    with pytest.raises(SecurityError, match=f"chmod 600 {re.escape(str(path))}"):
        read_token(path)


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(SecurityError, match=f"{re.escape(str(path))} cannot be read"):
            read_token(path)


def test_the_command_that_an_error_names_makes_a_token(tmp_path: Path) -> None:
    with pytest.raises(SecurityError) as caught:
        read_token(tmp_path / "token")
    (command,) = re.findall("`(.*?)`", str(caught.value))
    subprocess.run(["sh", "-c", command.replace("python", "python3")], check=True, timeout=30)
    assert len(read_token(tmp_path / "token")) >= 32


def test_tokens_agree_only_with_themselves() -> None:
    assert tokens_agree("sesam öffne dich", "sesam öffne dich")
    for odd in ("", "Sesam", "sesam ", "\ud800", "x" * 1_000_000, None, b"sesam", 5, ["sesam"]):
        assert not tokens_agree(odd, "sesam")  # type: ignore[arg-type]
        assert not tokens_agree("sesam", odd)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """Certificates by the name that they are for, each of another authority."""
    names = (LOOPBACK, "localhost", "elsewhere.example")
    return {name: make_pair(tmp_path_factory.mktemp("certificates"), name) for name in names}


class OneClient:
    """A server that takes one client, and says to it what it says to the server."""

    def __init__(self, context: ssl.SSLContext | None = None, greeting: bytes = b"") -> None:
        self.context, self.greeting, self.fault = context, greeting, ""
        self.socket = socket.create_server((LOOPBACK, 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        try:
            connection, _ = self.socket.accept()
            connection.settimeout(5.0)
            with connection:
                if self.context:
                    connection = self.context.wrap_socket(connection, server_side=True)
                with connection:
                    data = connection.recv(1000)
                    connection.sendall(self.greeting or data)
        except ssl.SSLError as error:
            self.fault = secure.tls_fault(error)
        except OSError as error:
            self.fault = str(error)

    def close(self) -> None:
        self.thread.join(5.0)
        self.socket.close()


def says(server: OneClient, host: str, context: ssl.SSLContext | None) -> bytes:
    """What a client hears that says hello."""
    try:
        with connect(host, server.port, context, timeout=2.0) as client:
            client.sendall(b"hello")
            return client.recv(1000)
    finally:
        server.close()


@pytest.fixture
def secured(pairs: dict[str, Pair]) -> Iterator[OneClient]:
    pair = pairs[LOOPBACK]
    yield OneClient(server_context(pair.certificate, pair.key))


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_sides_talk_with_tls(
    newest: ssl.TLSVersion, pairs: dict[str, Pair], secured: OneClient
) -> None:
    context = client_context(pairs[LOOPBACK].authority)
    context.maximum_version = newest
    assert says(secured, LOOPBACK, context) == b"hello"


def test_the_certificate_alone_may_be_what_is_trusted(
    pairs: dict[str, Pair], secured: OneClient
) -> None:
    assert says(secured, LOOPBACK, client_context(pairs[LOOPBACK].certificate)) == b"hello"


def test_both_sides_talk_without_tls() -> None:
    assert says(OneClient(), LOOPBACK, None) == b"hello"


def test_no_other_certificate_is_trusted(pairs: dict[str, Pair], secured: OneClient) -> None:
    with pytest.raises(ConnectionError, match="not the trusted one"):
        says(secured, LOOPBACK, client_context(pairs["localhost"].authority))
    assert "does not trust" in secured.fault


def test_a_certificate_of_another_host_is_refused(pairs: dict[str, Pair]) -> None:
    for name in ("localhost", "elsewhere.example"):
        server = OneClient(server_context(pairs[name].certificate, pairs[name].key))
        with pytest.raises(ConnectionError, match=r"not for 127\.0\.0\.1.*=IP:127\.0\.0\.1"):
            says(server, LOOPBACK, client_context(pairs[name].authority))


def test_a_certificate_of_the_past_is_refused(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert(LOOPBACK, not_after=datetime(2001, 1, 1, tzinfo=UTC))
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    server = OneClient(server_context(tmp_path / "both.pem", tmp_path / "both.pem"))
    with pytest.raises(ConnectionError, match=r"not valid now.*clock"):
        says(server, LOOPBACK, client_context(tmp_path / "authority.pem"))


def test_older_versions_of_tls_are_not_spoken(pairs: dict[str, Pair], secured: OneClient) -> None:
    context = client_context(pairs[LOOPBACK].authority)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.raises(ConnectionError, match=r"1\.2 or newer"):
        says(secured, LOOPBACK, context)


def test_a_server_without_tls_is_named(pairs: dict[str, Pair]) -> None:
    context = client_context(pairs[LOOPBACK].authority)
    with pytest.raises(ConnectionError, match="does not speak TLS"):
        says(OneClient(greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n"), LOOPBACK, context)


def test_a_server_that_hangs_up_or_says_nothing_is_named(pairs: dict[str, Pair]) -> None:
    context = client_context(pairs[LOOPBACK].authority)
    with socket.create_server((LOOPBACK, 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ConnectionError, match=r"did not answer the TLS handshake within 0\.2"):
            connect(LOOPBACK, port, context, timeout=0.2)
        threading.Timer(0.1, lambda: [silent.accept()[0].close() for _ in range(2)]).start()
        with pytest.raises(ConnectionError, match="hung up in the TLS handshake"):
            connect(LOOPBACK, port, context, timeout=2.0)


def test_a_server_that_wants_tls_is_named_where_it_says_so_first() -> None:
    with pytest.raises(ConnectionError, match="wants TLS"):
        says(OneClient(greeting=secure.PLAIN_TO_TLS), LOOPBACK, None)
    # The same bytes in the middle of what it says are only bytes.
    server = OneClient(greeting=b"x" + secure.PLAIN_TO_TLS)
    with connect(LOOPBACK, server.port, None, timeout=2.0) as client:
        client.sendall(b"hello")
        assert client.recv(1) == b"x"
        assert client.recv(1000) == secure.PLAIN_TO_TLS
    server.close()


def test_what_is_no_host_is_an_error_of_the_connection() -> None:
    with pytest.raises(ConnectionError, match="no name of a host"):
        connect("x" * 70, 1, None, timeout=1.0)


def test_files_that_are_no_certificates_are_named(pairs: dict[str, Pair], tmp_path: Path) -> None:
    good, other = pairs[LOOPBACK], pairs["localhost"]
    nonsense, missing, cut = tmp_path / "nonsense", tmp_path / "missing", tmp_path / "cut"
    nonsense.write_text("nonsense")
    cut.write_bytes(good.certificate.read_bytes()[:200])
    for certificate, key, fault in (
        (missing, good.key, f"{missing} cannot be read"),
        (good.certificate, missing, f"{missing} cannot be read"),
        (nonsense, good.key, f"{nonsense} holds no CERTIFICATE"),
        (good.certificate, good.certificate, f"{good.certificate} holds no PRIVATE KEY"),
        (cut, good.key, f"{cut} and the key {good.key} cannot be used"),
        (good.certificate, other.key, "do not belong together"),
    ):
        with pytest.raises(SecurityError, match=f"{re.escape(fault)}.*openssl req -x509"):
            server_context(certificate, key)
    for authority in (missing, nonsense, good.key, cut):
        with pytest.raises(SecurityError, match=f"{re.escape(str(authority))}.*openssl req -x509"):
            client_context(authority)


def openssl(command: str) -> None:
    subprocess.run(shlex.split(command), check=True, timeout=60, capture_output=True)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")
def test_the_command_that_an_error_names_makes_a_pair(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    with pytest.raises(SecurityError) as caught:
        server_context(certificate, key)
    (command,) = re.findall("`(.*?)`", str(caught.value))
    openssl(command)
    for host in (LOOPBACK, "localhost"):
        server = OneClient(server_context(certificate, key))
        assert says(server, host, client_context(certificate)) == b"hello"


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")
def test_a_key_with_a_passphrase_is_refused_and_the_command_takes_it_off(
    pairs: dict[str, Pair], tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    openssl(f"openssl pkey -in {pairs[LOOPBACK].key} -aes256 -passout pass:secret -out {key}")
    with pytest.raises(SecurityError, match="passphrase") as caught:
        server_context(pairs[LOOPBACK].certificate, key)
    (command,) = re.findall("`(.*?)`", str(caught.value))
    openssl(f"{command} -passin pass:secret")
    opened = Path(f"{key}.open")
    assert opened.stat().st_mode & 0o077 == 0
    server_context(pairs[LOOPBACK].certificate, opened)
