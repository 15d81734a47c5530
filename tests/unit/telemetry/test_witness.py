"""telemetry/witness.py: what happens to the token is told."""

import json
from io import BytesIO

from breeze_sidecar.telemetry import logs
from breeze_sidecar.telemetry.metrics import Metrics
from breeze_sidecar.telemetry.redaction import Redactor
from breeze_sidecar.telemetry.witness import TokenWitness
from breeze_sidecar.token.backoff import Kind, TokenRequestFailed


def test_each_happening_is_an_event_and_a_count() -> None:
    stream = BytesIO()
    metrics = Metrics("1.0", "test")
    witness = TokenWitness(logs.configure("info", "json", Redactor(), stream), metrics)
    witness.granted(3600.4, again=True)
    witness.failed(TokenRequestFailed(Kind.FAILED, "it failed"), 1.26)
    crash = TokenRequestFailed(Kind.FAILED, "it crashed")
    crash.__cause__ = ValueError("a defect")
    witness.failed(crash, 1)
    witness.rejected(2, 1.0)
    witness.holds(5.0)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in told] == [
        "token.refreshed",
        "token.refresh_failed",
        "token.refresh_failed",
        "token.rejected",
    ]
    assert (told[0]["expires_in"], told[0]["same_token"]) == (3600, True)
    assert (told[1]["reason"], told[1]["retry_in"]) == ("failed", 1.3)
    assert "ValueError: a defect" in told[2]["traceback"]
    text = metrics.render()[0].decode()
    assert 'breeze_sidecar_token_requests_total{outcome="granted"} 1.0' in text
    assert 'breeze_sidecar_token_requests_total{outcome="failed"} 2.0' in text
    assert "breeze_sidecar_token_expiry_timestamp_seconds 5.0" in text
