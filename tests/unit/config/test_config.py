"""The cascade of configuration (SPEC 7.3)."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from plurnk.config import (
    MAX_SOCKET_PATH_BYTES,
    SANDBOX_GAPS,
    VARIABLES,
    WITHOUT_EFFECT,
    BadConfiguration,
    Settings,
    effective,
    load_settings,
)
from sandbox.host import GAPS


def load(
    home: Path,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    config: str | None = None,
) -> Settings:
    return load_settings({"HOME": str(home), **(environ or {})}, flags or {}, cwd=home, config=config)


def test_defaults_need_nothing(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.host, settings.port, settings.max_turns) == ("127.0.0.1", 3044, 999)
    assert (settings.rpc_timeout_s, settings.exec_timeout_s) == (30.0, math.inf)
    assert settings.db_path == tmp_path / ".local/state/plurnk/plurnk.db"
    assert settings.socket_path == tmp_path / ".local/state/plurnk/run/plurnk.sock"
    assert settings.url_path == tmp_path / ".local/state/plurnk/daemon.url"
    assert settings.warnings == ()
    assert set(settings.sources) >= set(VARIABLES)


@pytest.mark.spec("7.3-cascade")
def test_each_layer_beats_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "plurnk"
    folder.mkdir(parents=True)
    files = (folder / "plurnk.env", tmp_path / ".env", tmp_path / ".env.work")
    names = ("EVENTS_KEEP", "MAX_TURNS", "MAX_COMMANDS", "READ_MAX_CHARS", "PORT", "REASON")
    for layer, path in enumerate(files, 1):
        path.write_text("".join(f"PLURNK_{name}={layer}\n" for name in names[layer:]))
    environ = {f"PLURNK_{name}": "4" for name in names[4:]}
    settings = load(tmp_path, environ, {"PLURNK_REASON": "5"}, config="work")

    found = (
        settings.events_keep,
        settings.max_turns,
        settings.max_commands,
        settings.read_max_chars,
        settings.port,
        settings.reason_tokens,
    )
    assert found == (100000, 1, 2, 3, 4, 5)
    assert [settings.sources[f"PLURNK_{name}"] for name in names] == [
        "default",
        *(str(path) for path in files),
        "environment",
        "flag",
    ]
    assert load(tmp_path, environ).read_max_chars == 2, "without --config its file is not read"


@pytest.mark.spec("7.3-bad-value-stops")
def test_all_bad_values_are_listed(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PLURNK_RESUME=yes\n")
    environ = {"PLURNK_PORT": "99999", "PLURNK_DURABILITY": "some", "PLURNK_HOST": "", "PLURNK_SANDBOX_ACCEPT": "ipc,x"}
    with pytest.raises(BadConfiguration) as caught:
        load(tmp_path, environ, {"PLURNK_MAX_TURNS": "0"}, config="absent")
    missing, *values = sorted(caught.value.detail.splitlines())
    assert values == [
        "PLURNK_DURABILITY=some (environment): expected one of normal, full",
        "PLURNK_HOST= (environment): expected a text that is not empty",
        "PLURNK_MAX_TURNS=0 (flag): expected a whole number, 1 or more",
        "PLURNK_PORT=99999 (environment): expected a whole number from 0 to 65535",
        f"PLURNK_RESUME=yes ({tmp_path}/.env): expected 0 or 1",
        f"PLURNK_SANDBOX_ACCEPT=ipc,x (environment): expected any of {', '.join(SANDBOX_GAPS)}",
    ]
    assert missing.startswith(f"{tmp_path}/.env.absent cannot be read: ")


@pytest.mark.parametrize("name", ["PLURNK_MAX_STRIKES", "PLURNK_MIN_CYCLES", "PLURNK_MAX_CYCLE_PERIOD"])
def test_so_many_turns_are_not_looked_at_again_after_each(tmp_path: Path, name: str) -> None:
    load(tmp_path, {name: "100"})
    with pytest.raises(BadConfiguration):
        load(tmp_path, {name: "101"})


def test_what_a_sandbox_may_lack_has_the_sandbox_own_names(tmp_path: Path) -> None:
    assert tuple(GAPS) == SANDBOX_GAPS
    assert load(tmp_path, {"PLURNK_SANDBOX_ACCEPT": "memory, ipc"}).sandbox_accept == ("memory", "ipc")
    assert load(tmp_path, {}).sandbox_accept == ()


@pytest.mark.parametrize("raw", ["1_000", "1.5", "+1", " 1", "1e3", "\u0661", "9" * 30, "0x10"])
def test_a_number_is_digits(tmp_path: Path, raw: str) -> None:
    with pytest.raises(BadConfiguration):
        load(tmp_path, {"PLURNK_MAX_TURNS": raw})


def test_an_unknown_name_is_a_warning_that_names_the_nearest(tmp_path: Path) -> None:
    settings = load(tmp_path, {"PLURNK_PROT": "1", "PLURNK_MODEL_fast": "demo/x", "PLURNK_MODEL_fast__CONTEXT": "9"})
    assert settings.warnings == ("PLURNK_PROT is no variable of plurnk; the nearest is PLURNK_PORT",)


def test_a_variable_that_nothing_reads_is_a_warning(tmp_path: Path) -> None:
    nothing = sorted(WITHOUT_EFFECT)[:1]
    warnings = load(tmp_path, {name: VARIABLES[name].default for name in nothing}).warnings
    assert warnings == tuple(f"{name} has no effect in this version" for name in nothing)


def test_a_line_of_another_program_is_a_warning_without_its_text(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('A=1\nsecret: hunter2\nB="open\n')
    settings = load(tmp_path)
    assert settings.warnings == (
        f"{tmp_path}/.env:2 is no KEY=VALUE line and was ignored",
        f"{tmp_path}/.env:3 is no KEY=VALUE line and was ignored",
    )
    assert settings.env["A"] == "1"


def test_a_folder_called_env_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert load(tmp_path).warnings == ()


def test_paths_become_absolute(tmp_path: Path) -> None:
    settings = load(tmp_path, {"PLURNK_DB_PATH": "data/x.db", "PLURNK_PERSONA": "~/me.md", "PLURNK_SOCKET": ""})
    assert settings.db_path == tmp_path / "data/x.db"
    assert settings.persona_path == tmp_path / "me.md"
    assert settings.socket_path is None


def test_the_runtime_folder_is_used_when_it_exists(tmp_path: Path) -> None:
    assert load(tmp_path, {"XDG_RUNTIME_DIR": str(tmp_path)}).socket_path == tmp_path / "plurnk/plurnk.sock"
    absent = load(tmp_path, {"XDG_RUNTIME_DIR": str(tmp_path / "absent"), "XDG_STATE_HOME": "relative/ignored"})
    assert absent.socket_path == tmp_path / ".local/state/plurnk/run/plurnk.sock"


def test_a_socket_path_has_a_limit(tmp_path: Path) -> None:
    fits = "/" + "s" * (MAX_SOCKET_PATH_BYTES - 1)
    assert load(tmp_path, {"PLURNK_SOCKET": fits}).socket_path == Path(fits)
    with pytest.raises(BadConfiguration, match="at most 107 bytes"):
        load(tmp_path, {"PLURNK_SOCKET": fits + "s"})


def test_secrets_are_masked(tmp_path: Path) -> None:
    environ = {
        "OPENAI_API_KEY": "sk-1",
        "OPENAI_BASE_URL": "https://me:sk-2@models.example/v1",
        "PLURNK_MODEL_a__API_KEY": "sk-3",
        "PLURNK_MODEL_a__API_KEY_ENV": "MY_KEY",
        "PLURNK_MODEL_b__API_KEY_ENV": "sk-4",
        "PLURNK_MODEL_b__BASE_URL": "https://me:sk@sk-5@models.example/v1",
    }
    settings = load(tmp_path, environ)
    shown = {name: value for name, value, _ in effective(settings)}
    assert shown["OPENAI_BASE_URL"] == "https://********@models.example/v1"
    assert shown["PLURNK_MODEL_a__API_KEY_ENV"] == "MY_KEY"
    assert "sk-" not in str(shown) + repr(settings)


def test_effective_tells_value_and_source(tmp_path: Path) -> None:
    rows = {name: (value, source) for name, value, source in effective(load(tmp_path, {"PLURNK_PORT": "0"}))}
    assert rows["PLURNK_PORT"] == ("0", "environment")
    assert rows["PLURNK_DB_PATH"] == (str(tmp_path / ".local/state/plurnk/plurnk.db"), "default")
    assert list(rows) == list(VARIABLES)


def test_reading_configuration_imports_nothing_heavy() -> None:
    code = "import sys, plurnk.config; print(*({'trio', 'httpx', 'msgspec', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "\n"


@pytest.mark.spec("4.6-fail-closed")
def test_a_projects_own_file_cannot_loosen_the_sandbox(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PLURNK_SANDBOX=off\nPLURNK_SANDBOX_ACCEPT=files\nPLURNK_MAX_TURNS=7\n")
    settings = load(tmp_path)
    assert (settings.sandbox, settings.sandbox_accept, settings.max_turns) == ("workspace", (), 7)
    assert [w.split(" ", 1)[0] for w in settings.warnings] == ["PLURNK_SANDBOX", "PLURNK_SANDBOX_ACCEPT"]
    (tmp_path / ".env.mine").write_text("PLURNK_SANDBOX=off\n")
    assert load(tmp_path, config="mine").sandbox == "workspace"
    own = tmp_path / ".config" / "plurnk" / "plurnk.env"
    own.parent.mkdir(parents=True)
    own.write_text("PLURNK_SANDBOX=read-only\n")
    assert load(tmp_path).sandbox == "read-only"
    assert load(tmp_path, {"PLURNK_SANDBOX": "off"}).sandbox == "off"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "PLURNK_HOST",
            "PLURNK_AUTH",
            "PLURNK_ALLOWED_ORIGINS",
            "PLURNK_INSECURE",
            "PLURNK_TLS_CERT",
            "PLURNK_TLS_KEY",
        ),
        *("OPENAI_BASE_URL", "PLURNK_MODEL_a__BASE_URL", "PLURNK_MODEL_a__API_KEY_ENV", "NEXT_BASE_URL"),
        *("OLLAMA_HOST", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"),
        *("PLURNK_DB_PATH", "PLURNK_SOCKET", "PLURNK_PERSONA", "PLURNK_MOCK_SCRIPT"),
    ],
)
def test_a_projects_own_file_cannot_let_anybody_in_or_send_keys_elsewhere(tmp_path: Path, name: str) -> None:
    (tmp_path / ".env").write_text(f"{name}=1\nPLURNK_MODEL_a=openai/x\nSHOP_API_KEY=sk-1\n")
    settings = load(tmp_path)
    assert settings.sources.get(name, "default") == "default"
    assert name not in settings.env
    assert {"PLURNK_MODEL_a", "SHOP_API_KEY"} <= settings.env.keys()
    assert settings.warnings == (
        f"{name} is not taken from {tmp_path}/.env: a command can write that; plurnk.env is the place",
    )
