"""Configuration: every variable declared once, and the cascade that gives each its value (SPEC 7.3).

Defaults < ``$XDG_CONFIG_HOME/plurnk/plurnk.env`` < ``./.env`` < ``.env.<name>`` < environment < flags. The
process's own environment is not read here: the caller hands it in.
"""

from __future__ import annotations

import math
import os
import pwd
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from plurnk.dotenv import parse_dotenv
from plurnk.errors import Malformed

T = TypeVar("T")

# sockaddr_un holds 108 bytes, the last one NUL.
MAX_SOCKET_PATH_BYTES: Final = 107
_MASK: Final = "********"

# The sandbox's own names (``sandbox.host.GAPS``), which only streams may import; a test compares them.
SANDBOX_GAPS: Final = (
    "files",
    "metadata",
    "git-hooks",
    "network",
    "loopback",
    "unix-sockets",
    "pid-namespace",
    "signals",
    "ipc",
    "user-namespaces",
    "memory",
    "processes",
)


class BadConfiguration(Malformed):
    """Values that cannot be used; ``detail`` lists all of them, one a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One declared variable. ``default`` may begin with ``$XDG_STATE_HOME`` and the like."""

    name: str
    parse: Callable[[str], object]
    default: str
    help: str

    @property
    def flag(self) -> str:
        return "--" + self.name.removeprefix("PLURNK_").lower().replace("_", "-")


def _variable(name: str, parse: Callable[[str], T], default: str, help_: str) -> T:
    """Declare a field of ``Settings``; typed as what ``parse`` returns, as ``dataclasses.field`` is."""
    variable = Variable(name=name, parse=parse, default=default, help=help_)
    declared: T = field(metadata={"variable": variable})
    return declared


def _text(raw: str) -> str:
    if not raw:
        raise ValueError("a text that is not empty")
    return raw


def _optional_text(raw: str) -> str | None:
    return raw or None


def _optional_path(raw: str) -> Path | None:
    return Path(raw) if raw else None


def _path(raw: str) -> Path:
    return Path(_text(raw))


def _socket_path(raw: str) -> Path | None:
    if len(os.fsencode(raw)) > MAX_SOCKET_PATH_BYTES:
        raise ValueError(f"a path of at most {MAX_SOCKET_PATH_BYTES} bytes, a limit of the operating system")
    return _optional_path(raw)


def _words(raw: str) -> tuple[str, ...]:
    return tuple(re.split(r"[,\s]+", raw.strip(", \t"))) if raw.strip(", \t") else ()


def _words_of(*choices: str) -> Callable[[str], tuple[str, ...]]:
    def parse(raw: str) -> tuple[str, ...]:
        words = _words(raw)
        if not set(words).issubset(choices):
            raise ValueError("any of " + ", ".join(choices))
        return words

    return parse


def _boolean(raw: str) -> bool:
    if raw not in {"0", "1"}:
        raise ValueError("0 or 1")
    return raw == "1"


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return raw

    return parse


def _integer(low: int, high: int | None = None) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if re.fullmatch(r"-?[0-9]{1,18}", raw) and low <= int(raw) and (high is None or int(raw) <= high):
            return int(raw)
        raise ValueError(f"a whole number, {low} or more" if high is None else f"a whole number from {low} to {high}")

    return parse


def _seconds(low_ms: int = 0, *, zero: float = 0.0) -> Callable[[str], float]:
    """Read milliseconds as seconds; ``zero`` is what 0 stands for."""
    whole = _integer(low_ms)
    return lambda raw: whole(raw) / 1000 or zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective configuration; made by ``load_settings`` only.

    Times are in seconds whatever the variable's unit, ``inf`` where 0 means "no limit"; paths are absolute.
    ``env`` is the whole effective environment (provider keys, ``PLURNK_MODEL_<alias>``), ``sources`` says where each
    of its values, and each default, came from, ``files`` are those that were read, ``own_file`` is the one of no
    project, there or not; ``warnings`` are sentences to show once.
    """

    host: str = _variable("PLURNK_HOST", _text, "127.0.0.1", "address to listen on; anything but loopback needs TLS")
    port: int = _variable("PLURNK_PORT", _integer(0, 65535), "3044", "TCP port; 0 takes any free one")
    socket_path: Path | None = _variable(
        "PLURNK_SOCKET", _socket_path, "$XDG_RUNTIME_DIR/plurnk/plurnk.sock", "Unix socket; empty for none"
    )
    db_path: Path = _variable(
        "PLURNK_DB_PATH", _path, "$XDG_STATE_HOME/plurnk/plurnk.db", "database; its folder holds all other state"
    )
    durability: str = _variable(
        "PLURNK_DURABILITY", _choice("normal", "full"), "normal", "full: a commit survives a power cut, at a price"
    )
    auth: str = _variable("PLURNK_AUTH", _choice("peer", "token"), "peer", "token: ask for it on loopback too")
    allowed_origins: tuple[str, ...] = _variable(
        "PLURNK_ALLOWED_ORIGINS", _words, "", "web origins that may connect, separated by commas"
    )
    tls_cert: Path | None = _variable("PLURNK_TLS_CERT", _optional_path, "", "certificate chain, PEM")
    tls_key: Path | None = _variable("PLURNK_TLS_KEY", _optional_path, "", "its private key, PEM")
    insecure: bool = _variable("PLURNK_INSECURE", _boolean, "0", "1: listen beyond loopback without TLS")
    model: str | None = _variable("PLURNK_MODEL", _optional_text, "", "alias of the model to use")
    persona_path: Path | None = _variable(
        "PLURNK_PERSONA", _optional_path, "", "file with the persona; empty for the one that comes with plurnk"
    )
    reason_tokens: int = _variable("PLURNK_REASON", _integer(0), "0", "reasoning tokens to ask a model for")
    preview_chars: int = _variable(
        "PLURNK_ENTRY_SIZE_DEFAULT_TOKENS", _integer(1), "256", "characters of a preview in the index"
    )
    read_max_chars: int = _variable("PLURNK_READ_MAX_CHARS", _integer(1), "262144", "characters that one READ returns")
    sandbox: str = _variable(
        "PLURNK_SANDBOX",
        _choice("read-only", "workspace", "workspace-net", "off"),
        "workspace",
        "profile in which commands run",
    )
    sandbox_accept: tuple[str, ...] = _variable(
        "PLURNK_SANDBOX_ACCEPT",
        _words_of(*SANDBOX_GAPS),
        "",
        "what the sandbox may lack on this machine, separated by commas; plurnk doctor names it",
    )
    events_keep: int = _variable("PLURNK_EVENTS_KEEP", _integer(1), "100000", "events kept for each session")
    resume: bool = _variable("PLURNK_RESUME", _boolean, "1", "0: end interrupted loops at start instead of resuming")
    log_level: str = _variable(
        "PLURNK_LOG_LEVEL", _choice("debug", "info", "warning", "error"), "info", "least level that is logged"
    )
    debug: bool = _variable("PLURNK_DEBUG", _boolean, "0", "1: log prompts and answers too")
    max_turns: int = _variable("PLURNK_MAX_TURNS", _integer(1), "999", "turns of a loop")
    max_commands: int = _variable("PLURNK_MAX_COMMANDS", _integer(1), "99", "statements of a turn that are run")
    max_strikes: int = _variable(
        "PLURNK_MAX_STRIKES", _integer(0, 100), "3", "bad turns in a row that end a loop; 0: none"
    )
    min_cycles: int = _variable("PLURNK_MIN_CYCLES", _integer(2, 100), "3", "repetitions that make a cycle")
    max_cycle_period: int = _variable(
        "PLURNK_MAX_CYCLE_PERIOD", _integer(1, 100), "4", "longest cycle looked for, in turns"
    )
    max_wakes: int = _variable("PLURNK_MAX_WAKES", _integer(0), "16", "wake loops in a row without a user's prompt")
    rpc_timeout_s: float = _variable("PLURNK_RPC_TIMEOUT", _seconds(1), "30000", "limit of a short request, ms")
    loop_timeout_s: float = _variable("PLURNK_LOOP_TIMEOUT", _seconds(1), "86400000", "limit of a loop, ms")
    proposal_timeout_s: float = _variable(
        "PLURNK_PROPOSAL_TIMEOUT_MS", _seconds(zero=math.inf), "300000", "limit of a proposal's wait, ms; 0: none"
    )
    fetch_timeout_s: float = _variable("PLURNK_FETCH_TIMEOUT", _seconds(1), "600000", "limit of a provider call, ms")
    provider_retries: int = _variable("PLURNK_PROVIDER_RETRIES", _integer(0), "4", "retries of a failed provider call")
    match_timeout_s: float = _variable("PLURNK_MATCH_TIMEOUT_MS", _seconds(1), "2000", "limit of a matcher, ms")
    settle_s: float = _variable("PLURNK_SETTLE_MS", _seconds(), "2000", "wait of a turn for the streams it started, ms")
    park_s: float = _variable("PLURNK_PARK_MS", _seconds(), "3600000", "longest wait after SEND[202], ms")
    exec_timeout_s: float = _variable(
        "PLURNK_EXEC_TIMEOUT_MS", _seconds(zero=math.inf), "0", "limit of a command, ms; 0: none"
    )
    exec_kill_grace_s: float = _variable("PLURNK_EXEC_KILL_GRACE_MS", _seconds(), "2000", "time from TERM to KILL, ms")
    drain_s: float = _variable("PLURNK_DRAIN_MS", _seconds(), "5000", "time for live loops when the daemon stops, ms")
    max_message_bytes: int = _variable(
        "PLURNK_MAX_MESSAGE_BYTES", _integer(1024), "16777216", "largest message that a client may send"
    )
    metrics: bool = _variable("PLURNK_METRICS", _boolean, "0", "1: Prometheus text at /metrics")

    env: Mapping[str, str] = field(repr=False)
    sources: Mapping[str, str] = field(repr=False)
    files: tuple[Path, ...] = field(repr=False)
    own_file: Path = field(repr=False)
    warnings: tuple[str, ...] = field(repr=False)

    @property
    def state_dir(self) -> Path:
        """The private folder of database, token, ``daemon.url`` and log."""
        return self.db_path.parent

    @property
    def url_path(self) -> Path:
        """Where the daemon writes its bound ``ws://…`` URL."""
        return self.state_dir / "daemon.url"

    @property
    def token_path(self) -> Path:
        return self.state_dir / "token"


VARIABLES: Final[Mapping[str, Variable]] = MappingProxyType(
    {entry.metadata["variable"].name: entry.metadata["variable"] for entry in fields(Settings) if entry.metadata}
)
# Declared by the specification and checked here, but nothing reads them yet. A test holds this list to the truth.
WITHOUT_EFFECT: Final = frozenset({"PLURNK_DEBUG", "PLURNK_METRICS"})
FIELDS: Final = {entry.metadata["variable"].name: entry.name for entry in fields(Settings) if entry.metadata}
_PATHS: Final = ("PLURNK_SOCKET", "PLURNK_DB_PATH", "PLURNK_TLS_CERT", "PLURNK_TLS_KEY", "PLURNK_PERSONA")

# The operator says who may come in, what a command may do, which files are ours or sent, and where keys and prompts go.
_OPERATORS: Final = re.compile(
    r"PLURNK_(SANDBOX(_ACCEPT)?|HOST|AUTH|ALLOWED_ORIGINS|INSECURE|TLS_CERT|TLS_KEY|DB_PATH|SOCKET|PERSONA|MOCK_SCRIPT)"
    r"|\w+_BASE_URL|OLLAMA_HOST|\w+__API_KEY_ENV|(OPENAI|ANTHROPIC|GEMINI)_API_KEY"
)

# Read by providers, not by us: (name, help). Those that hold a secret are masked by their names.
PROVIDER_VARIABLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ANTHROPIC_API_KEY": "key of provider `anthropic`",
        "ANTHROPIC_BASE_URL": "its server, if another than Anthropic's",
        "GEMINI_API_KEY": "key of provider `google`",
        "OLLAMA_HOST": "server of provider `ollama`, as ollama spells it; 127.0.0.1:11434 when it is not set",
        "OPENAI_API_KEY": "key of provider `openai`",
        "OPENAI_BASE_URL": "its server, if another than OpenAI's: any that speaks Chat Completions",
        "PLURNK_MOCK_SCRIPT": "script of provider `mock`",
    }
)


def load_settings(
    environ: Mapping[str, str], flags: Mapping[str, str], *, cwd: Path, config: str | None = None
) -> Settings:
    """Run the cascade. ``flags`` is keyed by variable; ``config`` names the file ``.env.<config>`` in ``cwd``.

    Raises:
        BadConfiguration: a declared variable has a bad value, or the file of ``config`` cannot be read. All that
            is wrong is listed.
    """
    problems: list[str] = []
    warnings: list[str] = []
    home = _home(environ)
    folders = _own_folders(environ, home)
    # A folder of that name is some tool's virtual environment.
    own_file = folders["$XDG_CONFIG_HOME/plurnk"] / "plurnk.env"
    files = [path for path in (own_file, cwd / ".env") if path.is_file()]
    if config is not None:
        files.append(cwd / f".env.{config}")
    layers = [(str(path), _read(path, problems, warnings, is_own=path.parent != cwd)) for path in files]
    layers += [("environment", environ), ("flag", flags)]

    env: dict[str, str] = {}
    sources = dict.fromkeys(VARIABLES, "default")
    for source, layer in layers:
        env.update(layer)
        sources.update(dict.fromkeys(layer, source))

    values: dict[str, Any] = {}
    for name, variable in VARIABLES.items():
        raw = env[name] if name in env else _expand(variable.default, folders)
        try:
            values[FIELDS[name]] = variable.parse(_absolute(raw, cwd, home) if name in _PATHS else raw)
        except ValueError as error:
            problems.append(f"{name}={raw} ({sources[name]}): expected {error}")
    if problems:
        raise BadConfiguration("\n".join(problems))
    warnings += [_unknown(name) for name in sorted(env) if not _is_known(name)]
    warnings += [f"{name} has no effect in this version" for name in sorted(WITHOUT_EFFECT & env.keys())]
    return Settings(
        **values,
        env=MappingProxyType(env),
        sources=MappingProxyType(sources),
        files=tuple(files),
        own_file=own_file,
        warnings=tuple(warnings),
    )


def effective(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield ``(name, value, source)`` of every declared variable and of what providers read, secrets masked."""
    for name, variable in VARIABLES.items():
        value = settings.env.get(name, variable.default)
        if name in _PATHS:
            value = str(getattr(settings, FIELDS[name]) or "")
        yield name, value, settings.sources[name]
    for name in sorted(settings.env):
        if name.startswith("PLURNK_MODEL_") or name in PROVIDER_VARIABLES:
            yield name, _masked(name, settings.env[name]), settings.sources[name]


def _masked(name: str, value: str) -> str:
    mistaken = name.endswith("__API_KEY_ENV") and not re.fullmatch("[A-Z][A-Z0-9_]*", value)  # It may be the key.
    if value and (mistaken or name.endswith(("KEY", "TOKEN", "SECRET", "PASSWORD"))):
        return _MASK
    return re.sub(r"(?<=://)[^/\s]+(?=@)", _MASK, value)


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)


def _own_folders(environ: Mapping[str, str], home: Path) -> Mapping[str, Path]:
    """Return our own folders by what defaults call them."""

    def base(name: str, default: Path) -> Path:
        path = Path(environ.get(name, ""))
        return path if path.is_absolute() else default  # a relative one is to be ignored, says the XDG standard

    state = base("XDG_STATE_HOME", home / ".local" / "state") / "plurnk"
    runtime = base("XDG_RUNTIME_DIR", state)
    return {
        "$XDG_CONFIG_HOME/plurnk": base("XDG_CONFIG_HOME", home / ".config") / "plurnk",
        "$XDG_STATE_HOME/plurnk": state,
        # Often named without being made (su, containers).
        "$XDG_RUNTIME_DIR/plurnk": runtime / "plurnk" if runtime != state and runtime.is_dir() else state / "run",
    }


def _expand(default: str, folders: Mapping[str, Path]) -> str:
    for name, path in folders.items():
        default = default.replace(name, str(path))
    return default


def _absolute(raw: str, cwd: Path, home: Path) -> str:
    if not raw:
        return ""
    return str(home / raw[2:] if raw.startswith("~/") else cwd / raw)


def _read(path: Path, problems: list[str], warnings: list[str], *, is_own: bool) -> Mapping[str, str]:
    """``is_own`` False: the file came with a project, or a command in the sandbox wrote it."""
    try:
        found, strange = parse_dotenv(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path} cannot be read: {error}")
        return {}
    # No more than a warning, and never the line's text: the file may be another program's and hold its secrets.
    warnings += [f"{path}:{number} is no KEY=VALUE line and was ignored" for number in strange]
    refused = () if is_own else sorted(filter(_OPERATORS.fullmatch, found))
    warnings += [
        f"{name} is not taken from {path}: a command can write that; plurnk.env is the place" for name in refused
    ]
    return {name: value for name, value in found.items() if name not in refused}


def _is_known(name: str) -> bool:
    return (
        not name.startswith("PLURNK_")
        or name.startswith("PLURNK_MODEL_")
        or name in {**VARIABLES, **PROVIDER_VARIABLES}
    )


def _unknown(name: str) -> str:
    import difflib  # noqa: PLC0415  (wanted for a mistake only)

    nearest = difflib.get_close_matches(name, [*VARIABLES, *PROVIDER_VARIABLES], n=1, cutoff=0.0)[0]
    return f"{name} is no variable of plurnk; the nearest is {nearest}"
