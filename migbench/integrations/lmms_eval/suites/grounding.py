"""RefCOCO, RefCOCO+ and RefCOCOg in the declared dialect, for lmms-eval's task files.

lmms-eval's own tasks read decimals in 0-1 whoever answers; here a model is asked and read as its
family writes boxes. The hub's rows have one object each, its box as (left, top, width, height) in
pixels and all expressions for it; a document is one expression.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace as with_fields

from migbench.asking.questions import Purpose, Turn
from migbench.boxes import Box, iou
from migbench.dialects import Dialect, ParseFailure, ask, parse
from migbench.integrations.lmms_eval.declared import declared_dialect
from migbench.integrations.lmms_eval.failures import failure
from migbench.messages import ImageFile, Size
from migbench.messages.image_decoding import flatten, inspect
from migbench.scoring.scorer import HIT_AT

Document = Mapping[str, Any]
Options = Mapping[str, Any]

KEPT = ("question_id", "image", "expression", "width", "height", "truth")


def refcoco_documents(records: Any) -> Any:
    """One document an expression."""
    return map_undecoded(
        records, _explode, batched=True, batch_size=100, remove_columns=records.column_names
    )


def map_undecoded(records: Any, function: Callable[..., Any], **how: Any) -> Any:
    """``Dataset.map`` that leaves images the bytes that they are; the function gets these."""
    from datasets import Image as Picture

    undecoded = records.cast_column("image", Picture(decode=False))
    return undecoded.map(function, **how).cast_column("image", Picture())


def stored_size(image: Mapping[str, Any]) -> Size:
    """An undecoded image's size in pixels, from its header alone."""
    if image["bytes"] is None:
        return ImageFile(image["path"], Path(image["path"])).size()
    header = inspect(io.BytesIO(image["bytes"]))
    return Size(header.width, header.height)


def _explode(rows: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    documents: dict[str, list[Any]] = {name: [] for name in KEPT}
    columns = (rows[name] for name in ("question_id", "image", "answer", "bbox"))
    for question, image, expressions, (left, top, wide, high) in zip(*columns, strict=True):
        width, height = stored_size(image)
        edges = (left / width, top / height, (left + wide) / width, (top + high) / height)
        for expression in expressions:
            row = (question, image, expression, width, height, edges)
            for name, value in zip(KEPT, row, strict=True):
                documents[name].append(value)
    return documents


def refcoco_text(document: Document, lmms_eval_specific_kwargs: Options | None = None) -> str:
    """The whole text, for lmms-eval's simple models."""
    return "".join(part for part in _parts(document) if isinstance(part, str))


def refcoco_images(document: Document) -> list[Any]:
    """The decoded image."""
    return [flatten(document["image"])]


def refcoco_messages(
    document: Document, lmms_eval_specific_kwargs: Options | None = None
) -> list[dict[str, Any]]:
    """The chat, as the dialect asks."""
    (image,) = refcoco_images(document)
    return chat(_parts(document), [image])


def _parts(document: Document) -> Sequence[str | ImageFile]:
    dialect = declared_dialect().dialect
    if dialect.referring:
        published = with_fields(dialect, prefix="", format="")
        text = dialect.referring.format(phrase=document["expression"])
        return parts(published, text, Purpose.DIRECT, 1)
    text = f"Locate <|object_ref_start|>{document['expression']}<|object_ref_end|> in this image. "
    return parts(dialect, text, Purpose.DIRECT, 1)


def parts(dialect: Dialect, text: str, purpose: Purpose, images: int) -> Sequence[str | ImageFile]:
    """What a turn shows, as the dialect asks it; images are placeholders, in their order."""
    shown = [ImageFile(f"image {number}") for number in range(1, images + 1)]
    turn = Turn(purpose, text, tuple(range(images)), (0,))
    return ask(dialect, turn, shown).parts


def chat(shown: Iterable[str | ImageFile], images: Iterable[Any]) -> list[dict[str, Any]]:
    """A user's message of these parts, the images in the placeholders' places."""
    remaining = iter(images)
    content = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image", "url": next(remaining)}
        for part in shown
    ]
    return [{"role": "user", "content": content}]


def refcoco_results(document: Document, results: Sequence[str]) -> dict[str, Any]:
    """How much of the truth the answer's first box covers, and whether it has a box."""
    answer = results[0]
    size = Size(document["width"], document["height"])
    parsed = parse(declared_dialect().dialect, answer, sizes=[size])
    found = parsed.select_box(None)
    overlap = 0.0 if found is None else float(iou(found.box, Box(*document["truth"]).repaired()))
    values = {
        f"acc@{HIT_AT}": float(overlap >= HIT_AT),
        "mean_iou": overlap,
        "unreadable": float(parsed.failure is ParseFailure.UNREADABLE),
    }
    failed = failure(answer) is not None
    return {name: {"values": [None if failed else value]} for name, value in values.items()}
