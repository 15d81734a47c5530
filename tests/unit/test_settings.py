"""settings.py and values.py: where settings come from, and what each bad one gets."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from breeze_sidecar.errors import ConfigurationError
from breeze_sidecar.settings import Loaded, Settings, load

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"
GOOD = {"BREEZE_CLIENT_ID": "oauth_sample", "BREEZE_CLIENT_SECRET": "a-sample-secret"}

Read = Callable[..., Loaded]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Read:
    """Loads settings from these variables alone."""
    for name in os.environ:
        if name.startswith("BREEZE_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def reading(
        variables: dict[str, str] | None = None, flags: dict[str, str | None] | None = None, **more: str
    ) -> Loaded:
        for name, value in (GOOD | (variables or {}) | more).items():
            monkeypatch.setenv(name, value)
        return load(flags, secrets_dir=str(tmp_path / "secrets"))

    return reading


def problems(read: Read, **variables: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(**variables)
    return caught.value.problems


NO_SECRET = "BREEZE_CLIENT_SECRET: set it, or BREEZE_CLIENT_SECRET_FILE to a file that holds the secret"
ONE_LINE = "must be one line without spaces around it or control characters in it"
A_URL = "BREEZE_BASE_URL: must be a URL such as https://breeze.example"
A_FIELD = 'must be a field\'s name and value, such as "X-Breeze-Request: true"'

#: The matrix: variable, value, message. docs/settings.md holds each message.
MATRIX = [
    ("CLIENT_ID", "", "BREEZE_CLIENT_ID: must be set: the client's id, as Breeze's administrators gave it out"),
    ("CLIENT_ID", "a\nb", f"BREEZE_CLIENT_ID: {ONE_LINE}"),
    ("CLIENT_SECRET", "", NO_SECRET),
    ("CLIENT_SECRET", " padded", f"BREEZE_CLIENT_SECRET: {ONE_LINE}"),
    (
        "CLIENT_SECRET_FILE",
        "/a",
        "BREEZE_CLIENT_SECRET: is set beside BREEZE_CLIENT_SECRET_FILE; set exactly one of them",
    ),
    ("ENVIRONMENT", "staging", "BREEZE_ENVIRONMENT: must be test or production"),
    ("BASE_URL", "breeze", A_URL),
    ("BASE_URL", "ftp://breeze.example", A_URL),
    ("BASE_URL", "https://", A_URL),
    ("BASE_URL", "https://breeze.example:x", A_URL),
    ("BASE_URL", "https://bréeze.example", A_URL),
    ("BASE_URL", "https://me:pass@breeze.example", "BREEZE_BASE_URL: must not hold a user name or password"),
    (
        "BASE_URL",
        "https://breeze.example/graphql",
        "BREEZE_BASE_URL: must end after the host and port: the sidecar adds /graphql and /oauth/token itself",
    ),  # one message
    (
        "BASE_URL",
        "http://breeze.example",
        "BREEZE_BASE_URL: must be https, for tokens would travel readable; BREEZE_ALLOW_INSECURE_UPSTREAM=true allows http all the same",
    ),  # one message
    ("HOST", "http://here", "BREEZE_HOST: must be an IP address or host name"),
    ("ADMIN_HOST", "a b", "BREEZE_ADMIN_HOST: must be an IP address or host name"),
    ("PORT", "http", "BREEZE_PORT: must be a whole number, at least 0 and at most 65535"),
    ("PORT", "65536", "BREEZE_PORT: must be a whole number, at least 0 and at most 65535"),
    ("PORT", "-1", "BREEZE_PORT: must be a whole number, at least 0 and at most 65535"),
    ("PORT", "80.5", "BREEZE_PORT: must be a whole number, at least 0 and at most 65535"),
    ("ADMIN_PORT", "x", "BREEZE_ADMIN_PORT: must be a whole number, at least 0 and at most 65535"),
    ("ADMIN_PORT", "4747", "BREEZE_ADMIN_PORT: must be another one than BREEZE_PORT"),
    ("UDS", "/nowhere/at/all", "BREEZE_UDS: the directory /nowhere/at does not exist"),
    ("UDS", "/tmp/" + "x" * 100, "BREEZE_UDS: must be a path of at most 103 bytes"),
    (
        "ALLOWED_HOSTS",
        "*",
        "BREEZE_ALLOWED_HOSTS: must name each host: with * any web page could call, by DNS rebinding",
    ),
    (
        "ALLOWED_HOSTS",
        "https://here",
        "BREEZE_ALLOWED_HOSTS: must be host names without scheme or port, separated by commas",
    ),
    (
        "ALLOWED_HOSTS",
        "here:80",
        "BREEZE_ALLOWED_HOSTS: must be host names without scheme or port, separated by commas",
    ),
    (
        "ALLOWED_ORIGINS",
        "null",
        "BREEZE_ALLOWED_ORIGINS: must name each origin: * and null would let any web page call",
    ),
    (
        "ALLOWED_ORIGINS",
        "app.example",
        "BREEZE_ALLOWED_ORIGINS: must be origins such as https://app.example:8443, separated by commas",
    ),  # one message
    (
        "ALLOWED_ORIGINS",
        "https://app.example/",
        "BREEZE_ALLOWED_ORIGINS: must be origins such as https://app.example:8443, separated by commas",
    ),  # one message
    ("REQUIRED_HEADER", "X-Breeze-Request", f"BREEZE_REQUIRED_HEADER: {A_FIELD}"),
    ("REQUIRED_HEADER", "a b: c", f"BREEZE_REQUIRED_HEADER: {A_FIELD}"),
    (
        "REQUIRED_HEADER",
        "Host: here",
        "BREEZE_REQUIRED_HEADER: must be a field of your own, such as X-Breeze-Request: this one has a meaning in HTTP",
    ),  # one message
    *(
        (
            "TOKEN_CACHE",
            url,
            "BREEZE_TOKEN_CACHE: must be memory://, file:///path, redis://host:port/db or rediss://host:port/db",
        )
        for url in (
            "sqlite:///x",
            "file://x",
            "file:///dir/",
            "redis://",
            "redis://host/x",
            "redis://host:x",
            "redis://host?db=1",
            "memory://x",
        )
    ),
    ("REFRESH_MARGIN", "-1", "BREEZE_REFRESH_MARGIN: must be a number of seconds, at least 0 and at most 86400"),
    ("CONNECT_TIMEOUT", "0", "BREEZE_CONNECT_TIMEOUT: must be a number of seconds, more than 0 and at most 600"),
    ("UPSTREAM_TIMEOUT", "nan", "BREEZE_UPSTREAM_TIMEOUT: must be a number of seconds, more than 0 and at most 3600"),
    ("UPSTREAM_TIMEOUT", "30s", "BREEZE_UPSTREAM_TIMEOUT: must be a number of seconds, more than 0 and at most 3600"),
    (
        "MAX_REQUEST_BYTES",
        "16MB",
        "BREEZE_MAX_REQUEST_BYTES: must be a whole number, at least 1024 and at most 1073741824",
    ),
    ("MAX_CONCURRENCY", "0", "BREEZE_MAX_CONCURRENCY: must be a whole number, at least 1 and at most 10000"),
    (
        "RATE_LIMIT_MAX_WAIT",
        "inf",
        "BREEZE_RATE_LIMIT_MAX_WAIT: must be a number of seconds, at least 0 and at most 3600",
    ),
    ("SHUTDOWN_DELAY", "-0.5", "BREEZE_SHUTDOWN_DELAY: must be a number of seconds, at least 0 and at most 3600"),
    ("SHUTDOWN_GRACE", "x", "BREEZE_SHUTDOWN_GRACE: must be a number of seconds, at least 0 and at most 3600"),
    ("ADMIN_QUIT", "maybe", "BREEZE_ADMIN_QUIT: must be true or false"),
    ("ALLOW_INSECURE_UPSTREAM", "2", "BREEZE_ALLOW_INSECURE_UPSTREAM: must be true or false"),
    ("CA_FILE", "/nowhere/ca.pem", "BREEZE_CA_FILE: /nowhere/ca.pem cannot be read: No such file or directory"),
    ("CA_FILE", "/dev/null", "BREEZE_CA_FILE: /dev/null holds no certificate in PEM form"),
    ("LOG_LEVEL", "loud", "BREEZE_LOG_LEVEL: must be debug, info, warning or error"),
    ("LOG_FORMAT", "xml", "BREEZE_LOG_FORMAT: must be auto, console or json"),
]


@pytest.mark.parametrize(
    ("name", "value", "message"), [pytest.param(*row, id=f"{row[0]}={row[1][:20]}") for row in MATRIX]
)
def test_a_bad_setting_gets_one_line_that_says_what_would_be_right(
    read: Read, name: str, value: str, message: str
) -> None:
    assert problems(read, **{f"BREEZE_{name}": value}) == [message]


@pytest.mark.parametrize("message", sorted({row[2] for row in MATRIX}))
def test_the_documentation_holds_each_message(message: str) -> None:
    assert message in re.sub(r"\s+", " ", DOCS.read_text()), "docs/settings.md misses it"


def test_the_documentation_holds_each_variable_with_its_default() -> None:
    text = DOCS.read_text()
    for name, field in Settings.model_fields.items():
        row = next((line for line in text.splitlines() if line.startswith(f"| `BREEZE_{name.upper()}` |")), "")
        assert row, f"BREEZE_{name.upper()} has no row"
        default = field.default
        if default in {None, "", ()} or field.is_required():
            continue
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        assert f"| `{shown}`" in row, f"BREEZE_{name.upper()}: {shown}"


def test_all_problems_are_told_at_once_and_none_shows_the_input(read: Read) -> None:
    told = problems(
        read,
        BREEZE_CLIENT_ID="",
        BREEZE_CLIENT_SECRET=" secret-in-the-wrong-place",
        BREEZE_PORT="secret-in-the-wrong-place",
        BREEZE_BASE_URL="secret-in-the-wrong-place",
        BREEZE_REQUIRED_HEADER="secret-in-the-wrong-place",
    )
    assert {line.partition(":")[0] for line in told} == {
        f"BREEZE_{name}" for name in ("CLIENT_ID", "CLIENT_SECRET", "PORT", "BASE_URL", "REQUIRED_HEADER")
    }
    assert "wrong-place" not in "\n".join(told)


def test_the_error_holds_no_input_in_its_chain(read: Read) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(BREEZE_PORT="secret-in-the-wrong-place")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_empty_variables_count_as_unset(read: Read) -> None:
    settings = read(BREEZE_PORT="", BREEZE_LOG_LEVEL="", BREEZE_BASE_URL="").settings
    assert (settings.port, settings.log_level, settings.base_url) == (4747, "info", "https://system.upnxt.no")


def test_each_environment_has_its_url(read: Read) -> None:
    assert read(BREEZE_ENVIRONMENT="production").settings.base_url == "https://system.idportal.no"
    assert read(BREEZE_BASE_URL="http://LOCALHOST:80/").settings.base_url == "http://localhost:80"
    assert read(BREEZE_BASE_URL="http://[::1]:80").settings.base_url == "http://[::1]:80"
    allowed = read(BREEZE_BASE_URL="http://breeze", BREEZE_ALLOW_INSECURE_UPSTREAM="true").settings
    assert allowed.base_url == "http://breeze"


def test_flags_go_before_variables_before_dotenv_before_secrets(read: Read, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in ("PORT", "ADMIN_PORT", "LOG_LEVEL"):
        (secrets / f"BREEZE_{name}").write_text({"LOG_LEVEL": "error"}.get(name, "1000") + "\n")
    (secrets / "breeze_connect_timeout").write_text("9\r\n")
    (tmp_path / ".env").write_text(
        "export BREEZE_PORT=1001\nBREEZE_ADMIN_PORT='1002'\nOTHER=x\nBREEZE_UPSTREAM_TIMEOUT=\n"
    )
    settings = read({"BREEZE_PORT": "1003"}, {"admin_port": None, "shutdown_grace": "7"}).settings
    assert (settings.port, settings.admin_port, settings.log_level) == (1003, 1002, "error")
    assert (settings.connect_timeout, settings.shutdown_grace, settings.upstream_timeout) == (9, 7, 30)
    assert read({"BREEZE_PORT": "1003"}, {"port": "1004"}).settings.port == 1004


def test_files_that_cannot_be_read_are_named(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "BREEZE_LOG_LEVEL").write_bytes(b"\xff")
    (tmp_path / ".env").write_bytes(b"BREEZE_PORT=\xff")
    assert problems(read) == [
        f"BREEZE_LOG_LEVEL: {secrets}/BREEZE_LOG_LEVEL must be text in UTF-8",
        ".env: must be text in UTF-8",
    ]

    def refuse(self: Path, *_: object) -> str:
        raise PermissionError(13, "Permission denied")

    (tmp_path / ".env").unlink()
    monkeypatch.setattr(Path, "read_text", refuse)
    assert problems(read) == [
        f"BREEZE_LOG_LEVEL: {secrets}/BREEZE_LOG_LEVEL cannot be read by uid {os.getuid()}: Permission denied"
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(None, "cannot be read: No such file or directory", id="missing"),
        pytest.param(b"", "is empty; it must hold the client secret", id="empty"),
        pytest.param(b"\n", "is empty; it must hold the client secret", id="a line end"),
        pytest.param(b"\xff\xfe", "cannot be read: it is not UTF-8 text", id="not text"),
        pytest.param(b"two\nlines\n", ONE_LINE, id="two lines"),
    ],
)
def test_a_bad_secret_file_is_named(read: Read, tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "the-secret"
    if content is not None:
        file.write_bytes(content)
    (line,) = problems(read, BREEZE_CLIENT_SECRET="", BREEZE_CLIENT_SECRET_FILE=str(file))
    assert line.startswith("BREEZE_CLIENT_SECRET_FILE: ")
    assert str(file) in line
    assert says in line


def test_a_secret_file_of_another_user_is_named(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "the-secret"
    file.write_text("secret")

    def refuse(self: Path, *_: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    (line,) = problems(read, BREEZE_CLIENT_SECRET="", BREEZE_CLIENT_SECRET_FILE=str(file))
    uid = os.getuid()
    assert line == f"BREEZE_CLIENT_SECRET_FILE: {file} may not be read by uid {uid}; change its owner or mode"


def test_the_secret_file_is_read_anew_each_time(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "the-secret"
    file.write_text("first\n")
    settings = read(BREEZE_CLIENT_SECRET="", BREEZE_CLIENT_SECRET_FILE=str(file)).settings
    file.write_text("second\r\n")
    assert settings.read_secret() == "second"


def test_unknown_variables_get_a_warning_with_the_nearest_name(read: Read) -> None:
    warnings = read(BREEZE_CLEINT_ID="x", BREEZE_XYZZY="x").warnings
    assert warnings == [
        "BREEZE_CLEINT_ID is not a setting of breeze-sidecar and is ignored; did you mean BREEZE_CLIENT_ID?",
        "BREEZE_XYZZY is not a setting of breeze-sidecar and is ignored",
    ]


def test_what_kubernetes_injects_is_ignored(read: Read) -> None:
    loaded = read(
        BREEZE_PORT="tcp://10.0.0.1:80",
        BREEZE_SERVICE_HOST="10.0.0.1",
        BREEZE_SERVICE_PORT_HTTP="80",
        BREEZE_PORT_80_TCP_ADDR="10.0.0.1",
    )
    assert loaded.settings.port == 4747
    (warning,) = loaded.warnings
    assert warning.startswith("BREEZE_PORT is ignored: Kubernetes sets it beside a Service named breeze")


def test_lists_and_fields_are_split(read: Read) -> None:
    settings = read(
        BREEZE_ALLOWED_HOSTS="Breeze, sidecar.local,",
        BREEZE_ALLOWED_ORIGINS="https://app.example:8443,http://localhost",
        BREEZE_REQUIRED_HEADER="X-Own:  a value ",
        BREEZE_HOST="[::1]",
    ).settings
    assert settings.allowed_hosts == ("breeze", "sidecar.local")
    assert settings.allowed_origins == ("https://app.example:8443", "http://localhost")
    assert settings.required_header == ("X-Own", "a value")
    assert settings.host == "::1"


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        pytest.param({"HTTPS_PROXY": "http://p:1"}, "https://b.example", "http://p:1", id="https"),
        pytest.param({"https_proxy": "p:1"}, "https://b.example", "http://p:1", id="without a scheme"),
        pytest.param({"ALL_PROXY": "http://p:1"}, "https://b.example", "http://p:1", id="all"),
        pytest.param({"HTTP_PROXY": "http://p:1"}, "https://b.example", None, id="the other scheme's"),
        pytest.param({"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".example"}, "https://b.example", None, id="exempt"),
        pytest.param({"HTTP_PROXY": "http://p:1"}, "http://127.0.0.1:1", None, id="loopback"),
        pytest.param({}, "https://b.example", None, id="none"),
    ],
)
def test_the_proxy_is_the_one_that_the_environment_names(
    read: Read, variables: dict[str, str], url: str, proxy: str | None
) -> None:
    assert read(variables, BREEZE_BASE_URL=url).settings.upstream_proxy() == proxy


def test_the_secret_is_not_in_the_repr(read: Read) -> None:
    settings = read().settings
    assert "a-sample-secret" not in repr(settings) + str(settings)


@pytest.mark.parametrize(
    "url",
    ["memory://", "file:///run/breeze/token", "redis://host", "redis://:pass@host:6380/2", "rediss://user:pass@host/0"],
)
def test_caches(read: Read, url: str) -> None:
    settings = read(BREEZE_TOKEN_CACHE=url).settings
    assert settings.token_cache == url
    assert "pass@" not in repr(settings)


def test_a_password_in_a_flag_is_refused(read: Read) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(flags={"token_cache": "redis://:pass@host"})
    assert caught.value.problems == [
        "BREEZE_TOKEN_CACHE: a password must not stand in a flag, which the process list shows"
    ]


def test_a_cache_without_its_package_says_what_to_install(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("breeze_sidecar.settings.find_spec", lambda _: None)
    (line,) = problems(read, BREEZE_TOKEN_CACHE="rediss://host")
    assert line == (
        "BREEZE_TOKEN_CACHE: redis needs the package cryptography and redis; "
        "pip install 'breeze-sidecar[redis]' brings it"
    )
