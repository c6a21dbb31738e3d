"""Targets, the entries that they name, and their canonical spelling (SPEC 1.3)."""

from __future__ import annotations

import pytest

from plurnk.errors import Malformed
from plurnk.language import AUTHORITY_SCHEMES, LocalTarget, UrlTarget, canonical, entry_pathname, parse_target
from plurnk.language.ast import Copy, Edit, Move, Read, Send
from plurnk.language.targets import check_file_targets, entry_address, localized


@pytest.mark.parametrize(
    "raw",
    [
        "src/app.py",
        "a b",
        "",
        "/etc/passwd",
        "mailto:x",
        "C:\\x",
        "1a://b",
        "+a://b",
        "a_b://c",
        "://x",
        "é://x",
        "%41",
    ],
)
def test_what_is_no_url_is_local_and_raw(raw: str) -> None:
    assert parse_target(raw) == LocalTarget(raw=raw)


@pytest.mark.spec("1.3-entry-path-no-host")
@pytest.mark.parametrize(
    ("raw", "scheme", "pathname"),
    [
        ("known://a/b", "known", "a/b"),
        ("known:///a/b", "known", "a/b"),
        ("known:////a/b", "known", "/a/b"),
        ("known://", "known", ""),
        ("known:///", "known", ""),
        ("KNOWN://A/B", "known", "A/B"),
        ("known://user:pw@host:80/x", "known", "user:pw@host:80/x"),
        ("known://[::1]:x", "known", "[::1]:x"),
        ("log://1/2/3/EDIT", "log", "1/2/3/EDIT"),
        ("exec://sh-1", "exec", "sh-1"),
        ("file:///src/a.py", "file", "src/a.py"),
        ("a1+.-://x", "a1+.-", "x"),
        ("nobody-knows://h/p", "nobody-knows", "h/p"),
        ("known://a%20b", "known", "a%20b"),
    ],
)
def test_an_entry_scheme_has_no_host(raw: str, scheme: str, pathname: str) -> None:
    assert parse_target(raw) == UrlTarget(raw=raw, scheme=scheme, pathname=pathname)


@pytest.mark.parametrize(
    ("rest", "params", "fragment"),
    [
        ("", {}, None),
        ("#stderr", {}, "stderr"),
        ("#", {}, ""),
        ("#a#b?c", {}, "a#b?c"),
        ("?", {}, None),
        ("?a=1&b=x%20y+z", {"a": "1", "b": "x y z"}, None),
        ("?a=1&a=2&a=3&b=", {"a": ["1", "2", "3"], "b": ""}, None),
        ("?a?b=c#d", {"a?b": "c"}, "d"),
        ("?flag", {"flag": ""}, None),
    ],
)
@pytest.mark.parametrize("head", ["known://x", "http://x"])
def test_query_and_fragment(head: str, rest: str, params: dict[str, str | list[str]], fragment: str | None) -> None:
    target = parse_target(head + rest)
    assert isinstance(target, UrlTarget)
    assert (target.params, target.fragment) == (params, fragment)


@pytest.mark.spec("1.3-authority-schemes")
@pytest.mark.parametrize("scheme", sorted(AUTHORITY_SCHEMES))
def test_a_network_scheme_has_an_authority(scheme: str) -> None:
    raw = f"{scheme.upper()}://me:p%40:w@Example.ORG:8080/a/b?q=1#f"
    assert parse_target(raw) == UrlTarget(
        raw=raw,
        scheme=scheme,
        username="me",
        password="p%40:w",
        hostname="example.org",
        port=8080,
        pathname="/a/b",
        params={"q": "1"},
        fragment="f",
    )


@pytest.mark.spec("1.3-authority-schemes")
@pytest.mark.parametrize(
    ("authority", "username", "password", "hostname", "port"),
    [
        ("h", None, None, "h", None),
        ("h:", None, None, "h", None),
        ("h:0", None, None, "h", 0),
        ("h:65535", None, None, "h", 65535),
        ("u@h", "u", None, "h", None),
        ("u:@h", "u", "", "h", None),
        ("@h", "", None, "h", None),
        ("a@b@h", "a@b", None, "h", None),
        ("[::1]", None, None, "::1", None),
        ("[::FFFF:1.2.3.4]:80", None, None, "::ffff:1.2.3.4", 80),
        ("[v1.x:y]", None, None, "v1.x:y", None),
        ("bücher.example", None, None, "bücher.example", None),
        ("a%20b", None, None, "a%20b", None),
    ],
)
def test_authorities(
    authority: str, username: str | None, password: str | None, hostname: str, port: int | None
) -> None:
    raw = f"http://{authority}"
    assert parse_target(raw) == UrlTarget(
        raw=raw, scheme="http", username=username, password=password, hostname=hostname, port=port
    )


@pytest.mark.spec("1.3-authority-schemes")
@pytest.mark.parametrize(
    ("authority", "detail"),
    [
        ("", "expected host in target; got ''"),
        (":80", "expected host in target; got ''"),
        ("a b", "expected host in target; got 'a b'"),
        ("a%2", "expected host in target; got 'a%2'"),
        ("a]", "expected host in target; got 'a]'"),
        ("[", "expected an address in '[…]' as host in target; got '['"),
        ("[::1", "expected an address in '[…]' as host in target; got '[::1'"),
        ("[]", "expected an address in '[…]' as host in target; got '[]'"),
        ("[x]", "expected an address in '[…]' as host in target; got '[x]'"),
        ("[::1]x", "expected ':' after the host in target; got 'x'"),
        ("h:x", "expected port number in target; got 'x'"),
        ("h:65536", "expected port number in target; got '65536'"),
        ("h:-1", "expected port number in target; got '-1'"),
        ("h:٣", "expected port number in target; got '٣'"),
        ("h:1:2", "expected port number in target; got '1:2'"),
        ("h:" + "9" * 10**5, "expected port number in target; got '" + "9" * 32 + "…'"),
    ],
)
def test_broken_authorities(authority: str, detail: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_target(f"http://{authority}")
    assert caught.value.detail == detail


@pytest.mark.spec("1.3-no-dot-segments")
@pytest.mark.parametrize(
    ("raw", "pathname"),
    [
        ("known://a/b", "a/b"),
        ("known://a%20b%2Fc", "a b/c"),
        ("known://%C3%A9é", "éé"),
        ("known://%2541", "%41"),
        ("known://100%", "100%"),
        ("known://a%zz", "a%zz"),
        ("known://...", "..."),
        ("known://.a/b.", ".a/b."),
        ("known://a//b", "a//b"),
        ("known://", ""),
        ("a/../b%41", "a/../b%41"),
    ],
)
def test_the_pathname_is_decoded_once(raw: str, pathname: str) -> None:
    assert entry_pathname(parse_target(raw)) == pathname


@pytest.mark.spec("1.3-no-dot-segments")
@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        ("known://..", "unexpected segment '..' in known://.."),
        ("known://.", "unexpected segment '.' in known://."),
        ("known://a/../b", "unexpected segment '..' in known://a/../b"),
        ("known://a/./b", "unexpected segment '.' in known://a/./b"),
        ("known://a/%2E%2e/b", "unexpected segment '..' in known://a/%2E%2e/b"),
        ("known://a%2F..%2Fb", "unexpected segment '..' in known://a%2F..%2Fb"),
        ("known://a%00b", "unexpected NUL in known://a%00b"),
        ("known://a\0b", "unexpected NUL in known://aU+0000b"),
        ("a\0b", "unexpected NUL in aU+0000b"),
        ("known://%FF", "expected UTF-8 in the escapes of %FF"),
    ],
)
def test_an_entry_path_never_walks(raw: str, detail: str) -> None:
    with pytest.raises(Malformed) as caught:
        entry_pathname(parse_target(raw))
    assert caught.value.detail == detail


@pytest.mark.spec("1.3-canonical")
@pytest.mark.parametrize(
    ("raw", "spelling"),
    [
        ("known://a/b", "known://a/b"),
        ("KNOWN:///a/b#c", "known://a/b"),
        ("known://a?x=1#c", "known://a"),
        ("known://%61%20b", "known://a b"),
        ("known://a%3Fb%23c%29d", "known://a%3Fb%23c%29d"),
        ("known://a%253Fb", "known://a%253Fb"),
        ("known://100%25", "known://100%"),
        ("known://100%", "known://100%"),
        ("known://%3C%3Ca", "known://%3C<a"),
        ("known://a%0Ab", "known://a%0Ab"),
        ("known:////a", "known:////a"),
        ("known://%2Fa", "known:////a"),
        ("known://a/../b", "known://a/../b"),
        ("known://%FF", "known://%FF"),
        ("src/a%20b.py", "src/a%20b.py"),
        ("file:///src/a%20b.py", "src/a b.py"),
        ("http://u:p@H:80/a%41?q=1#f", "http://h:80/aA?q=1"),
        ("http://[::1]", "http://[::1]/"),
    ],
)
def test_one_canonical_spelling(raw: str, spelling: str) -> None:
    assert canonical(parse_target(raw)) == spelling


@pytest.mark.spec("1.3-canonical")
@pytest.mark.parametrize(
    "pathname", ["a", "/a", "//a", "a%41b", "100%", "%", "a?b#c)d", "<<<<", "\n\r\x7f", "é 𝄞", "?", ""]
)
def test_a_canonical_spelling_names_the_same_entry(pathname: str) -> None:
    spelling = entry_address("known", pathname)
    again = parse_target(spelling)
    assert entry_pathname(again) == pathname
    assert canonical(again) == spelling


@pytest.mark.parametrize(
    ("target", "bare"),
    [
        ("file:///a/b.md", "a/b.md"),
        ("FILE://a/b.md", "a/b.md"),
        ("file:////etc/x", "/etc/x"),
        ("file:///a%20b%23c.md#body", "a b#c.md"),
        ("file:///a.md?x=1#", "a.md"),
        ("file://../x", "../x"),
        ("a/b.md", "a/b.md"),
    ],
)
def test_a_file_is_the_same_target_however_it_is_spelled(target: str, bare: str) -> None:
    statement = Read(target=parse_target(target))
    check_file_targets(statement)
    assert localized(statement) == Read(target=LocalTarget(raw=bare))


def test_both_ends_of_a_transfer_are_localized_and_nothing_else_is() -> None:
    known, file = parse_target("known://a#body"), parse_target("file:///a")
    local = LocalTarget(raw="a")
    assert localized(Copy(target=known, body=file)) == Copy(target=known, body=local)
    assert localized(Move(target=file, body=known)) == Move(target=local, body=known)
    assert localized(Move(target=file)) == Move(target=local)
    untouched = Edit(target=known, body="file:///a")
    assert localized(untouched) == untouched
    assert localized(Send(signal=200)) == Send(signal=200)


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        ("file:///a.md#stdout", "a.md has one channel, body; it has no 'stdout'"),
        ("file:///a%FFb", "expected UTF-8 in the escapes of a%FFb"),
        ("file:///a?version=1", "a version of a can only be brought back, by an EDIT of it"),
    ],
)
def test_a_file_target_that_means_nothing_is_refused_without_its_scheme(target: str, detail: str) -> None:
    for statement in (Read(target=parse_target(target)), Copy(target=LocalTarget(raw="a"), body=parse_target(target))):
        with pytest.raises(Malformed) as caught:
            check_file_targets(statement)
        assert caught.value.detail == detail
        assert "file:" not in str(localized(statement))


def test_the_version_of_a_file_that_is_to_come_back_stays_with_its_target() -> None:
    edit = Edit(target=parse_target("file:///a%20b?version=3"))
    assert localized(edit) == edit
    assert localized(Edit(target=parse_target("file:///a%20b?else=3"))) == Edit(target=LocalTarget(raw="a b"))
    assert localized(Read(target=parse_target("file:///a?version=3"))) == Read(target=LocalTarget(raw="a"))
