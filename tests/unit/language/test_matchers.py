"""Matcher dialects, and what of them compiles (SPEC 1.4)."""

from __future__ import annotations

import re

import pytest

from plurnk.errors import Malformed
from plurnk.language import (
    GlobMatcher,
    JsonpathMatcher,
    Matcher,
    RegexMatcher,
    XpathMatcher,
    parse_matcher,
    to_python_regex,
)
from plurnk.language.jsonpath import MAX_JSONPATH_CHARS, check_jsonpath
from plurnk.language.regex import MAX_REGEX_CHARS, check_regex
from plurnk.language.xpath import MAX_XPATH_CHARS, check_xpath


@pytest.mark.spec("1.4-matcher-dialects")
@pytest.mark.parametrize(
    ("raw", "matcher"),
    [
        ("*.py", GlobMatcher(raw="*.py")),
        ("", GlobMatcher(raw="")),
        (" /a/", GlobMatcher(raw=" /a/")),
        ("[", GlobMatcher(raw="[")),
        ("/a/", RegexMatcher(raw="/a/", pattern="a")),
        ("/a/gimsu", RegexMatcher(raw="/a/gimsu", pattern="a", flags="gimsu")),
        (r"/a\/b\\/i", RegexMatcher(raw=r"/a\/b\\/i", pattern=r"a/b\\", flags="i")),
        ("/a\nb/", RegexMatcher(raw="/a\nb/", pattern="a\nb")),
        ("$", JsonpathMatcher(raw="$")),
        ("$.a[0]", JsonpathMatcher(raw="$.a[0]")),
        ("//a", XpathMatcher(raw="//a")),
    ],
)
def test_the_first_characters_tell_the_dialect(raw: str, matcher: Matcher) -> None:
    assert parse_matcher(raw) == matcher


@pytest.mark.spec("1.4-matcher-dialects")
@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        ("/", "expected '/' at the end of regex; got end of body"),
        ("/a", "expected '/' at the end of regex; got end of body"),
        (r"/a\/", "expected '/' at the end of regex; got end of body"),
        ("/a/x", "expected flags of 'gimsu' after regex; got 'x'"),
        ("/a/b/", "expected flags of 'gimsu' after regex; got 'b'"),
        ("/a/g\n", r"expected flags of 'gimsu' after regex; got '\n'"),
        ("/[/]/", "expected flags of 'gimsu' after regex; got ']'"),
        ("/[/", "broken regex: expected ']'; got end of regex"),
        ("$x", "broken jsonpath: expected end of jsonpath; got 'x'"),
        ("//", "broken xpath: expected a step; got end of xpath"),
    ],
)
def test_what_does_not_compile_is_refused(raw: str, detail: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_matcher(raw)
    assert caught.value.detail == detail


@pytest.mark.spec("1.4-regex-portable")
@pytest.mark.parametrize(
    ("pattern", "python"),
    [
        ("(?<year>[0-9]{4})-(?<month>[0-9]+)", "(?P<year>[0-9]{4})-(?P<month>[0-9]+)"),
        ("(?<=a)b(?<!c)(?=d)(?!e)(?:f)", "(?<=a)b(?<!c)(?=d)(?!e)(?:f)"),
        (r"\(?<a>", r"\(?<a>"),
        (r"\\(?<a>b)", r"\\(?P<a>b)"),
        (r"[(?<a>]\[(?<a>b)\]", r"[(?<a>]\[(?P<a>b)\]"),
        ("[[a]", r"[\[a]"),
        ("[]a]", r"[\]a]"),
        ("[^]a-c-]", r"[^\]a-c\-]"),
        ("[--/&&]", r"[\--/\&\&]"),
        (r"[\]\-\\a-\x7f]", r"[\]\-\\a-\x7f]"),
        ("(?i)a(?-i:b)(?>c)", "(?i)a(?-i:b)(?>c)"),
    ],
)
def test_the_python_spelling(pattern: str, python: str) -> None:
    check_regex(pattern)
    assert to_python_regex(pattern) == python
    re.compile(python)


@pytest.mark.spec("1.4-regex-portable")
def test_named_groups_mean_what_they_mean_in_ecmascript() -> None:
    found = re.fullmatch(to_python_regex(r"(?<key>\w+)=(?<value>[[\]]+)"), "a=[]")
    assert found is not None
    assert found.groupdict() == {"key": "a", "value": "[]"}


@pytest.mark.spec("1.4-matcher-dialects", "1.5-error-vocabulary")
@pytest.mark.parametrize(
    ("pattern", "how"),
    [
        ("(", "expected ')'; got end of regex"),
        (")", "unexpected ')'"),
        ("*", "nothing to repeat"),
        ("a**", "expected one repeat; got two"),
        ("a{2,1}", "bad bounds of a repeat"),
        ("a{99999999999}", "a repeat too large"),
        ("\\", "bad escape"),
        (r"\p{L}", "bad escape"),
        (r"\x1", "bad escape"),
        (r"\777", "bad escape"),
        ("[a", "expected ']'; got end of regex"),
        ("[", "expected ']'; got end of regex"),
        ("[a-", "expected ']'; got end of regex"),
        ("[z-a]", "bad range in a class"),
        (r"[\d-z]", "bad range in a class"),
        (r"[a-\w]", "bad range in a class"),
        (r"[\p]", "bad escape"),
        (r"[\8]", "bad escape"),
        (r"[\777]", "bad escape"),
        (r"[\U00110000]", "bad escape"),
        ("[\\", "bad escape"),
        ("(?<a>x)(?<a>y)", "two groups of one name"),
        ("(?<1>x)", "bad group name"),
        ("(?<>x)", "bad group"),
        ("(?<ax", "bad group"),
        ("(?P=a)", "reference to no group"),
        (r"(a)\2", "reference to no group"),
        (r"(a\1)", "reference into an open group"),
        ("(?<=a*)", "look-behind of no fixed width"),
        ("(?<=a{4294967294}b{4294967294})", "look-behind too long"),
        ("(?", "unexpected end of regex"),
        ("(?~a)", "unknown kind of group"),
        ("a(?i)", "bad flags"),
        ("(?(1)a|b)", "unexpected '(?('"),
        ("(?#a)", "unexpected '(?#'"),
        ("(?x) a", "unexpected '(?x'"),
        ("(" * 51 + ")" * 51, "groups nest deeper than 50"),
    ],
)
def test_broken_regexes(pattern: str, how: str) -> None:
    with pytest.raises(Malformed) as caught:
        check_regex(pattern)
    assert caught.value.detail == f"broken regex: {how}"


def test_a_regex_may_use_its_bounds() -> None:
    check_regex("(?:a*" * 50 + ")*" * 50)
    check_regex("[\0-\U0010ffff]" * (MAX_REGEX_CHARS // 5))
    with pytest.raises(Malformed, match="at most 4096 characters; got 4097"):
        check_regex("a" * (MAX_REGEX_CHARS + 1))


@pytest.mark.spec("1.4-matcher-dialects")
@pytest.mark.parametrize(
    "path",
    [
        "$",
        "$.a._b1.é",
        "$..a..*..[0]",
        "$ .a\n[0]\t['b']",
        "$[ 'a' , \"b\" , 0 , -1 , * , 1:2 , : , ::2 , 1 : 2 : 3 , -1::-1 ]",
        r"""$['\'\b\f\n\r\t\/\\\u00e9\uD834\uDD1E', "\"'"]""",
        "$[?@.a]",
        "$[?!@.a && (@.b || $.c['d'])]",
        "$[?@.a==1 && 'x' != @['b'][0] || -0 <= 1.5e-3]",
        "$[?true==null]",
        "$[?length(@.a) > 1 && count(@..*) == 2, ?match(@.a, 'b.*') || !search( @.c , $.d )]",
        "$[?value(@..a) == length(value($.b))]",
        "$[?@[?@.a]]",
        "$[9007199254740991]",
        "$.a[?@.b == ' [( ']",
    ],
)
def test_jsonpaths(path: str) -> None:
    check_jsonpath(path)


@pytest.mark.spec("1.4-matcher-dialects", "1.5-error-vocabulary")
@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("a", "expected '$'; got 'a'"),
        ("$a", "expected end of jsonpath; got 'a'"),
        ("$ ", "expected end of jsonpath; got ' '"),
        ("$.", "expected a name or '*'; got end of jsonpath"),
        ("$. a", "expected a name or '*'; got ' '"),
        ("$.1", "expected a name or '*'; got '1'"),
        ("$..", "expected '['; got end of jsonpath"),
        ("$[]", "expected a selector; got ']'"),
        ("$[0,]", "expected a selector; got ']'"),
        ("$[0", "expected ']'; got end of jsonpath"),
        ("$[01]", "expected a selector; got '0'"),
        ("$[-0]", "expected a selector; got '-'"),
        ("$[1:2:3:4]", "expected ']'; got ':'"),
        ("$[9007199254740992]", "an integer too large"),
        ("$[" + "9" * 100 + "]", "an integer too large"),
        ("$['a]", "expected a selector; got '''"),
        (r"$['\x']", "expected a selector; got '''"),
        (r"$['\uD834']", "expected a selector; got '''"),
        ("$['\n']", "expected a selector; got '''"),
        ("$[?]", "expected a query, a literal or a function; got ']'"),
        ("$[?1]", "expected a comparison; got ']'"),
        ("$[?length(@)]", "expected a comparison; got ']'"),
        ("$[?@..a==1]", "expected ']'; got '='"),
        ("$[?@.a==@.*]", "expected a single value to compare with"),
        ("$[?@.a==match(@.a,'b')]", "expected a single value to compare with"),
        ("$[?@.a==1==2]", "expected ']'; got '='"),
        ("$[?!@.a==1]", "expected ']'; got '='"),
        ("$[?(@.a)==1]", "expected ']'; got '='"),
        ("$[?@.a &&]", "expected a query, a literal or a function; got ']'"),
        ("$[?@.a & @.b]", "expected ']'; got '&'"),
        ("$[?(@.a]", "expected ')'; got ']'"),
        ("$[?foo(@)==1]", "unknown function 'foo'"),
        ("$[?length (@)==1]", "expected a query, a literal or a function; got 'l'"),
        ("$[?length()==1]", "expected a query, a literal or a function; got ')'"),
        ("$[?length(@,@)==1]", "expected ')'; got ','"),
        ("$[?match(@)]", "expected ','; got ')'"),
        ("$[?length(@.*)==1]", "unfit argument of function 'length'"),
        ("$[?count(1)==1]", "unfit argument of function 'count'"),
        ("$[?TRUE==1]", "expected a query, a literal or a function; got 'T'"),
        ("$" + "[?@" * 51, "nests deeper than 50"),
        ("$[?" + "(" * 51, "nests deeper than 50"),
    ],
)
def test_broken_jsonpaths(path: str, how: str) -> None:
    with pytest.raises(Malformed) as caught:
        check_jsonpath(path)
    assert caught.value.detail == f"broken jsonpath: {how}"


@pytest.mark.spec("1.4-matcher-dialects")
@pytest.mark.parametrize(
    "path",
    [
        "//a",
        "// a / b // c",
        "//*[@id='x' and not(@class=\"y\")]/@href",
        "//ns:a/ns:*/@ns:b/@*",
        "//a[1][last()]/..",
        "//.",
        "//child::a/ancestor-or-self :: node()/self::text()",
        "//processing-instruction()/processing-instruction('x')/comment ( )",
        "//a | //b[. = 1.5 or .5 < -2 mod 3 div 4 * 5 - - 6]",
        "//a[count(//b) >= 2]/text()",
        "//a[(b | c)[1]/d]",
        "//a[$v != $ns:v][id('x')/b][/][/b/c]",
        "//div/div[div div div]/and[and and or]",
        "//*[* * *]",
        "//a-b.c/é",
    ],
)
def test_xpaths(path: str) -> None:
    check_xpath(path)


@pytest.mark.spec("1.4-matcher-dialects", "1.5-error-vocabulary")
@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("//", "expected a step; got end of xpath"),
        ("///a", "expected a step; got '/'"),
        ("//a/", "expected a step; got end of xpath"),
        ("//a[", "expected a step; got end of xpath"),
        ("//a[]", "expected a step; got ']'"),
        ("//a[1", "expected ']'; got end of xpath"),
        ("//a]", "expected end of xpath; got ']'"),
        ("//a[(1]", "expected ')'; got ']'"),
        ("//a[f(1]", "expected ')'; got ']'"),
        ("//a[f(1,)]", "expected a step; got ')'"),
        ("//a['x]", "expected a step; got '''"),
        ("//a[b | -c]", "expected a step; got '-'"),
        ("//a b", "expected end of xpath; got 'b'"),
        ("//a[b==c]", "expected a step; got '='"),
        ("//foo::a", "expected a step; got 'f'"),
        ("//@", "expected a node test; got end of xpath"),
        ("//child::", "expected a node test; got end of xpath"),
        ("//a:", "expected end of xpath; got ':'"),
        ("//text('x')", "expected a step; got 't'"),
        ("//a#b", "expected end of xpath; got '#'"),
        ("//a" + "[a" * 51, "nests deeper than 50"),
    ],
)
def test_broken_xpaths(path: str, how: str) -> None:
    with pytest.raises(Malformed) as caught:
        check_xpath(path)
    assert caught.value.detail == f"broken xpath: {how}"


def test_paths_may_use_their_bounds() -> None:
    check_jsonpath("$" + "[?@" * 50 + "]" * 50)
    check_xpath("//a" + "[a" * 49 + "]" * 49)
    check_jsonpath("$" + ".a" * ((MAX_JSONPATH_CHARS - 1) // 2))
    check_xpath("//a" + "/a" * ((MAX_XPATH_CHARS - 3) // 2))
    with pytest.raises(Malformed, match="expected jsonpath of at most 4096 characters; got 4097"):
        check_jsonpath("$" + ".a" * (MAX_JSONPATH_CHARS // 2))
    with pytest.raises(Malformed, match="expected xpath of at most 4096 characters; got 4097"):
        check_xpath("//a" + "/a" * (MAX_XPATH_CHARS // 2 - 1))
