"""No model: the same short, honest tour of the language for any prompt (SPEC 3.8).

It keeps nothing between turns: which of its three turns it is in stands in the request.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

import trio

from plurnk.content.tokens import estimate_tokens
from plurnk.language import Edit, Find, LineMarker, Read, Send, SendBody, Statement, UrlTarget, render
from plurnk.plugins.api import CONTRACT_VERSION, Completion, Delta, GenerateRequest, ProviderSettings, Usage
from plurnk.rules.packet import BUDGET_HEADING, PROMPT_HEADING, REQUIREMENTS_HEADING

CHUNK_CHARS: Final = 24
"""Small enough that one sees the text stream in."""

QUOTE_CHARS: Final = 500

_TURN: Final = re.compile(rf"(?:\A|\n){REQUIREMENTS_HEADING}\nTurn (\d+)/\d+\Z")

ANSWER: Final = """\
This is plurnk's built-in demo. No model is configured, so nobody has thought about your prompt.

Still, everything you saw was real: statements were parsed as they streamed in, notes were written,
found and read back, and all of it is in the database and there after a restart.

To have a model answer, name one and choose it, in the environment or in a file .env:

  PLURNK_MODEL_mine=openai/<model id>
  PLURNK_MODEL=mine
  OPENAI_API_KEY=<key>

Any server that speaks OpenAI's Chat Completions will do; one on this machine needs no key:

  OPENAI_BASE_URL=http://127.0.0.1:8080/v1"""


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
                "What was noted can be found by its tag and read back.",
                Find(target=_url("known", "demo/"), signal=("demo",)),
                Read(target=_url("known", path)),
                _send(102, "The note is there."),
            )
        case _:
            return _written(
                "A line is added to the note, and the loop ends.",
                Edit(target=_url("known", path), line_marker=LineMarker(first=-1), body="Answered by the demo."),
                _send(200, ANSWER),
            )


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
