"""Boxes drawn on their images, side by side, as one picture and as a page around it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from migbench.boxes import Box
from migbench.messages import ImageFile
from migbench.reporting.palette import MODELS
from migbench.util.files import replaced

_HEIGHT = 480
_CAPTION = 26
_GAP = 8
_FONT = 15
_LINE = 4
_WIDEST = 3000
"""Pixels; more images than fit are made smaller."""


def draw_boxes(images: Sequence[ImageFile], boxes: Mapping[int, Sequence[Box]]) -> Image.Image:
    """All images side by side, each with its number and name, and its boxes (in 0-1) on it.

    ``boxes`` are by image, counted from 0. Raises `ModelError` where an image cannot be read.
    """
    pictures = [image.open() for image in images]
    shares = [picture.width / picture.height for picture in pictures]
    height = max(32, min(_HEIGHT, int((_WIDEST - _GAP * len(images)) / sum(shares))))
    widths = [max(32, round(height * share)) for share in shares]
    sheet = Image.new(
        "RGB", (sum(widths) + _GAP * (len(widths) + 1), height + _CAPTION + _GAP), "white"
    )
    font = ImageFont.load_default(_FONT)
    left = _GAP
    for number, (image, picture, width) in enumerate(zip(images, pictures, widths, strict=True)):
        shown = picture.resize((width, height))
        pen = ImageDraw.Draw(shown)
        for place, box in enumerate(boxes.get(number, ())):
            colour = MODELS[place % len(MODELS)]
            pen.rectangle(_pixels(box, width, height), outline=colour, width=_LINE)
        sheet.paste(shown, (left, _CAPTION))
        caption = Image.new("RGB", (width, _CAPTION), "white")
        ImageDraw.Draw(caption).text(
            (0, 4), f"Image {number + 1}: {image.name}", fill="black", font=font
        )
        sheet.paste(caption, (left, 0))
        left += width + _GAP
    return sheet


def write_png(path: Path, picture: Image.Image) -> None:
    """Write a picture; a file that is there is replaced."""
    with replaced(path) as partial:
        picture.save(partial, "PNG")


def write_page(path: Path, picture: Image.Image, title: str, texts: Mapping[str, str]) -> None:
    """Write a page by itself: the picture, and texts below their headings."""
    content = io.BytesIO()
    picture.save(content, "PNG")
    source = base64.b64encode(content.getvalue()).decode()
    sections = "\n".join(
        f"<h2>{html.escape(heading)}</h2>\n<pre>{html.escape(text)}</pre>"
        for heading, text in texts.items()
    )
    with replaced(path) as partial:
        partial.write_text(
            f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70em; margin: 1em auto; padding: 0 1em; }}
img {{ max-width: 100%; height: auto; border: 1px solid #ccc; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f4f4; padding: .6em; }}
</style>
<h1>{html.escape(title)}</h1>
<img alt="The images, with the boxes of the answer" src="data:image/png;base64,{source}">
{sections}
</html>
""",
            "utf-8",
        )


def _pixels(box: Box, width: int, height: int) -> tuple[float, float, float, float]:
    """A box in pixels, its corners in order, as far as it lies in the image."""
    xs = sorted(min(max(edge, 0.0), 1.0) * (width - 1) for edge in (box.x1, box.x2))
    ys = sorted(min(max(edge, 0.0), 1.0) * (height - 1) for edge in (box.y1, box.y2))
    return xs[0], ys[0], xs[1], ys[1]
