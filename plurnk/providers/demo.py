"""No model: the same short, honest tour of the language for any prompt (SPEC 3.8).

It keeps nothing between turns: which of its three turns it is in, and what became of the command that it proposed in
the second, stand in the request.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import msgspec
import trio

from plurnk.content.tokens import estimate_tokens
from plurnk.language import Edit, Exec, Find, LineMarker, Read, Send, SendBody, Statement, UrlTarget, render
from plurnk.plugins.api import CONTRACT_VERSION, Completion, Delta, GenerateRequest, ProviderSettings, Usage
from plurnk.rules.packet import BUDGET_HEADING, PROMPT_HEADING, REQUIREMENTS_HEADING
from plurnk.rules.proposals import DEFAULT_OUTCOMES

CHUNK_CHARS: Final = 24
"""Small enough that one sees the text stream in."""

QUOTE_CHARS: Final = 500

_TURN: Final = re.compile(rf"(?:\A|\n){REQUIREMENTS_HEADING}\nTurn (\d+)/\d+\Z")
_NUMBER: Final = re.compile(r"\A\d+:\t")

COMMAND: Final = 'echo "$(ls | wc -l) files and folders in $PWD"'
"""Whoever is asked about it sees at once that it changes nothing."""

ANSWER: Final = """\
This is plurnk's built-in demo. No model is configured, so nobody has thought about your prompt.

Still, everything you saw was real: statements were parsed as they streamed in, notes were written,
found and read back, and all of it is in the database and there after a restart.

{command}

To have a model answer, set one key, in the environment or in ~/.config/plurnk/plurnk.env:

  ANTHROPIC_API_KEY=<key>      or GEMINI_API_KEY=<key>, or OPENAI_API_KEY=<key>

An Ollama on this machine needs none and is found by itself; of another server say where it is:

  OPENAI_BASE_URL=http://127.0.0.1:8080/v1

PLURNK_MODEL=<alias> chooses among several (docs/models.md). The daemon reads all this when it starts:
end the one that runs, whose pid plurnk doctor tells, and the next command starts another."""


class DemoProvider:
    """A provider that needs nothing."""

    def __init__(self, model: str = "demo") -> None:
        self.model = model
        self.context_size: int | None = None

    def count_tokens(self, text: str) -> int:
        return estimate_tokens(text)

    def cost_for(self, usage: Usage) -> int:  # noqa: ARG002 – the contract's name
        """0: it is free."""
        return 0

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Delta | Completion]]:
        """Give the turn of the tour that the request is for; never fails."""
        async with aclosing(self._say(_turn(request), request)) as items:
            yield items

    async def _say(self, content: str, request: GenerateRequest) -> AsyncGenerator[Delta | Completion, None]:
        for at in range(0, len(content), CHUNK_CHARS):
            await trio.lowlevel.checkpoint()
            yield Delta(kind="content", text=content[at : at + CHUNK_CHARS])
        prompt = sum(estimate_tokens(message.content) for message in request.messages)
        usage = Usage(prompt=prompt, completion=estimate_tokens(content))
        yield Completion(content=content, usage=usage, model=self.model, raw={"demo": True})


def _turn(request: GenerateRequest) -> str:
    user = request.messages[-1].content if request.messages else ""
    number = _TURN.search(user)
    prompt = _prompt(user)
    path = f"demo/{_slug(prompt)}"
    match int(number[1]) if number else 1:
        case 1:
            return _written(
                "This is the built-in demo, not a model. First it notes what was asked, and what it does not know.",
                Edit(target=_url("known", path), signal=("demo",), body=_note(prompt)),
                Edit(target=_url("unknown", path), signal=("demo",), body="Which model is to answer this?\n"),
                _send(102, "The prompt is noted."),
            )
        case 2:
            return _written(
                "What was noted can be found by its tag and read back. A command is proposed, and a person decides.",
                Find(target=_url("known", "demo/"), signal=("demo",)),
                Read(target=_url("known", path)),
                Exec(body=COMMAND),
                _send(102, "The note is there. What becomes of the command is seen next."),
            )
        case _:
            return _written(
                "A line is added to the note, and the loop ends.",
                Edit(target=_url("known", path), line_marker=LineMarker(first=-1), body="Answered by the demo."),
                _send(200, ANSWER.format(command=_what_became(request))),
            )


def _what_became(request: GenerateRequest) -> str:
    """Tell what became of the command, as the packet's log and index have it."""
    lines = [line for message in request.messages[:-1] for line in message.content.split("\n")]
    rows = [_meta(line) for line in lines if line.startswith("* {")]
    own = [row for row in rows if row.get("op") == "EXEC" and row.get("origin") == "model"]
    if not own:
        return "No command was proposed."
    address, error, outcome = (str(own[-1].get(name, "")) for name in ("entry", "error", "outcome"))
    if not address:
        return f"A command was proposed and not run ({error if outcome in {'', *DEFAULT_OUTCOMES} else outcome})."
    ends = [row for row in rows if row.get("origin") == "system" and row.get("target") == address]
    if not ends:
        return f"The command that was proposed was started and goes on: {address}. plurnk ps shows it."
    how = f"ended badly ({ends[-1]['error']})" if "error" in ends[-1] else "was run"
    wrote = _preview(lines, address)
    if not wrote:
        return f"The command that was proposed {how}, {address}, and wrote nothing."
    return "\n".join([f"The command that was proposed {how}, {address}, and wrote:", "", *wrote])


def _meta(line: str) -> dict[str, Any]:
    """The JSON of an entry's or a row's line; of one that looks alike, nothing."""
    try:
        return msgspec.json.decode(line[2:], type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _preview(lines: Sequence[str], address: str) -> list[str]:
    """What the index shows of that address, indented and without its line numbers."""
    shown = itertools.dropwhile(lambda line: line != f"<<{address}:", lines)
    inside = itertools.takewhile(lambda line: line != f":{address}", itertools.islice(shown, 1, None))
    return [f"  {_NUMBER.sub('', line)}" for line in inside]


def _prompt(user: str) -> str:
    """The prompt in a user message; the whole message when it is not a packet's."""
    section = user.rpartition(f"\n\n{BUDGET_HEADING}\n")[0] or user
    return section.removeprefix(f"{PROMPT_HEADING}\n")


def _slug(prompt: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]{1,20}", prompt[:QUOTE_CHARS].lower())[:5]) or "prompt"


def _note(prompt: str) -> str:
    quoted = "".join(f"> {line}\n" for line in prompt[:QUOTE_CHARS].split("\n"))
    return f"# What was asked\n\n{quoted}\n"


def _written(prose: str, *statements: Statement) -> str:
    return "\n".join([prose, *(render(statement) for statement in statements)])


def _send(status: int, text: str) -> Send:
    return Send(signal=status, body=SendBody(raw=text))


def _url(scheme: str, pathname: str) -> UrlTarget:
    return UrlTarget(raw=f"{scheme}://{pathname}", scheme=scheme, pathname=pathname)


class _Factory:
    contract_version = CONTRACT_VERSION
    uses_http = False

    def __call__(self, settings: ProviderSettings) -> DemoProvider:
        """Make the provider; there is nothing to set."""
        return DemoProvider(settings.model)


provider: Final = _Factory()
