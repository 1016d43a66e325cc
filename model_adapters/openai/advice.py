"""What to do about a server's refusal: the setting or the option that is the way out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from model_adapters.openai.server_errors import ServerError

_REFUSED = re.compile(
    r"unsupported|not supported|n[o']t support|unknown|unrecogni[sz]ed|unexpected|not permitted"
    r"|not allowed|no longer|deprecated|extra|invalid (?:param|arg|field|value)|cannot find field"
    r"|cannot both|only the default|must be|incompatible|not available",
    re.IGNORECASE,
)
"""How servers say that they do not take a field."""

_TOO_LONG = re.compile(
    r"context length|maximum (?:model )?length|too (?:large|long)", re.IGNORECASE
)
_ABOUT_A_MODEL = re.compile(r"\bmodel\b|\bdeployment\b", re.IGNORECASE)
_NOT_THERE = re.compile(r"n[o']t (?:found|exist)|no such|unknown|invalid model", re.IGNORECASE)
_VERSION = re.compile(r"/v\d+\w*(?:/|$)")

_MAX_TOKENS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Advice:
    """What is known here of the requests that a server refuses.

    ``omittable`` are the fields that ``omit_fields`` may name, ``extra`` those of ``extra_body``.
    """

    model: str
    max_tokens_field: str
    omittable: Sequence[str]
    extra: Sequence[str]
    key_variable: str
    has_key: bool

    def on(self, status: int, error: ServerError, url: str, served: Sequence[str]) -> str:
        """The way out of an error with this status, in brackets; empty where none is known.

        ``served`` are the models that the server lists.
        """
        found = ""
        if status in {401, 403}:
            found = self._on_key()
        elif status in {404, 405}:
            found = self._on_place(error.message, url, served)
        elif status in {400, 422}:
            found = self._on_field(error) or self._on_model(error.message, served)
        return f" ({found})" if found else ""

    def _on_key(self) -> str:
        state = "is set" if self.has_key else "is not set"
        remedy = "" if self.has_key else f"; export {self.key_variable}=..., or name another one"
        return (
            f"the key is taken from {self.key_variable}, which {state}{remedy}"
            + ("; is it the key of this server?" if self.has_key else "")
            + " (--model-arg api_key_env=VARIABLE)"
        )

    def _on_place(self, message: str, url: str, served: Sequence[str]) -> str:
        if found := self._on_model(message, served):
            return found
        return missing_version(url)

    def _on_model(self, message: str, served: Sequence[str]) -> str:
        if self.model in served or not _ABOUT_A_MODEL.search(message):
            return ""
        if not _NOT_THERE.search(message):
            return ""
        names = f"served there: {', '.join(served[:10])}; " if served else ""
        return f"{names}the model's name is --model, or checkpoint in a profile"

    def _on_field(self, error: ServerError) -> str:
        """The setting for a field that the server names and does not take."""
        if _TOO_LONG.search(error.message):
            return ""
        refuses = _REFUSED.search(error.message) or error.parameter
        if not refuses:
            return ""
        named = error.parameter.rpartition(".")[2]
        if self._is_named(self.max_tokens_field, error.message, named):
            (other,) = [name for name in _MAX_TOKENS if name != self.max_tokens_field][:1]
            return f"--model-arg max_tokens_field={other}"
        omitted = [one for one in self.omittable if self._is_named(one, error.message, named)]
        if omitted:
            return f"--model-arg 'omit_fields=[{', '.join(omitted)}]'"
        extra = [one for one in self.extra if self._is_named(one, error.message, named)]
        return f"{', '.join(extra)} comes from extra_body" if extra else ""

    @staticmethod
    def _is_named(field: str, message: str, named: str) -> bool:
        if named:
            return field == named
        return re.search(rf"(?<!\w){re.escape(field)}(?!\w)", message) is not None


def missing_version(url: str) -> str:
    """A hint that an address may lack the API's version; empty where it has one."""
    base = url.removesuffix("/chat/completions")
    if _VERSION.search(urlsplit(base).path):
        return ""
    return f"the API's address mostly ends in /v1: try --endpoint {base}/v1"


def unreachable(error: BaseException, url: str) -> str:
    """What it means that no connection to a server came about, in brackets."""
    parts = urlsplit(url)
    causes = _causes(error)
    words = " ".join(str(cause) for cause in causes).lower()
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes) or "refused" in words:
        hint = (
            f"nothing listens at {parts.netloc}: is the server started, "
            "and are host and port right?"
        )
    elif "name or service" in words or "nodename" in words or "dns" in words or "resolve" in words:
        hint = f"the host {parts.hostname} is not known: is the address right?"
    elif "wrong_version" in words or "wrong version" in words or "record layer" in words:
        hint = "the server does not speak TLS: is its address http:// and not https://?"
    elif "certificate" in words:
        hint = "its certificate is not trusted here: SSL_CERT_FILE names one that is"
    else:
        return ""
    return f" ({hint})"


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        found += [inner for inner in _inner(error) if inner not in found]
        error = error.__cause__ or error.__context__
    return found


def _inner(error: BaseException) -> Iterable[BaseException]:
    os_error = getattr(error, "os_error", None)
    return [os_error] if isinstance(os_error, BaseException) else []
