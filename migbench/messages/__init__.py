"""What passes between migbench and a model: images, requests, answers, and the adapter protocol.

Adapters import this module and nothing else of migbench. A new adapter is a class with one method::

    from migbench.messages import Answer, Request

    class MyModel:
        def __init__(self, temperature: float = 0.0) -> None: ...
        def answer(self, request: Request) -> Answer | str: ...

Its constructor's keywords are its settings (``--model-arg temperature=0.2``, or ``settings:`` in a
profile). `Adapter` below is the full protocol, for adapters that answer many requests at once.
"""

from migbench.errors import AdapterError, ModelError, ServerDown
from migbench.messages.adapter import Adapter, Answer, Readiness, Resizing
from migbench.messages.finish_reasons import Finish, finish_of, is_filter_code, names_filter
from migbench.messages.images import EncodedImage, ImageFile, Size
from migbench.messages.requests import Generation, Part, Request
from migbench.util.daemon_threads import DaemonThreads
from migbench.util.plain_text import describe, encodable, root_cause
from migbench.util.redaction import keep_secret, redact

__all__ = [
    "Adapter",
    "AdapterError",
    "Answer",
    "DaemonThreads",
    "EncodedImage",
    "Finish",
    "Generation",
    "ImageFile",
    "ModelError",
    "Part",
    "Readiness",
    "Request",
    "Resizing",
    "ServerDown",
    "Size",
    "describe",
    "encodable",
    "finish_of",
    "is_filter_code",
    "keep_secret",
    "names_filter",
    "redact",
    "root_cause",
]
