r"""Text from elsewhere, made harmless: one function for every format that is printed or written.

Names of models, answers, error texts and paths come from whoever made a run, a file or a server.
None of them may move a cursor, forge a line, reorder what stands around it, run a macro, become a
link, or start a formula. Characters that cannot be seen stand as escapes: ``\x1b``, ``\u202e``.
Pages of HTML are escaped by jinja2, after `terminal`.
"""

from __future__ import annotations

import re
from html import escape
from unicodedata import category

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Control characters, formatting (bidirectional, zero-width, tags), surrogates, private use, and
line and paragraph separators."""


def visible(text: str, keep: str = "") -> str:
    r"""The text on one line, invisible characters as escapes; those in ``keep`` stay.

    >>> print(visible("a\x1b[2Jb\nc"))
    a\x1b[2Jb\nc
    """
    if text.isprintable():
        return text
    return "".join(
        _escape(letter) if category(letter) in _INVISIBLE and letter not in keep else letter
        for letter in text
    )


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def terminal(text: str) -> str:
    """Lines of text for a terminal."""
    return visible(text, keep="\n\t")


def json(text: str) -> str:
    r"""JSON for a terminal: the same values, invisible characters written as JSON's own escapes.

    >>> print(json('"\u202e"'))
    "\u202e"
    """
    if text.isprintable():
        return text
    return "".join(
        _json_escape(letter) if letter != "\n" and category(letter) in _INVISIBLE else letter
        for letter in text
    )


def _json_escape(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


LATEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    '"': r"\texttt{\char34}",
    # After the end of a table's row, these two would be arguments of that end.
    "[": "{[}",
    "*": "{*}",
}
"""What is written for letters that mean something, or are drawn otherwise."""

_LIGATURES = re.compile(r"(?<=-)-|(?<=,),")


def latex(text: str) -> str:
    r"""One line of LaTeX text: no macro, no ligature, nothing that needs a package.

    >>> print(latex(r"\input{a_b} 100%"))
    \textbackslash{}input\{a\_b\} 100\%
    """
    written = "".join(LATEX.get(letter, letter) for letter in visible(text))
    return _LIGATURES.sub(lambda found: "{}" + found.group(), written)


_MARKDOWN = re.compile(r"[\\`*_\[\]~$!]")
_ENTITY = re.compile(r"\||://|www\.|@(?=[\w-]+\.)", re.IGNORECASE)
"""Ends of cells, and what GitHub makes a link of without any markup: no backslash helps."""
_BLOCK = re.compile(r"^(?:[#+=-]|\d{1,9}[.)])")
"""What would begin a heading, a list or a rule at the start of a line."""


def markdown(text: str) -> str:
    r"""One line of Markdown text (CommonMark, and GitHub's): no markup, no HTML, no link.

    >>> print(markdown("a_b <img> [x](y)"))
    a\_b &lt;img&gt; \[x\](y)
    """
    plain = escape(visible(text), quote=False)
    plain = _ENTITY.sub(_as_entities, _MARKDOWN.sub(r"\\\g<0>", plain))
    begun = plain.lstrip(" ")
    # As an entity, a space indents nothing.
    spaces = "&#32;" * (len(plain) - len(begun))
    return spaces + _BLOCK.sub(lambda found: f"{found.group()[:-1]}\\{found.group()[-1]}", begun)


def _as_entities(found: re.Match[str]) -> str:
    return "".join(f"&#{ord(letter)};" if letter in "|:.@" else letter for letter in found.group())


FORMULA = tuple("=+-@\t\r\n＝＋－＠'")
"""How a text begins that a spreadsheet would take for a formula, or that is marked as harmless."""


def csv(text: str) -> str:
    """A text for a cell of a CSV file; take one leading apostrophe away to have it back.

    >>> csv("=1+1")
    "'=1+1"
    """
    return f"'{text}" if text.startswith(FORMULA) else text
