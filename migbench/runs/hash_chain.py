"""Seals: how a stored run tells that a byte of it was changed, or a line deleted.

Every stored line ends in a link, ``"link":"<own><chain>"``, of twelve hexadecimal digits each:
``own`` is the SHA-256 of the line without its link, ``chain`` that of the chain before it and
``own``. A changed byte breaks a line's own digits; a line that is missing, added or moved breaks
the chain at the line behind it. How many lines there are, and the last link, stand in the
manifest's `Seal`, with the SHA-256 of all else in the manifest.

A seal is no signature: it shows damage and edits, and whoever wants to can seal anew. What cannot
be made to come out again by somebody else is the run's hash (`migbench.runs.run_hash`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

DIGITS = 12
_MARK = b',"link":"'
_END = b'"}'
_LENGTH = len(_MARK) + 2 * DIGITS + len(_END)


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """What a run held when its manifest was written.

    ``lines`` is the number of stored lines and ``link`` the last one's, empty where there is none;
    ``manifest`` is the SHA-256 of the rest of the manifest.
    """

    lines: int
    link: str
    manifest: str


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """Where a file of linked lines ends: how many lines it has, and the last one's link."""

    lines: int = 0
    link: str = ""

    def followed_by(self, content: bytes) -> tuple[bytes, ChainEnd]:
        """A JSON object with its link, as the next line, and where the file ends with it."""
        link = _link(self.link, content)
        line = content[:-1] + _MARK + link.encode() + _END
        return line + b"\n", ChainEnd(self.lines + 1, link)

    def after(self, line: bytes) -> ChainEnd:
        """Where the file ends with this line, which is stored already; a blank one is no answer."""
        if not line.strip():
            return self
        _, link = _taken_apart(line)
        return ChainEnd(self.lines + 1, link)

    def followed_by_stored(self, line: bytes) -> tuple[bytes, ChainEnd]:
        """A line that was stored, linked anew; one from before there were links stays without."""
        content, link = _taken_apart(line)
        if not link and not self.link:
            return content + b"\n", ChainEnd(self.lines + 1, "")
        return self.followed_by(content)


@dataclass
class ChainReport:
    """What the links of a file say, its lines being looked at from the first to the last.

    Numbers of lines count from 1; ``count`` leaves out blank lines, which an editor may add and
    which hold no answer. ``unsealed`` is how many lines there are before the first link:
    those stored by versions of migbench that made none. ``at_seal`` is the link of the line at the
    place where the seal saw the last one.
    """

    count: int = 0
    unsealed: int = 0
    changed: list[int] = field(default_factory=list)
    """Lines whose content is not what was stored."""
    displaced: list[int] = field(default_factory=list)
    """Lines in front of which something else stood when they were stored."""
    blank: int = 0
    carriage_returns: int = 0
    """Lines that end in CR LF, as some transfers make of LF."""
    torn: bool = False
    """Whether the last line was cut off, as it is when its writer is killed."""
    at_seal: str = ""


def inspect(lines: Iterable[bytes], sealed: int | None = None) -> ChainReport:
    """Hold stored lines against their links; ``sealed`` is the number of lines of the seal."""
    found = ChainReport()
    before = ""
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            found.torn = True
            break
        if not line.strip():
            found.blank += 1
            continue
        found.count += 1
        found.carriage_returns += line.endswith(b"\r\n")
        content, link = _taken_apart(line)
        if link:
            expected = _link(before, content)
            if link[:DIGITS] != expected[:DIGITS]:
                found.changed.append(number)
            elif link != expected:
                found.displaced.append(number)
        elif found.unsealed == found.count - 1:
            found.unsealed += 1
        else:
            found.changed.append(number)
        before = link
        if found.count == sealed:
            found.at_seal = link
    return found


def is_whole(line: bytes) -> bool | None:
    """Whether a line's content is what was linked; None for a line without a link."""
    content, link = _taken_apart(line)
    return _link("", content)[:DIGITS] == link[:DIGITS] if link else None


def follows(before: str, line: bytes) -> bool:
    """Whether the line was stored behind the line that has this link."""
    content, link = _taken_apart(line)
    return link == _link(before, content)


def manifest_digest(manifest: bytes) -> str:
    """SHA-256 of a manifest's content without its seal, however its JSON is laid out.

    Raises `msgspec.DecodeError` for what is no JSON object.
    """
    content = msgspec.json.decode(manifest, type=dict[str, Any])
    content.pop("seal", None)
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def _link(before: str, content: bytes) -> str:
    own = hashlib.sha256(content).hexdigest()[:DIGITS]
    chain = hashlib.sha256((before[DIGITS:] + own).encode()).hexdigest()[:DIGITS]
    return own + chain


def _taken_apart(line: bytes) -> tuple[bytes, str]:
    """A line's content, as it was before it was linked, and its link, or nothing for a link."""
    line = line.rstrip(b"\r\n")
    mark = len(line) - _LENGTH
    if mark < 0 or not (line.startswith(_MARK, mark) and line.endswith(_END)):
        return line, ""
    link = line[mark + len(_MARK) : -len(_END)]
    if not link.isalnum():
        return line, ""
    return line[:mark] + b"}", link.decode("ascii")
