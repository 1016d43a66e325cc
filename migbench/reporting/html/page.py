"""One self-contained HTML file from a summary and a gallery; it asks nothing of any other place."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

import msgspec

from migbench.errors import UsageError
from migbench.reporting import palette
from migbench.reporting.html.records import Gallery
from migbench.reporting.html.summary import Summary
from migbench.util import escaping

ASSETS = Path(__file__).parent / "assets"

SCRIPTS = (
    *("data", "state", "text", "boxes", "filters", "card", "gallery", "facets", "focus"),
    *("compare", "live", "scroll", "main"),
)
"""Parts of the page's one script, each about one thing, in the order in which they build up."""
STYLES = ("base", "summary", "gallery", "focus", "print")

_IMAGES = "img-src data: 'self' file:"
"""Embedded thumbnails; linked ones, whether the page is opened from a disk or from a server."""


def page(title: str, summary: Summary, gallery: Gallery, *, live: str | None = None) -> str:
    """The whole page.

    ``live`` is the state of the runs that it shows, where a viewer serves it and can tell when that
    has changed. Raises `UsageError` where jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise UsageError(
            f"a page needs jinja2: pip install 'migbench[report]' ({error})"
        ) from error

    def finalize(value: object) -> object:
        """Texts without invisible characters, which are then escaped for HTML."""
        is_text = isinstance(value, str) and not isinstance(value, Markup)
        return escaping.terminal(str(value)) if is_text else value

    script, style = Markup(_script()), Markup(_style())
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(
        title=title,
        summary=summary,
        gallery=gallery,
        live=live,
        policy=_policy(script, style, asks_viewer=live is not None),
        script=script,
        style=style,
        data=Markup(inline_json(msgspec.json.encode(gallery).decode())),
    )


_UNSAFE = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def inline_json(json: str) -> str:
    r"""JSON that no HTML parser can take for anything else, in whatever element it stands.

    >>> print(inline_json('"</script>"'))
    "\u003c/script\u003e"
    """
    return json.translate(_UNSAFE)


@cache
def _script() -> str:
    parts = ((ASSETS / "script" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    return '(() => {\n"use strict";\n' + "\n".join(parts) + "\n})();"


@cache
def _style() -> str:
    parts = ((ASSETS / "style" / f"{name}.css").read_text(encoding="utf-8") for name in STYLES)
    return "\n".join([_colours(), *parts])


def _colours() -> str:
    """The shared colours as CSS variables: ``--run-0`` and on are the runs', in their order."""
    named = {"truth": palette.TRUTH, "reference": palette.YELLOW}
    named |= {f"run-{place}": colour for place, colour in enumerate(palette.MODELS)}
    named |= {
        "hit": palette.TRUTH,
        "missing": palette.SKY,
        "unreadable": palette.PURPLE,
        "refused": palette.YELLOW,
        "truncated": palette.ORANGE,
    }
    return ":root {" + " ".join(f"--{name}: {colour};" for name, colour in named.items()) + "}"


def _policy(script: str, style: str, *, asks_viewer: bool) -> str:
    """A Content-Security-Policy under which nothing but this script and this style works."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            _IMAGES,
            "connect-src 'self'" if asks_viewer else "connect-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
