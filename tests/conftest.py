"""Rules for every test: a skip says what is missing, and where nothing may be missing it fails the run."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import cast

import pytest

_NEEDS = "needs: "


def pytest_configure() -> None:
    """Let Ctrl-C mean Ctrl-C to the commands that tests start.

    A shell starts what it puts in the background (``./dev test &``) with SIGINT ignored, and children inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a name shorter than pytest's own: it is many a daemon's home, and a socket's path has a limit."""
    return tmp_path_factory.mktemp("t")


def _unwelcome_skips(reporter: pytest.TerminalReporter) -> list[str]:
    """Return a line for each skip that has no ``needs: …`` reason; in CI, where all is installed, for each skip."""
    lines: list[str] = []
    for report in cast("list[pytest.TestReport]", reporter.getreports("skipped")):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if os.environ.get("CI") == "true" or not reason.startswith(_NEEDS):
            lines.append(f"{report.nodeid}: {reason}")
    return lines


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if isinstance(reporter, pytest.TerminalReporter) and exitstatus == 0 and _unwelcome_skips(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = _unwelcome_skips(terminalreporter)
    if lines:
        terminalreporter.section("skips that fail the run", red=True)
        for line in lines:
            terminalreporter.line(line)
