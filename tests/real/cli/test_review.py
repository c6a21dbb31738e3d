"""Reviewing at a terminal: what ``plurnk run`` shows of a proposal, and what a person can do about it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio

from plurnk.wire.answers import ProposalView
from tests.support.fake_daemon import Json, Peer, Refusal
from tests.support.fake_loops import ROW, LoopDaemon, served
from tests.support.home import Home
from tests.support.proposal_views import DIGEST, NEW, OLD, of_command, of_file
from tests.support.terminals import at_a_terminal

QUESTION = "Accept? [y]es, [n]o (a word of why may follow), [e]dit, [a]lways, [v]iew: "
STANDS = "Enter agrees, another pattern replaces this one, n goes back: "


class Reviewed(LoopDaemon):
    """Proposes, one after the other; what is decided about the last one ends the loop."""

    def __init__(self, *proposals: ProposalView) -> None:
        super().__init__(lambda daemon: daemon.tells_of(proposals[0]))
        self.rest = list(proposals[1:])
        self.asked: list[tuple[str, Json]] = []
        self.handlers |= {"loop.resolve": self._resolve, "approval.add": self._approve}

    def _resolve(self, _peer: Peer, params: Json) -> Json:
        self.asked.append(("loop.resolve", params))
        if self.rest:
            self.tells_of(self.rest.pop(0))
        else:
            self.ends(200)
        return {"status": 200 if params["decision"] == "accept" else 400, "logEntryId": params["logEntryId"]}

    def _approve(self, _peer: Peer, params: Json) -> Json:
        self.asked.append(("approval.add", params))
        return {"id": 3, "createdAt": "2026-01-01T00:00:00Z", **params}

    @property
    def decisions(self) -> list[Json]:
        return [params for method, params in self.asked if method == "loop.resolve"]

    @property
    def approvals(self) -> list[Json]:
        return [params for method, params in self.asked if method == "approval.add"]


def program(folder: Path, text: str) -> str:
    """A program of this text, as the value of a variable."""
    file = folder / "program"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


async def test_a_diff_is_shown_in_colours_and_its_acceptance_is_of_that_diff(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_file())
    async with served(home, daemon), at_a_terminal(home, "run", "x") as terminal:
        await terminal.see(QUESTION)
        assert "EDIT src/app.py (+2 -1 lines):\n--- a/src/app.py\n+++ b/src/app.py\n@@ -2,7 +2,8 @@\n" in terminal.text
        assert "\x1b[31m-line 5\x1b[m" in terminal.raw
        assert "\x1b[32m+line five\x1b[m" in terminal.raw
        await terminal.type("y")
        assert (await terminal.end())[0] == 0
    assert daemon.decisions == [
        {"logEntryId": ROW, "decision": "accept", "body": None, "outcome": None, "grant": None, "digest": DIGEST}
    ]


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
async def test_colours_are_left_out_where_they_are_not_wanted(tmp_path: Path, variables: dict[str, str]) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_file())
    async with served(home, daemon), at_a_terminal(home, "run", "x", **variables) as terminal:
        await terminal.see(QUESTION)
        assert "\n-line 5\n+line five\n" in terminal.raw.replace("\r\n", "\n")
        await terminal.type("y")
        assert (await terminal.end())[0] == 0


async def test_a_files_new_text_is_edited_and_what_was_edited_is_shown(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_file())
    editor = program(tmp_path, 'echo "$1" >> "$HOME/edited"; sed -i s/more/less/ "$1"')
    async with served(home, daemon), at_a_terminal(home, "run", "x", EDITOR=editor) as terminal:
        await terminal.see(QUESTION)
        await terminal.type("e")
        await terminal.see("EDIT src/app.py (+2 -1 lines); edited, which changes of what was proposed:\n")
        await terminal.see("\n-and more\n+and less\n")
        await terminal.see(QUESTION, 2)
        await terminal.type("a")
        await terminal.see("It was edited, and always would accept it as it was proposed; y accepts this one.")
        await terminal.see(QUESTION, 3)
        await terminal.type("y")
        assert (await terminal.end())[0] == 0
    assert [made["body"] for made in daemon.decisions] == [NEW.replace("more", "less")]
    assert (tmp_path / "edited").read_text().endswith("/app.py\n"), "the editor knows the language by the name"


async def test_the_ends_of_lines_survive_the_editor(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_file(old="a\r\n", new="a\r\nb\r\nno end"))
    editor = program(tmp_path, """sed -i '1s/a/c/; $s/$/ yet/' "$1"; echo >> "$1" """)
    async with served(home, daemon), at_a_terminal(home, "run", "x", EDITOR=editor) as terminal:
        await terminal.see(QUESTION)
        await terminal.type("e")
        await terminal.see(QUESTION, 2)
        await terminal.type("y")
        assert (await terminal.end())[0] == 0
    assert [made["body"] for made in daemon.decisions] == ["c\r\nb\r\nno end yet"]


async def test_what_is_edited_back_is_as_it_was_proposed(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_file())
    async with served(home, daemon), at_a_terminal(home, "run", "x", EDITOR="true") as terminal:
        await terminal.see(QUESTION)
        await terminal.type("edit")
        await terminal.see("EDIT src/app.py (+2 -1 lines):", 2)
        await terminal.see(QUESTION, 2)
        await terminal.type("y")
        assert (await terminal.end())[0] == 0
    assert [made["body"] for made in daemon.decisions] == [None]


@pytest.mark.spec("5.2-accept-body-diff-or-text")
async def test_what_cannot_be_accepted_when_edited_is_asked_about_again(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_file())
    resolve = daemon.handlers["loop.resolve"]

    def misfits(peer: Peer, params: Json) -> Json:
        if params["body"] == NEW.replace("more", "less"):
            daemon.asked.append(("loop.resolve", params))
            return {"status": 400, "logEntryId": ROW, "error": "it does not fit; it is still open"}
        answer = resolve(peer, params)
        assert isinstance(answer, dict)
        return answer

    daemon.handlers["loop.resolve"] = misfits
    editor = program(tmp_path, 'sed -i "s/less/even less/; s/more/less/" "$1"')
    async with served(home, daemon), at_a_terminal(home, "run", "x", EDITOR=editor) as terminal:
        await terminal.see(QUESTION)
        await terminal.type("e")
        await terminal.see(QUESTION, 2)
        await terminal.type("y")
        await terminal.see("! it does not fit; it is still open")
        await terminal.see("EDIT src/app.py (+2 -1 lines):\n", 2)
        await terminal.see(QUESTION, 3)
        await terminal.type("e")
        await terminal.see("\n-and more\n+and even less\n")  # it goes on with what was typed
        await terminal.see(QUESTION, 4)
        await terminal.type("y")
        assert (await terminal.end())[0] == 0
    assert [made["body"] for made in daemon.decisions] == [NEW.replace("more", to) for to in ("less", "even less")]


async def test_what_has_no_new_text_cannot_be_edited(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_file(new=None, op="SEND"))
    async with served(home, daemon), at_a_terminal(home, "run", "x", EDITOR="false") as terminal:
        await terminal.see(QUESTION)
        await terminal.type("e")
        await terminal.see("There is no new text that could be edited here: it is none, or too much.")
        await terminal.see(QUESTION, 2)
        await terminal.type("n keep it")
        assert (await terminal.end())[0] == 0
    assert [made["outcome"] for made in daemon.decisions] == ["rejected: keep it"]


async def test_a_long_diff_is_cut_and_the_pager_has_it_all(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_file(old=None, new="".join(f"number {n}\n" for n in range(1000))))
    pager = program(tmp_path, 'cat > "$HOME/paged"; echo "$LESS" >> "$HOME/paged"; test -t 1')
    async with served(home, daemon), at_a_terminal(home, "run", "x", PAGER=f"{pager} -x") as terminal:
        await terminal.see("… 603 more lines; [v]iew shows all\n")
        await terminal.see(QUESTION)
        await terminal.type("v")
        await terminal.see(QUESTION, 2)
        await terminal.type("y")
        assert (await terminal.end())[0] == 0
    assert "number 999" not in terminal.text
    paged = (tmp_path / "paged").read_text()
    assert "\x1b[32m+number 999\x1b[m\nFRX\n" in paged


@pytest.mark.parametrize(("pager", "said"), [("false", None), ("/no/such", "/no/such did not work: ")])
async def test_without_a_pager_that_works_it_is_printed(tmp_path: Path, pager: str, said: str | None) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_command("echo\n" * 1000 + "echo last"))
    async with served(home, daemon), at_a_terminal(home, "run", "x", PAGER=pager) as terminal:
        await terminal.see(QUESTION)
        await terminal.type("view")
        if said is not None:
            await terminal.see(said)
        await terminal.see("  │ echo last\n")
        await terminal.see(QUESTION, 2)
        await terminal.type("y")
        assert (await terminal.end())[0] == 0


@pytest.mark.parametrize(
    ("proposal", "said", "added"),
    [
        (
            of_file(path="src/[id].py"),
            "accept EDIT of src/[[]id].py\n",
            {"op": "EDIT", "scheme": "file", "pathGlob": "src/[[]id].py"},
        ),
        (
            of_command("make test -j 2"),
            "accept EXEC of make test … (sandbox workspace at most)\n",
            {"op": "EXEC", "scheme": "exec", "commandPrefix": "make test", "sandboxProfile": "workspace"},
        ),
    ],
)
@pytest.mark.spec("5.3-approvals-narrow")
async def test_always_is_narrow_and_is_said_before_it_holds(
    tmp_path: Path, proposal: ProposalView, said: str, added: Json
) -> None:
    home, daemon = Home(tmp_path), Reviewed(proposal)
    async with served(home, daemon), at_a_terminal(home, "run", "x") as terminal:
        await terminal.see(QUESTION)
        await terminal.type("a")
        await terminal.see(f"From now on, in this session, {said}")
        await terminal.see(STANDS)
        assert daemon.asked == []
        await terminal.type("")
        await terminal.see("plurnk approvals --remove 3 ends that")
        assert (await terminal.end())[0] == 0
    assert [method for method, _params in daemon.asked] == ["approval.add", "loop.resolve"]
    assert [{name: value for name, value in one.items() if value} for one in daemon.approvals] == [added]
    assert [made["decision"] for made in daemon.decisions] == ["accept"]


async def test_always_can_be_made_wider_but_not_to_miss_what_it_is_for(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_file())
    async with served(home, daemon), at_a_terminal(home, "run", "x") as terminal:
        await terminal.see(QUESTION)
        await terminal.type("a")
        await terminal.see(STANDS)
        await terminal.type("docs/**")
        await terminal.see("docs/** would not accept this one.")
        await terminal.see(STANDS, 2)
        await terminal.type("src/*.py")
        await terminal.see("accept EDIT of src/*.py\n")
        await terminal.see(STANDS, 3)
        await terminal.type("")
        assert (await terminal.end())[0] == 0
    assert [added["pathGlob"] for added in daemon.approvals] == ["src/*.py"]


@pytest.mark.parametrize("back", ["n\n", "\x04"])
async def test_who_goes_back_from_always_has_agreed_to_nothing(tmp_path: Path, back: str) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_file())
    async with served(home, daemon), at_a_terminal(home, "run", "x") as terminal:
        await terminal.see(QUESTION)
        await terminal.type("a")
        await terminal.see(STANDS)
        await terminal.press(back)
        await terminal.see(QUESTION, 2)
        await terminal.type("n")
        assert (await terminal.end())[0] == 0
    assert daemon.approvals == []
    assert [made["decision"] for made in daemon.decisions] == ["reject"]


@pytest.mark.parametrize("command", ["make | tee log", "make; true", "echo $(date)", "make >log", "make 'x", "a\nb"])
@pytest.mark.spec("5.3-approvals-narrow")
async def test_no_command_that_is_several_is_accepted_always(tmp_path: Path, command: str) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_command(command))
    async with served(home, daemon), at_a_terminal(home, "run", "x") as terminal:
        await terminal.see(QUESTION)
        await terminal.type("a")
        await terminal.see("Nothing narrow would accept this one always; y accepts it once.")
        await terminal.see(QUESTION, 2)
        await terminal.type("y")
        assert (await terminal.end())[0] == 0
    assert daemon.approvals == []


async def test_an_approval_that_is_refused_leaves_this_one_accepted(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_command())

    def refuses(_peer: Peer, _params: Json) -> Json:
        raise Refusal(-32602, "no such profile")

    daemon.handlers["approval.add"] = refuses
    async with served(home, daemon), at_a_terminal(home, "run", "x") as terminal:
        await terminal.see(QUESTION)
        await terminal.type("always")
        await terminal.see(STANDS)
        await terminal.type("")
        await terminal.see("! for sure this one alone is accepted: no such profile")
        assert (await terminal.end())[0] == 0
    assert [made["decision"] for made in daemon.decisions] == ["accept"]


@pytest.mark.spec("5.3-reannounced")
async def test_what_is_told_again_after_the_link_broke_is_asked_once(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_file(), of_command(log_entry_id=ROW + 1))
    attached = trio.Event()
    attach = daemon.handlers["session.attach"]

    def tells_again(peer: Peer, params: Json) -> Json:
        answer = attach(peer, params)
        assert isinstance(answer, dict)
        if params["since"] is None:
            return answer  # the first time, for what a terminal shows
        told = next(event for event in daemon.events if event["method"] == "loop/proposal")["params"]
        again = {name: value for name, value in told.items() if name != "eventId"}
        peer.afterwards.append({"method": "loop/proposal", "params": again})
        attached.set()
        return answer

    daemon.handlers["session.attach"] = tells_again
    async with served(home, daemon), at_a_terminal(home, "run", "x") as terminal:
        await terminal.see(QUESTION)
        await daemon.hang_up()
        await attached.wait()
        await terminal.type("y")
        await terminal.see("EXEC by sh in .")
        await terminal.see(QUESTION, 2)
        await terminal.type("y")
        assert (await terminal.end())[0] == 0
    assert terminal.text.count("EDIT src/app.py (+2 -1 lines):") == 1
    assert [made["logEntryId"] for made in daemon.decisions] == [ROW, ROW + 1]


async def test_what_is_decided_is_not_asked(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Reviewed()

    def decided_before_it_is_told(_daemon: LoopDaemon) -> None:
        daemon.decided(499, state="cancelled")
        daemon.tells_of(of_file())
        daemon.ends(200)

    daemon.script = decided_before_it_is_told
    async with served(home, daemon), at_a_terminal(home, "run", "x") as terminal:
        assert (await terminal.end())[0] == 0
    assert "Accept?" not in terminal.text
    assert daemon.decisions == []


async def test_what_the_daemon_accepts_by_itself_is_not_asked(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Reviewed()

    def approved(_daemon: LoopDaemon) -> None:
        daemon.tells_of(msgspec.structs.replace(of_file(), flags={"yolo": False, "approved": 3}))
        daemon.ends(200)

    daemon.script = approved
    async with served(home, daemon), at_a_terminal(home, "run", "x") as terminal:
        assert (await terminal.end())[0] == 0
    assert "Accept?" not in terminal.text
    assert daemon.decisions == []


@pytest.mark.spec("5.3-digest")
async def test_an_answer_to_something_else_is_refused_and_that_is_said(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_file())

    daemon.handlers["loop.resolve"] = lambda _peer, params: {
        "status": 409,
        "logEntryId": params["logEntryId"],
        "error": "it is not what was shown",
    }
    async with served(home, daemon), at_a_terminal(home, "run", "x") as terminal:
        await terminal.see(QUESTION)
        await terminal.type("y")
        await terminal.see("! it is not what was shown")
        daemon.ends(200)
        assert (await terminal.end())[0] == 0


async def test_an_edit_by_hand_is_shown_and_asked_about(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Reviewed(of_file())
    answered = trio.Event()

    async def parse(_peer: Peer, params: Json) -> Json:
        results: list[Json] = []
        if params["text"]:
            daemon.tells_of(of_file(old=OLD))
            await answered.wait()
            results.append({"status": 200})
        return {"errors": [], "turnId": 2, "loopId": 5, "results": results}

    def resolve(_peer: Peer, params: Json) -> Json:
        daemon.asked.append(("loop.resolve", params))
        answered.set()
        return {"status": 200, "logEntryId": ROW}

    daemon.handlers |= {"op.parse": parse, "loop.resolve": resolve}
    async with served(home, daemon), at_a_terminal(home, "op", "<<EDIT(src/app.py):x:EDIT") as terminal:
        await terminal.see(QUESTION)
        await terminal.type("y")
        assert await terminal.end() == (0, "200 src/app.py\n")
    assert [made["digest"] for made in daemon.decisions] == [DIGEST]
