"""Which backend a policy gets, what is said to be missing, and that what is missing is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbox.host import GAPS, PROFILES, Host
from sandbox.limits import LimitsReport
from sandbox.policy import Policy, Profile
from sandbox.process import NotEnforced
from sandbox.report import report

FULL = Host(
    kernel="6.18.0",
    machine="x86_64",
    is_root=False,
    bubblewrap="/usr/bin/bwrap",
    bubblewrap_version=(0, 8, 0),
    bubblewrap_reason="",
    landlock_abi=7,
    landlock_reason="",
    has_seccomp=True,
    seccomp_reason="",
    limits=LimitsReport(memory="cgroup v2", processes="cgroup v2"),
)
LANDLOCK = replace(FULL, bubblewrap=None, bubblewrap_version=(), bubblewrap_reason="bubblewrap is not installed")
NEITHER = replace(LANDLOCK, landlock_abi=0, landlock_reason="this kernel has no Landlock")

WITHOUT_NAMESPACES = {"metadata", "git-hooks", "loopback", "unix-sockets", "pid-namespace", "ipc"}


def _missing(host: Host, profile: Profile = "workspace", *, has_network: bool | None = None) -> set[str]:
    return {gap.name for gap in host.enforcement(profile, has_network=has_network).missing}


def _policy(profile: Profile = "workspace") -> Policy:
    return Policy(profile=profile, root="/srv/project")


@pytest.mark.parametrize("profile", PROFILES)
def test_with_bubblewrap_nothing_is_missing(profile: Profile) -> None:
    found = FULL.enforcement(profile)
    assert (found.backend, found.missing, found.tree) == ("bubblewrap", (), "PID namespace")
    assert FULL.choose(_policy(profile)) == found


def test_with_landlock_what_takes_namespaces_is_missing() -> None:
    assert LANDLOCK.enforcement("workspace").backend == "landlock"
    assert _missing(LANDLOCK) == WITHOUT_NAMESPACES
    assert _missing(LANDLOCK, "read-only") == WITHOUT_NAMESPACES - {"git-hooks"}
    assert _missing(LANDLOCK, "workspace-net") == WITHOUT_NAMESPACES - {"loopback"}
    assert _missing(LANDLOCK, has_network=True) == WITHOUT_NAMESPACES - {"loopback"}


@pytest.mark.parametrize(
    ("abi", "more"), [(7, set[str]()), (6, set[str]()), (5, {"signals"}), (3, {"signals"}), (2, {"signals", "files"})]
)
def test_older_versions_of_landlock_miss_more(abi: int, more: set[str]) -> None:
    assert _missing(replace(LANDLOCK, landlock_abi=abi)) == WITHOUT_NAMESPACES | more


def test_without_a_filter_the_network_is_open_but_for_tcp() -> None:
    host = replace(LANDLOCK, has_seccomp=False, seccomp_reason="there is no filter for riscv64")
    assert _missing(host) == WITHOUT_NAMESPACES | {"network", "user-namespaces"}
    reasons = {gap.name: gap.reason for gap in host.enforcement("workspace").missing}
    assert reasons["network"] == "only TCP is denied: there is no filter for riscv64"
    assert _missing(replace(host, landlock_abi=3)) == (
        WITHOUT_NAMESPACES | {"network", "user-namespaces", "signals"} - {"loopback"}
    ) - {"loopback"}


def test_without_landlock_files_are_missing_in_every_profile() -> None:
    assert NEITHER.enforcement("workspace").backend == "none"
    assert _missing(NEITHER) == WITHOUT_NAMESPACES | {"files", "signals"}
    assert _missing(NEITHER, "read-only") == WITHOUT_NAMESPACES | {"files", "signals"}


@pytest.mark.parametrize("host", [LANDLOCK, NEITHER])
def test_off_promises_its_tree_and_that_is_kept_everywhere(host: Host) -> None:
    found = host.choose(_policy("off"))
    assert (found.backend, found.missing) == ("none", ())
    assert found.tree.startswith("supervisor")


def test_limits_that_nothing_holds_are_missing_with_every_backend() -> None:
    for host in (FULL, LANDLOCK):
        root = replace(host, limits=LimitsReport(memory="rlimit (per process)", processes="none"), is_root=True)
        assert _missing(root) - _missing(host) == {"processes"}
        nothing = replace(host, limits=LimitsReport(memory="none", processes="none"))
        assert _missing(nothing) - _missing(host) == {"memory", "processes"}


def test_the_rlimit_of_processes_is_per_command_only_in_a_user_namespace_of_its_own() -> None:
    limits = LimitsReport(memory="rlimit (per process)", processes="rlimit (per command)")
    assert replace(FULL, limits=limits).enforcement("workspace").processes == "rlimit (per command)"
    assert replace(LANDLOCK, limits=limits).enforcement("workspace").processes == (
        "rlimit (of all of the user's processes)"
    )


@pytest.mark.spec("4.6-fail-closed")
def test_what_is_missing_is_refused_with_the_reason_and_the_way_out() -> None:
    with pytest.raises(NotEnforced) as refused:
        LANDLOCK.choose(_policy(), how_to_accept="SANDBOX_ACCEPT={names}")
    assert set(refused.value.missing) == WITHOUT_NAMESPACES
    message = str(refused.value)
    assert "bubblewrap is not installed: install bubblewrap" in message
    assert len(message) < 300, "it is read in a row of a log; the report has the reason for each"
    names = message.rpartition("SANDBOX_ACCEPT=")[2]
    assert LANDLOCK.choose(_policy(), names.split(",")).backend == "landlock"


@pytest.mark.spec("4.6-fail-closed")
def test_all_that_is_missing_has_to_be_accepted() -> None:
    for name in WITHOUT_NAMESPACES:
        with pytest.raises(NotEnforced) as refused:
            LANDLOCK.choose(_policy(), WITHOUT_NAMESPACES - {name})
        assert refused.value.missing == (name,)


@pytest.mark.spec("4.6-fail-closed")
def test_a_grant_of_the_network_is_judged_as_the_network() -> None:
    host = replace(LANDLOCK, has_seccomp=False, seccomp_reason="there is no filter")
    with pytest.raises(NotEnforced) as refused:
        host.choose(_policy())
    assert "network" in refused.value.missing
    assert host.choose(replace(_policy(), network=True), GAPS.keys() - {"network"}).has_network


def test_a_bubblewrap_that_does_not_work_says_why() -> None:
    host = replace(
        LANDLOCK, bubblewrap_reason="bubblewrap 0.8.0 does not work here: No permissions to create a namespace"
    )
    with pytest.raises(NotEnforced, match="No permissions to create a namespace"):
        host.choose(_policy())


@pytest.mark.spec("4.6-doctor-tells-truth")
def test_the_report_names_each_profile_backend_and_gap() -> None:
    for host in (FULL, LANDLOCK, NEITHER):
        text = "\n".join(report(host))
        for profile in PROFILES:
            found = host.enforcement(profile)
            part = text.partition(f"\n{profile}: {found.backend}\n")[2].partition("\n\n")[0]
            assert [line.split()[1].rstrip(":") for line in part.splitlines() if line.startswith("  MISSING")] == [
                gap.name for gap in found.missing
            ]
            assert f"memory      {found.memory}" in part
            assert f"processes   {found.processes}" in part
            assert all(f"note        {note}" in part for note in found.notes)
        assert (host.bubblewrap_reason or "0.8.0, /usr/bin/bwrap") in text


def test_every_gap_has_a_name_that_is_explained() -> None:
    hosts = [replace(NEITHER, has_seccomp=False, limits=LimitsReport(memory="none", processes="none")), LANDLOCK]
    assert {name for host in hosts for profile in PROFILES for name in _missing(host, profile)} == GAPS.keys()
