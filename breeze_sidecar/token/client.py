"""One token request (RFC 6749 section 4.4, with Breeze's JSON body)."""

import hashlib
import json
from collections.abc import Callable

import aiohttp
from aiohttp_retry import ExponentialRetry, RetryClient

from breeze_sidecar.token.access_token import Grant, MalformedGrantError
from breeze_sidecar.token.backoff import Kind, TokenRequestFailed
from breeze_sidecar.token.prose import wait_in_prose

#: Bytes of an answer that are read; a token is a few KiB.
_LARGEST = 64 * 1024
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500
#: OAuth errors that new credentials help against (RFC 6749 section 5.2), and what to do.
_CREDENTIALS = {
    "invalid_client": "check BREEZE_CLIENT_ID and the secret; where it has expired, an administrator rotates it",
    "unauthorized_client": "ask an administrator to allow this client the client_credentials grant",
    "access_denied": "ask an administrator whether this client was revoked",
}


class TokenClient:
    """Asks the token endpoint.

    Args:
        session: a session of its own, so that no call waits behind a token request or the other way round.
        base_url: of Breeze.
        client_id: as it is.
        read_secret: reads the secret anew; raises ValueError with a sentence that names the setting.
        seen: hears of each secret and token, so that they can be redacted.
        proxy: the HTTP proxy's URL, or None.
        connect_attempts: how often a connection is tried within one request; nothing has left before it stands.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        base_url: str,
        client_id: str,
        read_secret: Callable[[], str],
        seen: Callable[[str], None],
        proxy: str | None = None,
        connect_attempts: int = 2,
    ) -> None:
        # The library's defaults would send a POST answered 500 three times, and not retry a refused connection.
        options = ExponentialRetry(
            attempts=connect_attempts,
            start_timeout=0.1,
            statuses=set(),
            exceptions={aiohttp.ClientConnectorError},
            methods={"POST"},
            retry_all_server_errors=False,
        )
        self._client = RetryClient(client_session=session, retry_options=options)
        self._url = f"{base_url}/oauth/token"
        self._client_id = client_id
        self._read_secret = read_secret
        self._seen = seen
        self._proxy = proxy
        self._sent_digest: bytes | None = None

    async def request(self) -> Grant:
        """Ask once.

        Raises:
            TokenRequestFailed: no token came; its sentence holds no secret.
        """
        secret = self._secret()
        self._sent_digest = _digest(secret)
        body = {"grant_type": "client_credentials", "client_id": self._client_id, "client_secret": secret}
        try:
            async with self._client.post(
                self._url,
                json=body,
                headers={"Accept": "application/json"},
                allow_redirects=False,
                proxy=self._proxy,
            ) as response:
                content = await _read(response)
                retry_after = response.headers.get("Retry-After")
                status = response.status
        except aiohttp.ClientConnectorError as error:
            reason = error.os_error.strerror or type(error.os_error).__name__
            raise TokenRequestFailed(Kind.UNREACHABLE, f"cannot connect to the token endpoint: {reason}") from None
        except TimeoutError:
            raise TokenRequestFailed(Kind.FAILED, "the token endpoint did not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            # Its text can hold fields of the request.
            message = f"the request to the token endpoint failed: {type(error).__name__}"
            raise TokenRequestFailed(Kind.FAILED, message) from None
        grant = _grant(status, content, retry_after)
        self._seen(grant.value)
        return grant

    def secret_changed(self) -> bool:
        """Whether the secret is readable and another one than the last request sent."""
        try:
            return _digest(self._read_secret()) != self._sent_digest
        except ValueError:
            return False

    def _secret(self) -> str:
        try:
            secret = self._read_secret()
        except ValueError as error:
            self._sent_digest = None
            raise TokenRequestFailed(Kind.CREDENTIALS, str(error)) from None
        self._seen(secret)
        return secret


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    content = b""
    while len(content) <= _LARGEST and (piece := await response.content.readany()):
        content += piece
    return content


def _grant(status: int, content: bytes, retry_after: str | None) -> Grant:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if status == 200:  # noqa: PLR2004 # RFC 6749 section 5.1
        if answer is None:
            raise TokenRequestFailed(Kind.MALFORMED, "the token endpoint's answer is not JSON")
        try:
            return Grant.parse(answer)
        except MalformedGrantError as error:
            message = f"the token endpoint's answer cannot be used: {error}"
            raise TokenRequestFailed(Kind.MALFORMED, message) from None
    raise _failure(status, answer if isinstance(answer, dict) else {}, retry_after)


def _failure(status: int, answer: dict[str, object], retry_after: str | None) -> TokenRequestFailed:
    error, description = answer.get("error"), answer.get("error_description")
    error = error if isinstance(error, str) and error.isascii() and error.isprintable() else ""
    prose = description if isinstance(description, str) else ""
    if status == _TOO_MANY_REQUESTS or error == "too_many_requests":
        wait = wait_in_prose(prose, retry_after)
        message = "Breeze's limit of 100 token requests an hour for this client is spent"
        return TokenRequestFailed(Kind.RATE_LIMITED, message, wait=wait)
    if status < _SERVER_ERROR and (error in _CREDENTIALS or status in {401, 403}):
        said = "".join(c if c.isprintable() else " " for c in prose[:200]).strip().rstrip(".")
        what = _CREDENTIALS.get(error, _CREDENTIALS["invalid_client"])
        quoted = f" ({said})" if said else ""
        return TokenRequestFailed(
            Kind.CREDENTIALS, f"Breeze rejects the credentials: {error or status}{quoted}; {what}"
        )
    detail = f": {error[:60]}" if error else ""
    return TokenRequestFailed(Kind.FAILED, f"the token endpoint answered {status}{detail}")
