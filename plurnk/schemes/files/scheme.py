"""The files of a project as a scheme (SPEC 2.3). COPY and MOVE of them are the engine's."""

from __future__ import annotations

from collections.abc import Mapping

from plurnk.content.mimetypes import PLAIN
from plurnk.language.ast import OpName
from plurnk.language.targets import FILE
from plurnk.plugins.api import ChannelSpec, Handler, Manifest
from plurnk.schemes.files.changing import edit, send
from plurnk.schemes.files.finding import find
from plurnk.schemes.files.reading import read
from plurnk.schemes.files.registered import BODY
from plurnk.schemes.files.showing import hide, show


class FileScheme:
    """Bare paths. Looking is free; whatever writes to the disk is proposed."""

    manifest = Manifest(
        name=FILE,
        channels={BODY: ChannelSpec(mimetype=PLAIN)},
        default_channel=BODY,
        writable_by=frozenset({"model", "client", "plugin"}),
        effects="external",
        proposes=True,
        category="files",
    )
    handlers: Mapping[OpName, Handler] = {
        "FIND": find,
        "READ": read,
        "EDIT": edit,
        "SHOW": show,
        "HIDE": hide,
        "SEND": send,
    }


file = FileScheme()
