"""One filter for secrets: every text that goes to disk, a log or the screen can pass through it.

Servers repeat keys in their errors: whole, inside a longer word, URL-encoded, in base64, escaped,
or cut. So a secret is known by all its short stretches in all these spellings, and any run of a
text that is made of them is replaced. What is secret belongs to the process: whoever reads a key
(an adapter, the command line) calls `keep_secret` once, and `redact` knows it from then on.
"""

from __future__ import annotations

import base64
import html
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

MARK = "[key]"
"""What stands in a text where a secret stood."""

STRETCH = 8
"""Characters of a secret that are replaced wherever they stand together."""

STRETCH_IN_ANSWERS = 12
"""The same within a model's answer, where a coincidence would change what is scored."""

_kept: set[str] = set()
_stretches: dict[int, set[str]] = {STRETCH: set(), STRETCH_IN_ANSWERS: set()}
_SPACE = re.compile(r"\s")
_ESCAPE = re.compile(
    r"(?:%|\\x)(?P<hex>[0-9a-f]{2})|\\u(?P<hex4>[0-9a-f]{4})"
    r"|&#(?P<entity>[0-9]{1,7});|&#x(?P<hex_entity>[0-9a-f]{1,6});|&(?:amp|lt|gt|quot|apos);"
    r"|\\(?P<escaped>[^xu\s])",
    re.IGNORECASE,
)
"""How URLs, JSON, Python and HTML write characters that mean something to them."""


def keep_secret(secret: str) -> None:
    """Have `redact` replace this secret from now on, in whatever spelling it comes."""
    secret = secret.strip()
    if not secret or secret in _kept:
        return
    _kept.add(secret)
    if len(secret) < STRETCH:
        return
    for spelling in _spellings(secret):
        plain = _plain(spelling)
        for length, known in _stretches.items():
            # A whole secret may be shorter than the stretch that answers ask for.
            size = min(length, len(secret))
            known.update(plain[at : at + size] for at in range(len(plain) - size + 1))


def redact(text: str, *, is_answer: bool = False) -> str:
    """The text with `MARK` in place of every secret that is kept, and of every cut piece of one.

    Secrets of fewer than eight characters are the placeholders that local servers are given
    (``EMPTY``): they are replaced as whole words, and not in a model's answer (``is_answer``).
    """
    if not _kept or not text:
        return text
    length = STRETCH_IN_ANSWERS if is_answer else STRETCH
    if spans := _secret_spans(text, _stretches[length]):
        pieces, end = [], 0
        for start, stop in spans:
            pieces += [text[end:start], MARK]
            end = stop
        text = "".join(pieces) + text[end:]
    if is_answer:
        return text
    for secret in _kept:
        if len(secret) < STRETCH:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MARK, text)
    return text


def forget_secrets() -> None:
    """Keep none any more; for tests, which share a process."""
    _kept.clear()
    for known in _stretches.values():
        known.clear()


@dataclass(frozen=True, slots=True)
class _Character:
    """One character of a text, or what an escape sequence in it stands for, and its place."""

    value: str
    start: int
    stop: int


def _secret_spans(text: str, stretches: set[str]) -> list[tuple[int, int]]:
    """Start and end of each run of the text that is made of secrets' stretches, in order.

    The text is searched as it stands, and with its escape sequences resolved once and twice.
    """
    if not stretches:
        return []
    lengths = sorted({len(stretch) for stretch in stretches})
    plain = _plain(text)
    if not _ESCAPE.search(plain) and not any(_matches(plain, stretches, lengths)):
        return []  # As nearly all texts are: no need to know where what stands.
    # White space is passed over: long words are wrapped on their way.
    view = [
        _Character(character, at, at + 1)
        for at, character in enumerate(text)
        if not character.isspace()
    ]
    found: list[tuple[int, int]] = []
    for _ in range(3):
        plain = "".join(one.value.lower()[:1] for one in view)
        found += [
            (view[at].start, view[at + length - 1].stop)
            for at, length in _matches(plain, stretches, lengths)
        ]
        if not _ESCAPE.search(plain):
            break
        view = _unescaped(view)
    return _merged(found)


def _matches(plain: str, stretches: set[str], lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where stretches stand in a text, and how long they are."""
    for length in lengths:
        for at in range(len(plain) - length + 1):
            if plain[at : at + length] in stretches:
                yield at, length


def _plain(text: str) -> str:
    """The text in small letters and without white space, one character for each."""
    text = _SPACE.sub("", text)
    # Character by character where lower() may change the text's length.
    return text.lower() if text.isascii() else "".join(one.lower()[:1] for one in text)


def _unescaped(view: list[_Character]) -> list[_Character]:
    """The same characters, with what an escape sequence stands for in its place."""
    text = "".join(one.value for one in view)
    result: list[_Character] = []
    end = 0
    for match in _ESCAPE.finditer(text):
        result += view[end : match.start()]
        start, stop = view[match.start()].start, view[match.end() - 1].stop
        result += [_Character(value, start, stop) for value in _meant_by(match)]
        end = match.end()
    return result + view[end:]


def _meant_by(escape: re.Match[str]) -> str:
    digits = escape["hex"] or escape["hex4"] or escape["hex_entity"]
    if digits or escape["entity"]:
        code = int(digits, 16) if digits else int(escape["entity"])
        return chr(code) if code <= sys.maxunicode else ""
    return escape["escaped"] or html.unescape(escape[0])


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged


def _spellings(secret: str) -> Iterator[str]:
    """The ways in which programs encode a text; escape sequences are resolved in what is searched.

    In base64 a secret may stand anywhere inside of what was encoded, behind ``user:`` for instance:
    characters that its neighbours have a part in are left out.
    """
    raw = secret.encode()
    yield secret
    yield secret[::-1]
    yield raw.hex()
    yield quote(secret, safe="")  # for characters that take several bytes
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        inside = encoded[(0, 2, 3)[before] : (len(raw) + before) * 8 // 6]
        yield inside
        yield inside.replace("+", "-").replace("/", "_")
