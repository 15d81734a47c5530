"""What an endpoint answers, before any fault touches it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; `fields` holds what stands beside Content-Type."""

    status: int
    body: bytes
    media_type: str = JSON
    fields: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: object, status: int = 200) -> "Answer":
        """The value as JSON."""
        return cls(status, json.dumps(value).encode())
