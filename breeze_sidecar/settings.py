"""All settings: the only reader of the environment.

Flags go before BREEZE_* variables, these before a .env file, and that before /run/secrets. Every problem is reported at
once, by the variable's name and what would be right, never by the value: it could be a secret in the wrong place.
"""

import argparse
import difflib
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined] # the stubs lack it

from dotenv.main import DotEnv
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from breeze_sidecar import values
from breeze_sidecar.errors import ConfigurationError

PREFIX = "BREEZE_"
ENVIRONMENTS = {"test": "https://system.upnxt.no", "production": "https://system.idportal.no"}
#: Bytes of a Unix socket's path that every platform takes.
_LONGEST_PATH = 103
#: What the caches need; extras, for not everyone needs them.
_PACKAGES = {"file": ("cryptography",), "redis": ("cryptography", "redis")}
#: What Kubernetes injects beside a Service named breeze.
_SERVICE_LINK = re.compile(r"BREEZE_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP)(_\w+)?)")

Port = Annotated[int, Field(ge=0, le=65535)]
Names = tuple[str, ...]


class Settings(BaseSettings):
    """The settings; each field is the variable BREEZE_ and its name. Durations are seconds."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, validate_default=False)

    environment: Literal["test", "production"] = Field("test", description="test or production")
    base_url: Annotated[str, BeforeValidator(values.base_url)] = Field("", description="any other upstream")
    client_id: Annotated[str, BeforeValidator(values.token)] = Field(description="the OAuth client")
    client_secret: SecretStr | None = Field(None, description="its secret")
    client_secret_file: Path | None = Field(None, description="a file with its secret, read anew for each request")
    host: Annotated[str, BeforeValidator(values.address)] = Field("127.0.0.1", description="where callers connect")
    port: Port = Field(4747, description="where callers connect; 0 picks a free one")
    uds: Path | None = Field(None, description="a Unix socket instead of TCP")
    admin_host: Annotated[str, BeforeValidator(values.address)] = Field("127.0.0.1", description="health, metrics")
    admin_port: Port = Field(4748, description="health, metrics; 0 picks a free one")
    allowed_hosts: Annotated[Names, BeforeValidator(values.hosts)] = Field(
        (), description="names besides localhost that a caller may use, comma-separated"
    )
    allowed_origins: Annotated[Names, BeforeValidator(values.origins)] = Field(
        (), description="browser origins that may call, comma-separated"
    )
    required_header: Annotated[tuple[str, str], BeforeValidator(values.header)] | None = Field(
        None, description="a field that each call must bear"
    )
    token_cache: Annotated[str, BeforeValidator(values.cache)] = Field(
        "memory://", description="where the token is kept", repr=False
    )
    refresh_margin: float = Field(300, ge=0, le=86400, description="refresh this long before expiry")
    connect_timeout: float = Field(5, gt=0, le=600, description="for a connection to Breeze")
    upstream_timeout: float = Field(30, gt=0, le=3600, description="for Breeze's answer, and between its pieces")
    max_request_bytes: int = Field(16777216, ge=1024, le=1073741824, description="of a request's body")
    max_concurrency: int = Field(100, ge=1, le=10000, description="calls in flight upstream")
    rate_limit_max_wait: float = Field(5, ge=0, le=3600, description="how long a call may be held for a 429; 0: never")
    shutdown_delay: float = Field(0, ge=0, le=3600, description="go on accepting this long after SIGTERM")
    shutdown_grace: float = Field(25, ge=0, le=3600, description="for calls in flight to finish")
    admin_quit: bool = Field(default=False, description="POST /quitquitquit on the admin port ends the sidecar")
    allow_insecure_upstream: bool = Field(default=False, description="allow http to a host that is not loopback")
    ca_file: Path | None = Field(None, description="extra CA certificates")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error")
    log_format: Literal["auto", "console", "json"] = Field("auto", description="auto, console or json")

    @classmethod
    def settings_customise_sources(  # type: ignore[override] # the others are taken, and left
        cls,
        _settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        **_: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` gathered: it reads the sources itself, so that empty values count as unset."""
        return (init_settings,)

    @model_validator(mode="before")
    @classmethod
    def _default_url(cls, given: dict[str, Any]) -> dict[str, Any]:
        url = ENVIRONMENTS.get(given.get("environment", "test"), ENVIRONMENTS["test"])
        return {"base_url": url, **given}

    def problems(self) -> list[str]:
        """What does not fit together, or not with this machine: one line each."""
        return [
            *self._secret_problems(),
            *self._upstream_problems(),
            *self._listen_problems(),
            *self._cache_problems(),
        ]

    def read_secret(self) -> str:
        """The client secret, from its file as it is now.

        Raises:
            ValueError: it cannot be read; the sentence names the setting.
        """
        if self.client_secret is not None:
            return self.client_secret.get_secret_value()
        path = self.client_secret_file
        try:
            text = path.read_text("utf-8") if path is not None else ""
        except PermissionError:
            who = f"uid {os.getuid()}"
            raise ValueError(
                f"BREEZE_CLIENT_SECRET_FILE: {path} may not be read by {who}; change its owner or mode"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
            raise ValueError(f"BREEZE_CLIENT_SECRET_FILE: {path} cannot be read: {reason}") from None
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise ValueError(f"BREEZE_CLIENT_SECRET_FILE: {path} is empty; it must hold the client secret")
        try:
            return values.token(text)
        except ValueError as error:
            raise ValueError(f"BREEZE_CLIENT_SECRET_FILE: the content of {path} {error}") from None

    def upstream_proxy(self) -> str | None:
        """The proxy that HTTPS_PROXY (HTTP_PROXY, ALL_PROXY) names for Breeze, unless NO_PROXY exempts it."""
        parts = urlsplit(self.base_url)
        proxies = getproxies_environment()
        proxy = proxies.get(parts.scheme) or proxies.get("all")
        if not proxy or values.is_loopback(self.base_url) or proxy_bypass_environment(parts.netloc, proxies):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    def _secret_problems(self) -> list[str]:
        if self.client_secret is None and self.client_secret_file is None:
            return ["BREEZE_CLIENT_SECRET: set it, or BREEZE_CLIENT_SECRET_FILE to a file that holds the secret"]
        if self.client_secret is not None and self.client_secret_file is not None:
            return ["BREEZE_CLIENT_SECRET: is set beside BREEZE_CLIENT_SECRET_FILE; set exactly one of them"]
        try:
            values.token(self.read_secret())
        except ValueError as error:
            return [str(error) if self.client_secret is None else f"BREEZE_CLIENT_SECRET: {error}"]
        return []

    def _upstream_problems(self) -> list[str]:
        problems = []
        url = self.base_url
        if url.startswith("http:") and not values.is_loopback(url) and not self.allow_insecure_upstream:
            problems.append(
                "BREEZE_BASE_URL: must be https, for tokens would travel readable; "
                "BREEZE_ALLOW_INSECURE_UPSTREAM=true allows http all the same"
            )
        if self.ca_file is not None:
            try:
                ssl.create_default_context().load_verify_locations(self.ca_file)
            except ssl.SSLError:
                problems.append(f"BREEZE_CA_FILE: {self.ca_file} holds no certificate in PEM form")
            except OSError as error:
                problems.append(f"BREEZE_CA_FILE: {self.ca_file} cannot be read: {error.strerror}")
        return problems

    def _listen_problems(self) -> list[str]:
        problems = []
        same = self.uds is None and self.port and (self.host, self.port) == (self.admin_host, self.admin_port)
        if same:
            problems.append("BREEZE_ADMIN_PORT: must be another one than BREEZE_PORT")
        if self.uds is not None and len(os.fsencode(self.uds)) > _LONGEST_PATH:
            problems.append(f"BREEZE_UDS: must be a path of at most {_LONGEST_PATH} bytes")
        elif self.uds is not None and not self.uds.parent.is_dir():
            problems.append(f"BREEZE_UDS: the directory {self.uds.parent} does not exist")
        return problems

    def _cache_problems(self) -> list[str]:
        scheme = urlsplit(self.token_cache).scheme.removesuffix("s")
        missing = [name for name in _PACKAGES.get(scheme, ()) if find_spec(name) is None]
        if not missing:
            return []
        named, extra = " and ".join(missing), f"breeze-sidecar[{scheme}]"
        return [f"BREEZE_TOKEN_CACHE: {scheme} needs the package {named}; pip install '{extra}' brings it"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and what is questionable in them without being wrong."""

    settings: Settings
    warnings: list[str]


def load(
    flags: Mapping[str, str | None] | None = None, *, env_file: str = ".env", secrets_dir: str = "/run/secrets"
) -> Loaded:
    """Read and check all settings.

    Args:
        flags: by field name; None for one that was not given.
        env_file: read if it is there.
        secrets_dir: with one file per variable, named like it in upper or lower case.

    Raises:
        ConfigurationError: one line per problem.
    """
    problems: list[str] = []
    warnings: list[str] = []
    given = _secrets(Path(secrets_dir), problems)
    given |= _dotenv(Path(env_file), problems)
    given |= {name: value for name, value in os.environ.items() if name.startswith(PREFIX) and value}
    known = {f"{PREFIX}{name.upper()}": name for name in Settings.model_fields}
    fields: dict[str, str] = {}
    for variable, value in given.items():
        if variable not in known:
            if not _SERVICE_LINK.fullmatch(variable):
                near = difflib.get_close_matches(variable.removeprefix(PREFIX).lower(), Settings.model_fields, 1)
                hint = f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""
                warnings.append(f"{variable} is not a setting of breeze-sidecar and is ignored{hint}")
        elif known[variable] in {"port", "admin_port"} and value.startswith("tcp://"):
            warnings.append(
                f"{variable} is ignored: Kubernetes sets it beside a Service named breeze "
                "(enableServiceLinks: false in the Pod keeps it from doing so)"
            )
        else:
            fields[known[variable]] = value
    given_flags = {name: value for name, value in (flags or {}).items() if value}
    if "@" in given_flags.get("token_cache", ""):
        problems.append("BREEZE_TOKEN_CACHE: a password must not stand in a flag, which the process list shows")
    fields |= given_flags
    settings = _validated(fields, problems)
    if problems:
        raise ConfigurationError(problems)
    return Loaded(settings, warnings)


def _validated(fields: Mapping[str, str], problems: list[str]) -> Settings:
    """The settings; where some are wrong, the others and defaults, so that what does not fit together is told too."""
    try:
        settings = Settings(**fields)  # type: ignore[arg-type] # texts, which pydantic makes into values
    except ValidationError as error:
        lines, wrong = _lines(error), {str(problem["loc"][0]) for problem in error.errors(include_input=False)}
    else:
        problems += settings.problems()
        return settings
    # Outside the handler, so that no chain of exceptions holds the input.
    rest = {name: value for name, value in fields.items() if name not in wrong}
    if "client_id" in wrong:
        rest["client_id"] = "unknown"
    problems += lines
    more: list[str] = []
    settings = _validated(rest, more)
    named = tuple(f"{PREFIX}{name.upper()}:" for name in wrong)
    problems += [line for line in more if not line.startswith(named)]
    return settings


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag for each setting that is no secret."""
    for name, field in Settings.model_fields.items():
        if name != "client_secret":
            default = f" (default {field.default})" if field.default not in {None, "", ()} else ""
            flag = f"--{name.replace('_', '-')}"
            parser.add_argument(flag, metavar="VALUE", dest=name, help=f"{field.description}{default}")


def _lines(error: ValidationError) -> list[str]:
    """One line per problem, from pydantic's errors without their input."""
    lines = []
    for problem in error.errors(include_input=False, include_url=False, include_context=True):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        lines.append(f"{PREFIX}{name.upper()}: {_right(problem['type'], problem.get('ctx', {}), name)}")
    return lines


def _right(kind: str, context: Mapping[str, Any], name: str) -> str:
    """What would be right."""
    field = Settings.model_fields[name]
    if kind == "missing":
        return "must be set: the client's id, as Breeze's administrators gave it out"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be {field.description}"
    if kind.startswith("bool"):
        return "must be true or false"
    low = min_ if (min_ := _bound(field, "ge", "at least")) else _bound(field, "gt", "more than")
    unit = "a whole number" if field.annotation is int else "a number of seconds"
    return f"must be {unit}, {low} and {_bound(field, 'le', 'at most')}"


def _bound(field: FieldInfo, name: str, words: str) -> str:
    return next((f"{words} {getattr(item, name)}" for item in field.metadata if hasattr(item, name)), "")


def _dotenv(path: Path, problems: list[str]) -> dict[str, str]:
    try:
        if not path.is_file():
            return {}
        content = DotEnv(path, encoding="utf-8", interpolate=False, override=True).dict()
    except UnicodeDecodeError:
        problems.append(f"{path}: must be text in UTF-8")
        return {}
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
        return {}
    return {name: value for name, value in content.items() if name.startswith(PREFIX) and value}


def _secrets(directory: Path, problems: list[str]) -> dict[str, str]:
    found = {}
    for name in Settings.model_fields:
        variable = f"{PREFIX}{name.upper()}"
        for path in (directory / variable, directory / variable.lower()):
            try:
                text = path.read_text("utf-8").removesuffix("\n").removesuffix("\r") if path.is_file() else ""
            except OSError as error:
                problems.append(f"{variable}: {path} cannot be read by uid {os.getuid()}: {error.strerror}")
            except UnicodeDecodeError:
                problems.append(f"{variable}: {path} must be text in UTF-8")
            else:
                if text:
                    found[variable] = text
    return found
