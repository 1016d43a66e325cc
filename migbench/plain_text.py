"""Texts from elsewhere as texts that every file can hold."""

from __future__ import annotations


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
