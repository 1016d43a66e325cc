"""Other people's texts and exceptions as plain text: encodable as UTF-8, bounded, without secrets.

A subclass of `str` may have methods of its own, and so may an exception: none of them can make
these functions fail.
"""

from __future__ import annotations

import traceback

from migbench.errors import Interrupted, MigbenchError
from migbench.util.redaction import redact

LONGEST_MESSAGE = 2_000
"""Characters that are kept of an error's own words."""

LONGEST_TRACEBACK = 20_000
"""Characters that are kept of a traceback: its beginning and its end."""

_FILTERED_MOST = 10
"""How many times what is kept goes through the filter for secrets, which takes its time."""


def encodable(text: str) -> str:
    """The text as a plain `str` that UTF-8 can encode.

    Two halves of a surrogate pair become their character. A lone half, which is no character, is
    written as its escape, so that nothing of the text is lost.

    >>> encodable("a \\ud83d\\ude00 b \\ud83d c") == "a \\U0001f600 b \\\\ud83d c"
    True
    """
    text = str.__str__(text)  # A subclass may have methods of its own.
    try:
        text.encode()
    except UnicodeEncodeError:
        paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return paired.encode("utf-8", "backslashreplace").decode()
    return text


def describe(error: BaseException) -> str:
    """An exception in plain words, without secrets, with its kind where it is not one of ours."""
    words = _words(error)
    # Not isinstance, which may ask the object itself what it is.
    if not words or not issubclass(type(error), MigbenchError):
        words = f"{_kind(error)}: {words}" if words else _kind(error)
    return _bounded(words, LONGEST_MESSAGE)


def traceback_of(error: BaseException) -> str:
    """The whole traceback, with all causes; only what is very long is cut, in its middle."""
    try:
        text = "".join(encodable(line) for line in traceback.format_exception(error))
    except Interrupted:
        raise
    except BaseException as another:  # Formatting calls methods of the exception, too.
        frames = BaseException.__dict__["__traceback__"].__get__(error)
        text = "".join(traceback.format_tb(frames))
        text += f"{_kind(error)} (its message cannot be shown: {_kind(another)})\n"
    return _bounded(text, LONGEST_TRACEBACK)


def root_cause(error: BaseException) -> BaseException:
    """The exception that the others were raised for; causes may run in a circle."""
    seen = {id(error)}
    while (cause := error.__cause__) is not None and id(cause) not in seen:
        seen.add(id(cause))
        error = cause
    return error


def _kind(error: BaseException) -> str:
    return encodable(type.__dict__["__name__"].__get__(type(error)))


def _words(error: BaseException) -> str:
    """What the exception says of itself, or that it cannot."""
    try:
        return encodable(str(error))
    except Interrupted:
        raise
    except BaseException as another:
        return f"(its message cannot be shown: {_kind(another)})"


def _bounded(text: str, most: int) -> str:
    # Cut behind the filter, which would not know a half of a secret; what the first cut halves
    # lies in the middle, and falls to the second.
    return _shortened(redact(_shortened(text, _FILTERED_MOST * most)), most)


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters ...]\n{text[-half:]}"
