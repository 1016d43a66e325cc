"""Secrets in every spelling, and texts that merely resemble them."""

from __future__ import annotations

import base64
import json
from html import escape
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migbench.util.redaction import MARK, forget_secrets, keep_secret, redact

KEY = 'sk-4f9a"8b7c\\6d5e/4f3a+2b1c=Zq'


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"Bearer {KEY}",
        f"xx{KEY}yy",
        KEY.upper(),
        KEY[:12],
        KEY[-12:],
        KEY[5:17],
        f"{KEY[:15]}\n{KEY[15:]}",
        quote(KEY),
        quote(KEY, safe=""),
        quote(quote(KEY, safe=""), safe=""),
        "".join(f"%{byte:02X}" for byte in KEY.encode()),
        json.dumps(KEY),
        json.dumps(json.dumps(KEY)),
        json.dumps(KEY).replace("/", "\\/"),
        "".join(f"\\u{ord(character):04x}" for character in KEY),
        repr(KEY),
        escape(KEY),
        "".join(f"&#{ord(character)};" for character in KEY),
        KEY.encode().hex(),
        *(base64.b64encode(b"user:"[:size] + KEY.encode()).decode() for size in range(3, 6)),
        base64.urlsafe_b64encode(KEY.encode()).decode()[:-6],
    ],
)
def test_a_secret_is_found_in_every_spelling(text: str) -> None:
    keep_secret(KEY)
    found = redact(f"refused: {text} (401)")
    assert found.startswith("refused: ")
    assert found.endswith(" (401)")
    assert MARK in found
    left = found.replace(MARK, "").removeprefix("refused: ").removesuffix(" (401)")
    # What may remain is shared with the neighbours, or shorter than a stretch.
    assert len(left) <= 12, left


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=8), st.text())
def test_no_text_repeats_a_secret(secret: str, around: str) -> None:
    forget_secrets()
    keep_secret(secret)
    for text in (secret, quote(secret, safe=""), json.dumps(secret), secret.encode().hex()):
        assert secret not in redact(around + text + around)
        assert text not in redact(around + text + around)


def test_other_texts_stay_as_they_are() -> None:
    keep_secret(KEY)
    for text in ("", "[100, 200, 500, 700]", "sk-4f9a", "400 Bad Request: \\n % &amp; %zz"):
        assert redact(text) == text


def test_an_answer_loses_only_what_cannot_be_a_coincidence() -> None:
    keep_secret("12345678901234567890")
    assert redact("(12345678, 1)", is_answer=True) == "(12345678, 1)"
    assert redact("(12345678, 1)") == f"({MARK}, 1)"
    assert redact("(1234567890123, 1)", is_answer=True) == f"({MARK}, 1)"


def test_the_placeholders_of_local_servers_are_replaced_as_words_and_never_in_answers() -> None:
    keep_secret("EMPTY")
    assert redact("the key EMPTY is wrong, NONEMPTY") == f"the key {MARK} is wrong, NONEMPTY"
    assert redact("EMPTY", is_answer=True) == "EMPTY"
