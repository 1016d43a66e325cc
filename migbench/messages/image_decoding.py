"""The one decoder of image files: what a model is to see of each, whichever adapter shows it.

- Pixels stand as they are stored: an orientation in the file's metadata is not applied, since boxes
  are written for the stored pixels.
- Transparency is laid on white, as vLLM, Qwen's own utilities and browsers do.
- 16 bits a channel become their upper 8, so that no two shades are clipped into one.
- Palettes, one bit, CMYK and YCCK become RGB by Pillow's plain formulas. Colour profiles and gamma
  are not applied. Of an animation or a file of several pages the first one is shown.
- Pixels that are floating point, signed or of 32 bits have no declared range: they are refused.

`inspect` reads headers alone and says why a file's own bytes would look otherwise elsewhere, if so.
What these functions raise is whatever Pillow does; `migbench.messages.ImageFile` gives it words.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FORMATS", "MAX_BYTES", "MAX_PIXELS", "Header", "decode", "encode", "flatten", "inspect"]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
"""What is opened at all: formats of pixels that are decoded in this process. Pillow knows others
that start programs (PostScript starts Ghostscript) or hand over to whatever is installed."""

MAX_PIXELS = 2**26
"""A larger image is refused: 67 million, several times what any processor leaves of an image.
Decoded, so many take 270 MB, and twice that while they are converted."""

MAX_BYTES = 2**29
"""A larger file is refused: more than `MAX_PIXELS` take without compression."""

_AS_THEY_ARE = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
}
"""The formats of which servers and browsers take the bytes as they are."""

_ORIENTATION = 0x0112
"""Of EXIF and TIFF."""
_UPRIGHT = (None, 1)

_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_PHOTOMETRIC = 256, 257, 258, 262
_WHITE_IS_ZERO = 0

_DEEP_GREY = ("I;16", "I;16B", "I;16L", "I;16N")
_WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself before its pixels: width and height as stored, and its format.

    ``media_type`` is None where servers and browsers do not take the format. ``difference`` says
    what of the image a decoder may show otherwise than `decode` does; None where nothing is known.
    """

    width: int
    height: int
    media_type: str | None
    difference: str | None


def inspect(file: IO[bytes]) -> Header:
    """What the headers of an image file say; no pixels are decoded, but for odd metadata."""
    with _opened(file) as image:
        width, height = _stored_size(image)
        return Header(width, height, _AS_THEY_ARE.get(image.format), _difference(image, file))


def decode(file: IO[bytes]) -> Image:
    """The pixels in RGB that a model is to see, without any metadata. See the module for the rules.

    Raises ValueError for pixels without a declared range, else whatever Pillow raises.
    """
    with _opened(file) as image:
        orientation = _tiff_orientation(image)
        image.load()
        return _turned_back(flatten(image), orientation)


def flatten(image: Image) -> Image:
    """What a model is to see of an opened image, in RGB and without metadata; it is not turned.

    Raises ValueError for pixels without a declared range.
    """
    from PIL import Image as Pillow

    if (levels := _levels(image)) is not None:
        return _upper_bits(image, levels)
    if image.mode in _WITH_ALPHA or "transparency" in image.info or _has_clear_palette(image):
        layered = _with_alpha(image)
        shown = Pillow.new("RGB", image.size, (255, 255, 255))
        shown.paste(layered, mask=layered.getchannel("A"))
        return shown
    shown = image.convert("RGB")
    shown.info = {}
    return shown


def encode(image: Image) -> bytes:
    """An image as a PNG: without loss, and quickly rather than small."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _opened(file: IO[bytes]) -> Any:
    """Pillow's image, untyped: its formats add members.

    Raises ValueError for other formats, and for too many pixels.
    """
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    try:
        image: Any = Pillow.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ValueError(
            f"it is no whole file of a known format: {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        ) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise ValueError(
            f"{width} x {height} pixels are more than {MAX_PIXELS}; models see a fraction of that, "
            "so shrink the image and write its boxes for the smaller one"
        )
    return image


# What is shown


def _levels(image: Any) -> int | None:
    """How many levels a shade of grey has where these are more than 256; None elsewhere.

    Raises ValueError where no range is declared.
    """
    if image.mode in _DEEP_GREY:
        bits = _tag(image, _TIFF_BITS)
        return 2 ** int(bits[0]) if isinstance(bits, tuple) and bits else 2**16
    # Pillow spreads a deep PGM over 16 bits, and older versions open 16-bit PNGs in this mode.
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return 2**16
    if image.mode in ("I", "F"):
        kind = "floating point" if image.mode == "F" else "32 bits or signed"
        raise ValueError(
            f"its pixels are {kind}, and no file says which value is white: "
            "convert it to 8 or 16 bits"
        )
    return None


def _upper_bits(image: Any, levels: int) -> Image:
    """The upper eight bits of a grey image with this many levels."""
    import numpy as np
    from PIL import Image as Pillow

    values = np.asarray(image).astype(np.int64)
    shades = np.clip(values * 256 // levels, 0, 255).astype(np.uint8)
    if _tag(image, _TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
        shades = 255 - shades
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        shades[values == clear] = 255
    return Pillow.fromarray(shades).convert("RGB")


def _with_alpha(image: Image) -> Image:
    if image.mode == "RGBA":
        return image
    clear = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(clear, tuple) and max(clear) > 255:
        # The colour is given in the file's 16 bits, and the pixels are here in their upper eight.
        image = image.copy()
        image.info["transparency"] = tuple(channel >> 8 for channel in clear)
    if image.mode == "La":
        image = image.convert("LA")
    return image.convert("RGBA")


def _has_clear_palette(image: Image) -> bool:
    return image.mode == "P" and image.palette is not None and image.palette.mode.endswith("A")


def _stored_size(image: Any) -> tuple[int, int]:
    """Width and height before anything is turned: Pillow turns a TIFF when it is opened."""
    if image.format == "TIFF":
        return int(image.tag_v2[_TIFF_WIDTH]), int(image.tag_v2[_TIFF_HEIGHT])
    width, height = image.size
    return width, height


def _tag(image: Any, number: int) -> Any:
    """A tag of a TIFF file; None in other formats, and where it is not there."""
    return image.tag_v2.get(number) if image.format == "TIFF" else None


def _tiff_orientation(image: Any) -> int | None:
    return image.getexif().get(_ORIENTATION) if image.format == "TIFF" else None


def _turned_back(image: Image, orientation: int | None) -> Image:
    """The stored pixels of a TIFF, which Pillow has turned on loading as its orientation says."""
    from PIL.Image import Transpose

    back = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_90,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_270,
    }.get(orientation or 1)
    return image if back is None else image.transpose(back)


# What other decoders may show otherwise


def _difference(image: Any, file: IO[bytes]) -> str | None:
    return next(_differences(image, file), None)


def _differences(image: Any, file: IO[bytes]) -> Iterator[str]:
    """In what a decoder may differ: those of vLLM, SGLang, llama.cpp and browsers do."""
    if image.format not in _AS_THEY_ARE:
        yield f"format {image.format}"
    chunks = _chunks(file) if image.format == "PNG" else {}
    # In a PNG, metadata may follow the pixels, and asking Pillow for it decodes them.
    has_metadata = image.format != "PNG" or chunks.keys() & {b"eXIf", b"iTXt", b"tEXt", b"zTXt"}
    if has_metadata and (orientation := _orientation(image)) not in _UPRIGHT:
        yield (
            f"EXIF orientation {orientation}, which is not applied: "
            "its boxes must be those of the pixels as stored"
        )
    if image.mode in _WITH_ALPHA or "transparency" in image.info or _has_clear_palette(image):
        yield "transparency"
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        yield f"colours in {image.mode}"
    if image.mode in (*_DEEP_GREY, "I", "F") or _is_deep(chunks):
        yield "more than 8 bits a channel"
    if b"acTL" in chunks or (image.format != "MPO" and getattr(image, "is_animated", False)):
        yield "animation"
    if image.format == "GIF" and image.tile and image.tile[0][1] != (0, 0, *image.size):
        yield "a frame smaller than the image"
    if image.format == "BMP" and not _is_simple_bmp(file):
        yield "packed pixels"


def _orientation(image: Any) -> object:
    """The orientation that the metadata declare; None without one."""
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception as error:  # Damaged metadata raise nearly anything, and some decoder reads on.
        return f"that cannot be read ({type(error).__name__})"


def _is_simple_bmp(file: IO[bytes]) -> bool:
    """Whether a BMP has a byte for each colour of each pixel, as its header says."""
    with _kept_place(file):
        file.seek(_BMP_BITS)
        return file.read(len(_BMP_24_UNCOMPRESSED)) == _BMP_24_UNCOMPRESSED


_BMP_BITS = 28
_BMP_24_UNCOMPRESSED = struct.pack("<HI", 24, 0)


def _is_deep(chunks: dict[bytes, bytes]) -> bool:
    """Whether a PNG's header declares 16 bits a channel."""
    header = chunks.get(b"IHDR", b"")
    return len(header) > _BIT_DEPTH and header[_BIT_DEPTH] > 8


_BIT_DEPTH = 8
"""Where the bits a channel stand in a PNG's header."""


def _chunks(file: IO[bytes]) -> dict[bytes, bytes]:
    """A PNG's kinds of chunks, each with the first bytes of the first of its kind."""
    found: dict[bytes, bytes] = {}
    place = 8
    with _kept_place(file):
        while True:
            file.seek(place)
            start = file.read(8 + 13)
            if len(start) < 8:
                return found
            length, kind = struct.unpack(">I4s", start[:8])
            found.setdefault(kind, start[8 : 8 + length])
            place += 12 + length


@contextmanager
def _kept_place(file: IO[bytes]) -> Iterator[None]:
    """Go back to where the file was read: Pillow may not have finished with it."""
    place = file.tell()
    try:
        yield
    finally:
        file.seek(place)
