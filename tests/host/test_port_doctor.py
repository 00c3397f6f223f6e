# SPDX-License-Identifier: MIT
"""What doctor makes of a broker and a repository, over real sockets."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fleetling import home
from fleetling.pki import Authority, Identity, make_authority
from fleetling.port import checks, doctor
from fleetling.port.checks import GOOD, SKIPPED, WARNING, WRONG, Finding
from fleetling.port.facts import Facts

NOW = checks.now()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority("farm")


@contextmanager
def broker(folder: Path, authority: Authority, name: str, days: int = 90) -> Iterator[str]:
    """A TLS server with a certificate for `name`; its endpoint."""
    made = authority.server([name], days)
    (folder / "crt").write_bytes(made.certificate_pem)
    (folder / "key").write_bytes(made.key_pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "crt", folder / "key")
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            try:
                context.wrap_socket(peer, server_side=True).close()
            except OSError:
                peer.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.getsockname()[1]}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(10)


@contextmanager
def web(folder: Path, identity: Identity | None = None) -> Iterator[str]:
    """A web server for a folder, with TLS where it has an identity; its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        if identity is not None:
            (folder / "crt").write_bytes(identity.certificate_pem)
            (folder / "key").write_bytes(identity.key_pem())
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "crt", folder / "key")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http{'s' if identity else ''}://127.0.0.1:{server.server_port}/"
        server.shutdown()


def looked(authority: Authority, **said: object) -> dict[str, Finding]:
    ca = authority.identity.certificate_der.hex()
    given = Facts({"id": "a", "ca": ca, "own_key": True, **said})
    return {found.check: found for found in doctor.surroundings(given, NOW)}


def test_a_broker_is_judged_as_the_board_would(tmp_path: Path, authority: Authority) -> None:
    with broker(tmp_path, authority, "127.0.0.1") as endpoint:
        assert looked(authority, broker=endpoint)["broker"].state == GOOD
        other = make_authority("other")
        found = looked(other, broker=endpoint)["broker"]
        assert found.state == WRONG and found.remedy
        damaged = looked(authority, broker=endpoint, ca="3000")["broker"]
        assert damaged.state == WRONG and "trust anchor" in damaged.text
    with broker(tmp_path, authority, "127.0.0.1", 10) as endpoint:
        assert looked(authority, broker=endpoint)["broker"].state == WARNING
    with broker(tmp_path, authority, "broker.example") as endpoint:
        assert looked(authority, broker=endpoint)["broker"].state == WRONG
    gone = looked(authority, broker=endpoint)["broker"]
    assert gone.state == WRONG and "out of reach" in gone.text
    assert looked(authority, broker="nonsense")["broker"].state == WRONG


def test_a_repository_is_judged_by_its_timestamp(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "metadata").mkdir()
    stamp = tmp_path / "metadata/timestamp.json"
    with web(tmp_path) as url:

        def state() -> str:
            return looked(authority, broker="x:1", repo=url)["repository"].state

        assert state() == WRONG
        for days, wanted in ((1, GOOD), (-1, WRONG)):
            expires = f"{NOW + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
            stamp.write_text(json.dumps({"signed": {"expires": expires}}))
            assert state() == wanted
        stamp.write_text('{"signed": 1}')
        assert state() == WRONG
    assert state() == WRONG
    assert looked(authority, broker="x:1")["repository"].state == WARNING
    assert looked(authority, broker="x:1", repo="file:///etc/")["repository"].state == WRONG


def test_a_repository_with_tls_is_trusted_as_the_board_trusts(
    tmp_path: Path, authority: Authority
) -> None:
    (tmp_path / "metadata").mkdir()
    later = (NOW + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    timestamp = tmp_path / "metadata/timestamp.json"
    timestamp.write_text(json.dumps({"signed": {"expires": later}}))
    for signer, state in ((authority, GOOD), (make_authority("elsewhere"), WRONG)):
        with web(tmp_path, signer.server(["127.0.0.1"], 9)) as url:
            found = looked(authority, broker="127.0.0.1:1", repo=url)["repository"]
        assert url.startswith("https:") and found.state == state, found


@pytest.mark.parametrize(
    "answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]
)
def test_a_server_that_speaks_no_http_is_told(authority: Authority, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert looked(authority, broker="127.0.0.1:1", repo=url)["repository"].state == WRONG


def test_a_board_without_identity_has_nothing_to_dial(authority: Authority) -> None:
    found = looked(authority, id="")
    assert {each.state for each in found.values()} == {SKIPPED}


def test_whose_board_it_is(tmp_path: Path, authority: Authority) -> None:
    plan = home.Plan("farm", "b:1", "b:2", [])
    place = home.create(tmp_path, plan)
    ours = place.certificate("fleet-ca")
    from cryptography.hazmat.primitives.serialization import Encoding

    ca = ours.public_bytes(Encoding.DER).hex()

    def state(**said: str) -> str:
        return doctor.fleet(place, Facts({"id": "a", "ca": ca, "broker": "b:1", **said}))[0].state

    assert state() == GOOD
    assert state(broker="c:1") == WARNING
    assert state(ca=authority.identity.certificate_der.hex()) == WRONG
    assert doctor.fleet(None, Facts())[0].state == SKIPPED
    assert doctor.fleet(place, Facts()) == []
