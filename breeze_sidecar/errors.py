"""Everything that can go wrong, as one tree.

SidecarError
├── NotFound               404  another path than /graphql
├── MethodNotAllowed       405  another method than POST
├── Forbidden              403  a Host, Origin or fetch site that is not allowed
├── UnsupportedMediaType   415  not JSON
├── PreconditionFailed     412  the required field is missing
├── PayloadTooLarge        413  more than BREEZE_MAX_REQUEST_BYTES
├── BadRequest             400  an absolute-form target, a request that is not HTTP
├── TokenUnavailable       503  no valid token, and none soon enough
├── CredentialsRejected    503  Breeze does not accept the client's credentials
├── UpstreamUnreachable    502  no connection, or it broke
├── UpstreamTimeout        504  no answer in time
├── ShuttingDown           503  the sidecar is stopping
└── Internal               500  a defect of the sidecar

Each class is named as its wire code: ``TokenUnavailable`` is ``SIDECAR_TOKEN_UNAVAILABLE``. ``ConfigurationError`` is
no answer to a caller: it ends the process with exit code 2.
"""

from typing import ClassVar


class SidecarError(Exception):
    """An answer that the sidecar gives itself.

    Attributes:
        code: the GraphQL error's ``extensions.code``.
        status: the HTTP status.
        proxy_error: the error type of the Proxy-Status field (RFC 9209 section 2.3), or none where the field only
            names who answered.
        retry_after: whole seconds for the Retry-After field, or None for no field.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    proxy_error: ClassVar[str | None] = None

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = None if retry_after is None else max(1, int(-(-retry_after // 1)))


class NotFound(SidecarError):
    """Only /graphql is served."""

    code = "SIDECAR_NOT_FOUND"
    status = 404
    proxy_error = "http_request_denied"


class MethodNotAllowed(SidecarError):
    """Only POST is served."""

    code = "SIDECAR_METHOD_NOT_ALLOWED"
    status = 405
    proxy_error = "http_request_denied"


class Forbidden(SidecarError):
    """The caller may not use the client's credentials."""

    code = "SIDECAR_FORBIDDEN"
    status = 403
    proxy_error = "http_request_denied"


class UnsupportedMediaType(SidecarError):
    """Only JSON goes through: other types can be sent by a web page without a CORS preflight."""

    code = "SIDECAR_UNSUPPORTED_MEDIA_TYPE"
    status = 415
    proxy_error = "http_request_denied"


class PreconditionFailed(SidecarError):
    """The field named in BREEZE_REQUIRED_HEADER is missing or has another value."""

    code = "SIDECAR_PRECONDITION_FAILED"
    status = 412
    proxy_error = "http_request_denied"


class PayloadTooLarge(SidecarError):
    """The request's body is over BREEZE_MAX_REQUEST_BYTES."""

    code = "SIDECAR_PAYLOAD_TOO_LARGE"
    status = 413
    proxy_error = "http_request_denied"


class BadRequest(SidecarError):
    """Not a request that this proxy can take."""

    code = "SIDECAR_BAD_REQUEST"
    status = 400
    proxy_error = "http_request_error"


class TokenUnavailable(SidecarError):
    """There is no valid token and none will come soon enough."""

    code = "SIDECAR_TOKEN_UNAVAILABLE"
    status = 503
    proxy_error = "proxy_internal_response"


class CredentialsRejected(SidecarError):
    """Breeze rejects the client_id or client_secret."""

    code = "SIDECAR_CREDENTIALS_REJECTED"
    status = 503
    proxy_error = "proxy_configuration_error"


class UpstreamUnreachable(SidecarError):
    """No connection to Breeze could be made, or it broke before the answer came.

    Attributes:
        sent: whether any part of the request may have reached Breeze.
    """

    code = "SIDECAR_UPSTREAM_UNREACHABLE"
    status = 502
    proxy_error = "destination_unavailable"

    def __init__(self, message: str, *, sent: bool, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.sent = sent


class UpstreamTimeout(SidecarError):
    """Breeze took longer than a timeout allows.

    Attributes:
        sent: whether any part of the request may have reached Breeze.
    """

    code = "SIDECAR_UPSTREAM_TIMEOUT"
    status = 504
    proxy_error = "http_response_timeout"

    def __init__(self, message: str, *, sent: bool, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.sent = sent


class ShuttingDown(SidecarError):
    """The sidecar takes no new calls."""

    code = "SIDECAR_SHUTTING_DOWN"
    status = 503
    proxy_error = "proxy_internal_response"


class Internal(SidecarError):
    """A defect of the sidecar."""

    code = "SIDECAR_INTERNAL"
    status = 500
    proxy_error = "proxy_internal_error"


class ConfigurationError(Exception):
    """The settings do not allow a start.

    Attributes:
        problems: one line each, naming the variable and what would be right.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
