# SPDX-License-Identifier: MIT
from agent.errors import AgentError, Refused


def test_an_error_carries_its_code_and_detail():
    error = Refused("config-range", "interval_s")
    assert isinstance(error, AgentError)
    assert (error.code, error.detail, error.args) == (
        "config-range",
        "interval_s",
        ("config-range", "interval_s"),
    )
