# SPDX-License-Identifier: MIT
from agent.errors import LinkError
from agent.link import tls


def test_every_failure_of_a_handshake_has_its_code():
    for error, code in (
        (ValueError("\nThe certificate is not correctly signed by the trusted CA\n"), "tls-ca"),
        (
            ValueError("\nThe certificate Common Name (CN) does not match with the expected CN\n"),
            "tls-name",
        ),
        (ValueError("\nThe certificate validity has expired\n"), "tls-expired"),
        (ValueError("\nThe certificate validity starts in the future\n"), "tls-future"),
        (ValueError("\nSomething new\n"), "tls-failed"),
        (OSError(-0x7780, "MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE"), "tls-refused"),
        (OSError(-0x7200, "MBEDTLS_ERR_SSL_INVALID_RECORD"), "tls-failed"),
        (OSError(12), "tls-memory"),
        (OSError(-0x7F00, "MBEDTLS_ERR_SSL_ALLOC_FAILED"), "tls-memory"),
        (OSError(104), "tls-closed"),
        (OSError(111), "tcp-failed"),
        (OSError(116), "tcp-failed"),
        (OSError(32), "tls-closed"),
        (EOFError(), "tls-closed"),
        (LinkError("mqtt-refused", "5"), "mqtt-refused"),
    ):
        failure = tls.failure(error)
        assert isinstance(failure, LinkError) and failure.code == code, error
