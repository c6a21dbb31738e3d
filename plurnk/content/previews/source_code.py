"""Source code: classes, functions, methods and types with their signatures; TOML: tables and keys (SPEC 2.8).

One walk does for all languages, because their grammars call the same things alike. It goes down only
where a definition may stand, so never into a function. What a grammar cannot make sense of costs no more
than the definitions in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Final

from tree_sitter import Language, Node, Parser

from plurnk.content.previews.outline import MAX_TEXT_CHARS, Handler, one_line, outline_with_head


def _kinds(*names: str) -> frozenset[str]:
    return frozenset(" ".join(names).split())


# Definitions that hold others, which are shown below them.
_SCOPES: Final = _kinds(
    "class class_declaration class_definition class_specifier abstract_class_declaration",
    "struct_specifier struct_declaration record_declaration union_specifier enum_specifier",
    "enum_declaration enum_definition interface_declaration annotation_type_declaration",
    "trait_declaration trait_definition trait_item impl_item protocol_declaration extension_definition",
    "object_declaration object_definition companion_object package_object",
    "module mod_item internal_module namespace_declaration namespace_definition",
)
# Definitions that are looked at no further.
_LEAVES: Final = _kinds(
    "function_definition function_declaration function_item function_signature function_signature_item",
    "function_expression arrow_function generator_function_declaration protocol_function_declaration",
    "method method_declaration method_definition method_signature abstract_method_signature singleton_method",
    "constructor_declaration compact_constructor_declaration secondary_constructor init_declaration",
    "destructor_declaration operator_declaration indexer_declaration subscript_declaration",
    "delegate_declaration annotation_type_element_declaration macro_definition",
    "type_alias_statement type_alias_declaration type_alias type_definition type_item type_spec typealias_declaration",
    "alias_declaration concept_definition struct_item enum_item union_item given_definition",
    "file_scoped_namespace_declaration",
)
# What is shown of a source without definitions, like a module of constants.
_CONSTANTS: Final = _kinds(
    "assignment assignment_expression const_declaration const_item declaration lexical_declaration preproc_def",
    "property_declaration static_item val_definition var_declaration variable_declaration",
)
# What may stand around definitions without being one.
_AROUND: Final = _kinds(
    "ERROR block body_statement class_body compound_statement declaration_list enum_body enum_body_declarations",
    "enum_class_body enum_declaration_list field_declaration_list interface_body protocol_body statement_block",
    "template_body with_template_body annotation_type_body",
    "decorated_definition export_statement ambient_declaration expression_statement template_declaration",
    "type_declaration lexical_declaration variable_declaration foreign_mod_item linkage_specification",
    "package_clause singleton_class call argument_list",
    "if_statement elif_clause else_clause try_statement except_clause finally_clause with_statement",
    "preproc_if preproc_ifdef preproc_elif preproc_else",
)
# Definitions if a function is what they give a name to; if not, one may stand in them.
_NAMINGS: Final = _kinds(
    "variable_declarator field_definition public_field_definition assignment_expression assignment_statement",
    "declaration field_declaration",
)
_FUNCTIONS: Final = _kinds("arrow_function function_expression generator_function function_definition")
_INDIRECT: Final = _kinds("pointer_declarator reference_declarator")
# Where a grammar has no field for the body.
_BODIES: Final = ("_body", "block", "accessor_list")
# Before the definition on its line, like ``export`` and ``const x =``, unless there is one of these.
_MAX_LEAD_BYTES: Final = 80
_NO_LEAD: Final = re.compile(rb"[;:{}]")
_MAX_SIGNATURE_BYTES: Final = 8 * MAX_TEXT_CHARS
# A parser reports each hundred of its steps. That is one report for 50 to 350 bytes of real sources.
_LEAST_REPORTS: Final = 256
_BYTES_PER_REPORT: Final = 16
_CHUNK_BYTES: Final = 64 * 1024


@dataclass(slots=True)  # not frozen: there are thousands, and that makes them three times as dear
class _Definition:
    node: Node
    depth: int
    source: bytes

    @property
    def line(self) -> int:
        """That of its name, below decorators and a return type."""
        return self._first().start_point.row + 1

    @property
    def text(self) -> str:
        """The line that its name is on, up to its body."""
        node, body, first = self.node, _body(self.node), self._first()
        start = node.start_byte
        if first.start_point.row > node.start_point.row:  # below its annotations
            start = self.source.rfind(b"\n", 0, first.start_byte) + 1
        else:
            start = _with_lead(self.source, start)
        end = node.end_byte if body is None else _end_of_signature(node, body)
        text = self.source[start : min(end, start + _MAX_SIGNATURE_BYTES)].decode("utf-8", "ignore")
        if body is None:
            text = text.partition("\n")[0]
        text = one_line(text).rstrip(" {:=;")
        name = _name(node)
        if _is_behind(name, body):
            text = f"{text} {one_line(self.source[name.start_byte : name.end_byte].decode())}"
        return text

    def _first(self) -> Node:
        """Where it begins to say what it is."""
        name = _name(self.node)
        return self.node if _is_behind(name, _body(self.node)) else name


@dataclass(frozen=True, slots=True)
class _Code:
    """A language: the package of its grammar, imported when it is first needed, and the kinds of its definitions."""

    package: str
    function: str = "language"
    scopes: frozenset[str] = _SCOPES
    leaves: frozenset[str] = _LEAVES

    def preview(self, content: str, budget_chars: int) -> str:
        source = content.encode()
        root = _parsed(source, _language(self.package, self.function))
        if root is None:
            return ""
        found = tuple(self._found(root, source, self.leaves))
        if not found:
            found = tuple(self._found(root, source, self.leaves | _CONSTANTS))
        return outline_with_head(found, content, budget_chars)

    def _found(self, root: Node, source: bytes, leaves: frozenset[str]) -> Iterator[_Definition]:
        below = [(child, 0) for child in reversed(root.named_children)]
        while below:
            node, depth = below.pop()
            kind = node.type
            if kind in leaves or (kind in _NAMINGS and _names_function(node)):
                yield _Definition(node, depth, source)
            elif kind in self.scopes:
                # Without a body it is the name of a type: ``struct point p;``.
                if not kind.endswith("_specifier") or _body(node) is not None:
                    yield _Definition(node, depth, source)
                    below.extend((child, depth + 1) for child in reversed(node.named_children))
            elif kind in _AROUND or kind in _NAMINGS:
                below.extend((child, depth) for child in reversed(node.named_children))


@cache
def _language(package: str, function: str) -> Language:
    return Language(getattr(import_module(package), function)())


def _parsed(source: bytes, language: Language) -> Node | None:
    """None: given up, since a grammar may go round for ever in text of another language."""
    reports = iter(range(_LEAST_REPORTS + len(source) // _BYTES_PER_REPORT))
    try:
        tree = Parser(language).parse(
            lambda at, _point: source[at : at + _CHUNK_BYTES],
            progress_callback=lambda _at, _has_error: next(reports, None) is None,
        )
    except ValueError:
        return None
    return tree.root_node


def _value(node: Node) -> Node | None:
    """What ``node`` gives a name to."""
    value = node.child_by_field_name("value") or node.child_by_field_name("right")
    if value is None and node.type == "assignment_statement":
        value = node.named_children[-1].child_by_field_name("value") if node.named_children else None
    return value


def _names_function(node: Node) -> bool:
    value = _value(node)
    if value is not None and value.type in _FUNCTIONS:
        return True
    declarator = node.child_by_field_name("declarator")
    while declarator is not None and declarator.type in _INDIRECT:
        declarator = declarator.child_by_field_name("declarator") or declarator.named_children[-1]
    return declarator is not None and declarator.type == "function_declarator"


def _name(node: Node) -> Node:
    return node.child_by_field_name("name") or node.child_by_field_name("declarator") or node


def _end_of_signature(node: Node, body: Node) -> int:
    """Before the body and the comments in front of it; an enumeration without a name is told by what is in it."""
    if node.type == "enum_specifier" and node.child_by_field_name("name") is None:
        return node.end_byte
    while (before := body.prev_named_sibling) is not None and before.type == "comment":
        body = before
    return body.start_byte


def _is_behind(name: Node, body: Node | None) -> bool:
    """Whether the name stands behind the body: ``typedef struct {…} name``."""
    return body is not None and name.start_byte > body.start_byte


def _body(node: Node) -> Node | None:
    holders = (node, _value(node), node.child_by_field_name("type") if node.type == "type_definition" else None)
    for holder in holders:
        if holder is not None and (body := holder.child_by_field_name("body")) is not None:
            return body
    return next((child for child in node.named_children if child.type.endswith(_BODIES)), None)


def _with_lead(source: bytes, start: int) -> int:
    """Where the line of ``start`` begins, if what is before ``start`` belongs to it, else ``start``."""
    lowest = max(0, start - _MAX_LEAD_BYTES)
    line_start = source.rfind(b"\n", lowest, start) + 1 or lowest
    is_cut = line_start == lowest > 0
    return start if is_cut or _NO_LEAD.search(source, line_start, start) else line_start


def _handler(mimetype: str, code: _Code) -> Handler:
    return Handler(mimetype, code.preview)


bash: Final = _handler("text/x-shellscript", _Code("tree_sitter_bash"))
# A header may be C++, and C reads well as C++.
c: Final = _handler("text/x-c", _Code("tree_sitter_cpp"))
cpp: Final = _handler("text/x-c++", _Code("tree_sitter_cpp"))
csharp: Final = _handler("text/x-csharp", _Code("tree_sitter_c_sharp"))
go: Final = _handler("text/x-go", _Code("tree_sitter_go"))
java: Final = _handler("text/x-java", _Code("tree_sitter_java"))
javascript: Final = _handler("text/javascript", _Code("tree_sitter_javascript"))
kotlin: Final = _handler("text/x-kotlin", _Code("tree_sitter_kotlin"))
lua: Final = _handler("text/x-lua", _Code("tree_sitter_lua"))
php: Final = _handler("text/x-php", _Code("tree_sitter_php", "language_php"))
python: Final = _handler("text/x-python", _Code("tree_sitter_python"))
ruby: Final = _handler("text/x-ruby", _Code("tree_sitter_ruby"))
rust: Final = _handler("text/x-rust", _Code("tree_sitter_rust"))
scala: Final = _handler("text/x-scala", _Code("tree_sitter_scala"))
swift: Final = _handler("text/x-swift", _Code("tree_sitter_swift"))
toml: Final = _handler(
    "application/toml",
    _Code("tree_sitter_toml", scopes=_kinds("table table_array_element"), leaves=_kinds("pair")),
)
tsx: Final = _handler("text/tsx", _Code("tree_sitter_typescript", "language_tsx"))
typescript: Final = _handler("application/typescript", _Code("tree_sitter_typescript", "language_typescript"))
