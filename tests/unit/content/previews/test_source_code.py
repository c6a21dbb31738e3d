"""Previews of source code, one sample for each language (SPEC 2.8)."""

from __future__ import annotations

import pytest

from plurnk.content.previews import source_code
from plurnk.content.previews.outline import Handler
from plurnk.content.previews.plain import preview

SAMPLES = [
    pytest.param(
        source_code.python,
        (
            '"""Doc."""\n'
            "\n"
            "@dec\n"
            "class A(B):\n"
            "    x = 1\n"
            "\n"
            "    @prop\n"
            "    async def f(\n"
            "        self, a: int\n"
            "    ) -> str:\n"
            "        def inner(): ...\n"
            "\n"
            "if X:\n"
            "    def g(): pass\n"
            "else:\n"
            "    def h(): pass\n"
            "type T = int\n"
        ),
        ("4:\tclass A(B)\n8:\t  async def f( self, a: int ) -> str\n14:\tdef g()\n16:\tdef h()\n17:\ttype T = int"),
        id="python",
    ),
    pytest.param(
        source_code.toml,
        ('name = "x"\n[tool.ruff]\nselect = [\n  "ALL",\n]\n[[bin]]\npath = "y"\n'),
        ('1:\tname = "x"\n2:\t[tool.ruff]\n3:\t  select = [\n6:\t[[bin]]\n7:\t  path = "y"'),
        id="toml",
    ),
    pytest.param(
        source_code.javascript,
        (
            'import x from "y";\n'
            "export default class A extends B {\n"
            "  #p = 1;\n"
            "  handler = (a) => 1;\n"
            "  static m(a) { return 1; }\n"
            "}\n"
            "export const g = async (x) => {\n"
            "  return x;\n"
            "}, h = function () {};\n"
            "const K = class { k() {} };\n"
            "function* gen() {}\n"
            "module.exports.foo = function (a) {};\n"
            "A.prototype.m = () => 1;\n"
            "const data = { a() {} };\n"
            "if (x) { function cond() {} }\n"
        ),
        (
            "2:\texport default class A extends B\n"
            "4:\t  handler = (a) =>\n"
            "5:\t  static m(a)\n"
            "7:\texport const g = async (x) =>\n"
            "9:\th = function ()\n"
            "10:\tconst K = class\n"
            "10:\t  k()\n"
            "11:\tfunction* gen()\n"
            "12:\tmodule.exports.foo = function (a)\n"
            "13:\tA.prototype.m = () =>\n"
            "15:\tfunction cond()"
        ),
        id="javascript",
    ),
    pytest.param(
        source_code.typescript,
        (
            "@Component({a: 1})\n"
            "export class Q<T> {\n"
            "  constructor(private a: string) {}\n"
            "  @Input() foo(\n"
            "    a: string,\n"
            "    b: number,\n"
            "  ): void {}\n"
            "  bar = (x: number) => 1;\n"
            "}\n"
            "export interface A<T> extends B { x: number; m(a: string): void }\n"
            "export type U = {\n"
            "  a: string;\n"
            "};\n"
            'declare module "foo" { function f(): void; }\n'
            "namespace N { export abstract class C { abstract foo(): void; } }\n"
            "export enum E { A, B }\n"
            "export default function (a: string) {}\n"
        ),
        (
            "2:\texport class Q<T>\n"
            "3:\t  constructor(private a: string)\n"
            "4:\t  @Input() foo( a: string, b: number, ): void\n"
            "8:\t  bar = (x: number) =>\n"
            "10:\texport interface A<T> extends B\n"
            "10:\t  m(a: string): void\n"
            "11:\texport type U\n"
            '14:\tdeclare module "foo"\n'
            "14:\t  function f(): void\n"
            "15:\tnamespace N\n"
            "15:\t  abstract class C\n"
            "15:\t    abstract foo(): void\n"
            "16:\texport enum E\n"
            "17:\texport default function (a: string)"
        ),
        id="typescript",
    ),
    pytest.param(
        source_code.tsx,
        (
            "export const App: FC<P> = ({ x }) => {\n"
            "  return <div>{x}</div>;\n"
            "};\n"
            "class B extends C<T> {\n"
            "  render() { return <b/>; }\n"
            "}\n"
        ),
        ("1:\texport const App: FC<P> = ({ x }) =>\n4:\tclass B extends C<T>\n5:\t  render()"),
        id="tsx",
    ),
    pytest.param(
        source_code.go,
        (
            "package main\n"
            "type S struct {\n"
            "\ta int\n"
            "}\n"
            "type (\n"
            "\tI interface { M(x int) error }\n"
            "\tJ = int\n"
            ")\n"
            "func (s *S) Foo(a int) error { return nil }\n"
            "func main() { f := func() {} }\n"
        ),
        (
            "2:\ttype S struct\n"
            "6:\tI interface { M(x int) error }\n"
            "7:\tJ = int\n"
            "9:\tfunc (s *S) Foo(a int) error\n"
            "10:\tfunc main()"
        ),
        id="go",
    ),
    pytest.param(
        source_code.rust,
        (
            "mod m { pub fn f() {} }\n"
            "#[derive(Debug)]\n"
            "pub struct S { a: u8 }\n"
            "enum E { A }\n"
            "impl<T> Foo for S {\n"
            "    #[inline]\n"
            "    pub(crate) fn g(&self) -> u8 { 1 }\n"
            "}\n"
            "pub trait T { fn h(&self); fn d(&self) {} }\n"
            "macro_rules! mm { () => {} }\n"
            'extern "C" { fn z(); }\n'
            "pub async fn go() -> Result<()> {}\n"
        ),
        (
            "1:\tmod m\n"
            "1:\t  pub fn f()\n"
            "3:\tpub struct S\n"
            "4:\tenum E\n"
            "5:\timpl<T> Foo for S\n"
            "7:\t  pub(crate) fn g(&self) -> u8\n"
            "9:\tpub trait T\n"
            "9:\t  fn h(&self)\n"
            "9:\t  fn d(&self)\n"
            "10:\tmacro_rules! mm { () => {} }\n"
            "11:\tfn z()\n"
            "12:\tpub async fn go() -> Result<()>"
        ),
        id="rust",
    ),
    pytest.param(
        source_code.c,
        (
            "#ifndef A_H\n"
            "#define A_H\n"
            "#ifdef __cplusplus\n"
            'extern "C" {\n'
            "#endif\n"
            "struct fwd;\n"
            "struct s { int a; };\n"
            "typedef struct t {\n"
            "  int b;\n"
            "} t_t;\n"
            "typedef int (*fp)(int);\n"
            "enum e { A, B };\n"
            "static int *foo(int a, char *b) { return 0; }\n"
            "int bar(void);\n"
            "struct s global;\n"
            "static int\n"
            "gnu_style (int a)\n"
            "{\n"
            "}\n"
            "#ifdef __cplusplus\n"
            "}\n"
            "#endif\n"
            "#endif\n"
        ),
        (
            "7:\tstruct s\n"
            "8:\ttypedef struct t t_t\n"
            "11:\ttypedef int (*fp)(int)\n"
            "12:\tenum e\n"
            "13:\tstatic int *foo(int a, char *b)\n"
            "14:\tint bar(void)\n"
            "17:\tgnu_style (int a)"
        ),
        id="c",
    ),
    pytest.param(
        source_code.cpp,
        (
            "namespace a::b {\n"
            "template <typename T>\n"
            "class Foo : public Bar {\n"
            " public:\n"
            "  Foo() : x(1) {}\n"
            "  ~Foo() override;\n"
            "  void m(int a) const { }\n"
            "  int x;\n"
            "  struct In { void q(); };\n"
            "};\n"
            "void Foo<int>::bar() {}\n"
            "using X = int;\n"
            "enum class E { A };\n"
            "template <class T> T max(T a) { return a; }\n"
            "}\n"
            "int &ref(int a);\n"
        ),
        (
            "1:\tnamespace a::b\n"
            "3:\t  class Foo : public Bar\n"
            "5:\t    Foo() : x(1)\n"
            "6:\t    ~Foo() override\n"
            "7:\t    void m(int a) const\n"
            "9:\t    struct In\n"
            "9:\t      void q()\n"
            "11:\t  void Foo<int>::bar()\n"
            "12:\t  using X = int\n"
            "13:\t  enum class E\n"
            "14:\t  template <class T> T max(T a)\n"
            "16:\tint &ref(int a)"
        ),
        id="cpp",
    ),
    pytest.param(
        source_code.csharp,
        (
            "using System;\n"
            "namespace A.B {\n"
            "  [Attr]\n"
            "  public class C : D {\n"
            "    public int X { get; set; }\n"
            "    public C(int a) : base(a) {}\n"
            "    void M<T>(T x) where T : new() { }\n"
            "    public static C operator +(C a) => a;\n"
            "    int this[int i] => 1;\n"
            "    enum Q { A }\n"
            "    interface I { void Z(); }\n"
            "    record R(int a);\n"
            "  }\n"
            "}\n"
        ),
        (
            "2:\tnamespace A.B\n"
            "4:\t  public class C : D\n"
            "6:\t    public C(int a) : base(a)\n"
            "7:\t    void M<T>(T x) where T : new()\n"
            "8:\t    public static C operator +(C a)\n"
            "9:\t    int this[int i] => 1\n"
            "10:\t    enum Q\n"
            "11:\t    interface I\n"
            "11:\t      void Z()\n"
            "12:\t    record R(int a)"
        ),
        id="csharp",
    ),
    pytest.param(
        source_code.java,
        (
            "package a;\n"
            "@Foo(1)\n"
            "public class C extends D {\n"
            "  @Override\n"
            "  public void m(int a) throws E { }\n"
            "  C() {}\n"
            "  enum E { A; void q() {} }\n"
            "  interface I { void z(); }\n"
            "  record R(int a) { R {} }\n"
            "  @interface An { int v(); }\n"
            "}\n"
        ),
        (
            "3:\tpublic class C extends D\n"
            "5:\t  public void m(int a) throws E\n"
            "6:\t  C()\n"
            "7:\t  enum E\n"
            "7:\t    void q()\n"
            "8:\t  interface I\n"
            "8:\t    void z()\n"
            "9:\t  record R(int a)\n"
            "9:\t    R\n"
            "10:\t  @interface An\n"
            "10:\t    int v()"
        ),
        id="java",
    ),
    pytest.param(
        source_code.kotlin,
        (
            "@Foo\n"
            "class C(val a: Int) : D() {\n"
            "  fun m(x: Int): Int { return 1 }\n"
            "  companion object {\n"
            "    fun q() {}\n"
            "  }\n"
            "  constructor(x: String) : this(1) {}\n"
            "}\n"
            "fun top(a: Int) = 1\n"
            "object O {\n"
            "  fun z() {}\n"
            "}\n"
            "interface I {\n"
            "  fun w()\n"
            "}\n"
            "typealias T = Int\n"
        ),
        (
            "2:\tclass C(val a: Int) : D()\n"
            "3:\t  fun m(x: Int): Int\n"
            "4:\t  companion object\n"
            "5:\t    fun q()\n"
            "7:\t  constructor(x: String) : this(1)\n"
            "9:\tfun top(a: Int)\n"
            "10:\tobject O\n"
            "11:\t  fun z()\n"
            "13:\tinterface I\n"
            "14:\t  fun w()\n"
            "16:\ttypealias T = Int"
        ),
        id="kotlin",
    ),
    pytest.param(
        source_code.scala,
        (
            "package a.b\n"
            "class C(a: Int) extends D {\n"
            "  def m(x: Int): Int = { 1 }\n"
            "  val p = 1\n"
            "}\n"
            "object O { def z() = 1 }\n"
            "trait T { def w(): Unit }\n"
            "enum E { case A, B }\n"
            "extension (s: String) def ext = 1\n"
        ),
        (
            "2:\tclass C(a: Int) extends D\n"
            "3:\t  def m(x: Int): Int\n"
            "6:\tobject O\n"
            "6:\t  def z()\n"
            "7:\ttrait T\n"
            "7:\t  def w(): Unit\n"
            "8:\tenum E\n"
            "9:\textension (s: String)\n"
            "9:\t  def ext"
        ),
        id="scala",
    ),
    pytest.param(
        source_code.swift,
        (
            "@objc public class C: D {\n"
            "  var p = 1\n"
            "  init(a: Int) {}\n"
            "  func m(_ x: Int) -> Int { 1 }\n"
            "  subscript(i: Int) -> Int { 1 }\n"
            "}\n"
            "enum E { case a; func k() {} }\n"
            "protocol P { func w() }\n"
            "extension S: P { func q() {} }\n"
            "typealias T = Int\n"
        ),
        (
            "1:\t@objc public class C: D\n"
            "3:\t  init(a: Int)\n"
            "4:\t  func m(_ x: Int) -> Int\n"
            "5:\t  subscript(i: Int) -> Int { 1 }\n"
            "7:\tenum E\n"
            "7:\t  func k()\n"
            "8:\tprotocol P\n"
            "8:\t  func w()\n"
            "9:\textension S: P\n"
            "9:\t  func q()\n"
            "10:\ttypealias T = Int"
        ),
        id="swift",
    ),
    pytest.param(
        source_code.php,
        (
            "<?php\n"
            "namespace A\\B;\n"
            "#[Attr]\n"
            "abstract class C extends D implements E {\n"
            "  public function m(int $a): void { }\n"
            "  abstract function z();\n"
            "}\n"
            "trait T { }\n"
            'enum F: string { case A = "a"; function k() {} }\n'
            "function top($a) { return 1; }\n"
        ),
        (
            "2:\tnamespace A\\B\n"
            "4:\tabstract class C extends D implements E\n"
            "5:\t  public function m(int $a): void\n"
            "6:\t  abstract function z()\n"
            "8:\ttrait T\n"
            "9:\tenum F: string\n"
            "9:\t  function k()\n"
            "10:\tfunction top($a)"
        ),
        id="php",
    ),
    pytest.param(
        source_code.ruby,
        (
            "module M\n"
            "  class C < D\n"
            "    attr_reader :a\n"
            "    validates :x, presence: true\n"
            "    def m(x, y = 1)\n"
            "      1\n"
            "    end\n"
            "    def self.s; end\n"
            "    class << self\n"
            "      def t; end\n"
            "    end\n"
            "    private def z; end\n"
            "  end\n"
            "end\n"
        ),
        (
            "1:\tmodule M\n"
            "2:\t  class C < D\n"
            "5:\t    def m(x, y = 1)\n"
            "8:\t    def self.s; end\n"
            "10:\t    def t; end\n"
            "12:\t    private def z; end"
        ),
        id="ruby",
    ),
    pytest.param(
        source_code.lua,
        (
            "local M = {}\n"
            "function M.foo(a, b) return 1 end\n"
            "function M:bar() end\n"
            "local function baz() end\n"
            "M.q = function(x) end\n"
            "local z = function() end\n"
        ),
        (
            "2:\tfunction M.foo(a, b)\n"
            "3:\tfunction M:bar() end\n"
            "4:\tlocal function baz() end\n"
            "5:\tM.q = function(x) end\n"
            "6:\tlocal z = function() end"
        ),
        id="lua",
    ),
    pytest.param(
        source_code.bash,
        ("foo() { bar; }\nfunction baz {\n  x\n}\nif true; then\n qux() { y; }\nfi\n"),
        ("1:\tfoo()\n2:\tfunction baz\n6:\tqux()"),
        id="bash",
    ),
]


@pytest.mark.parametrize(("handler", "source", "expected"), SAMPLES)
def test_definitions_with_their_lines(handler: Handler, source: str, expected: str) -> None:
    # With no more room than it takes, the preview is the outline and nothing of the head.
    assert handler.preview(source, len(expected)) == expected


@pytest.mark.spec("2.8-preview-budget")
def test_methods_are_left_out_before_classes_are() -> None:
    source = "class A:\n    def a(self): ...\n    def b(self): ...\n\n\nclass B:\n    def c(self): ...\n"
    assert source_code.python.preview(source, 47) == "1:\tclass A\n2:\t  def a(self)\n6:\tclass B\n… 2 more"
    assert source_code.python.preview(source, 30) == "1:\tclass A\n6:\tclass B\n… 3 more"


def test_mistakes_in_the_source_cost_nothing_else() -> None:
    source = "def a():\n    x = = 1\n\ndef b(): pass\n)))\n\ndef c(): pass\n"
    assert source_code.python.preview(source, 35) == "1:\tdef a()\n4:\tdef b()\n7:\tdef c()"


@pytest.mark.parametrize(
    ("handler", "source", "expected"),
    [
        (source_code.python, "# a\n\nif X:\n    A: Final = 1\nB = [\n    2,\n]\nf(A)\n", "4:\tA: Final = 1\n5:\tB = ["),
        (source_code.javascript, "import x from 'y';\nmodule.exports = {\n  a: 1,\n};\n", "2:\tmodule.exports"),
        (source_code.c, "#ifndef E\n#define E 1\n#endif\nextern int x;\n", "2:\t#define E 1\n4:\textern int x"),
    ],
)
def test_without_definitions_there_are_constants(handler: Handler, source: str, expected: str) -> None:
    assert handler.preview(source, len(expected)) == expected


def test_a_comment_before_the_body_is_not_of_the_signature() -> None:
    source = "def a(b):  # why\n    # and how\n    return 1\n"
    assert source_code.python.preview(source, 11) == "1:\tdef a(b)"


def test_an_enumeration_without_a_name_is_told_by_its_members() -> None:
    source = "enum {\n  RED = 1,\n  GREEN,\n};\n"
    assert source_code.c.preview(source, 30) == "1:\tenum { RED = 1, GREEN, }"


@pytest.mark.parametrize("source", ["# only\n# comments\n# here\n", "", "f(1)\ng(2)\nh(3)\n", "\0\n\0\n\0\n\0\n"])
def test_without_definitions_there_is_the_head(source: str) -> None:
    assert source_code.python.preview(source, 16) == preview(source, "text/x-python", 16)


@pytest.mark.spec("2.8-preview-deterministic")
def test_a_grammar_that_goes_round_for_ever_is_given_up() -> None:
    source = "a>s'\"'function[)}|d(-t \n" * 2
    assert source_code.tsx.preview(source, 40) == preview(source, "text/tsx", 40)
