"""Image files of every kind that decoders are known to differ on, and the pixels that are right."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from migbench.messages import ImageFile

Pixels = npt.NDArray[Any]

WIDTH, HEIGHT = 60, 36
ORIENTATION = 0x0112


def scene() -> Pixels:
    """Of no symmetry: red left of the middle, blue in a corner, on a ramp."""
    ramp = np.linspace(20, 220, WIDTH, dtype=np.uint8)
    pixels = np.repeat(np.stack([ramp, ramp[::-1], ramp], axis=1)[None], HEIGHT, axis=0)
    pixels[8:20, 6:24] = (230, 20, 30)
    pixels[26:, 50:] = (10, 20, 240)
    return pixels


def grey() -> Pixels:
    return scene()[..., 0]


def alpha() -> Pixels:
    """Clear on the right, half clear in the middle."""
    levels = np.full((HEIGHT, WIDTH), 255, np.uint8)
    levels[:, 25:35], levels[:, 35:] = 128, 0
    return levels


def on_white(pixels: Pixels, levels: Pixels) -> Pixels:
    """By the formula, unrounded."""
    share = levels[..., None].astype(float) / 255
    return pixels * share + 255 * (1 - share)


def three(shades: Pixels) -> Pixels:
    return np.repeat(shades[..., None], 3, axis=2)


def saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif.tobytes()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def png(bits: int, colour: int, rows: list[bytes], **extra: bytes) -> bytes:
    """A PNG of raw rows, by hand: Pillow writes no 16 bits a colour, and no metadata at the end."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *((b"tRNS", value) for value in extra.values())]
    chunks.append((b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))))
    chunks.append((b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def deep(shades: Pixels) -> Pixels:
    """The same shades in the upper half of 16 bits, with something in the lower half."""
    return (shades.astype(np.uint16) << 8) + 77


def big_endian(values: Pixels) -> bytes:
    return values.astype(">u2").tobytes()


def orientation_behind_the_pixels() -> bytes:
    content = saved(Image.fromarray(scene()), "PNG")
    end = len(content) - 12
    return content[:end] + png_chunk(b"eXIf", turned(3).removeprefix(b"Exif\0\0")) + content[end:]


def palette(**how: Any) -> tuple[bytes, Pixels]:
    """Sixteen colours; with a transparent one, that is laid on white."""
    image = Image.fromarray(scene()).quantize(16)
    shown = np.asarray(image.convert("RGB"))
    if "transparency" in how:
        shown = np.where(np.asarray(image)[..., None] == how["transparency"], 255, shown)
    return saved(image, "PNG", **how), shown


def cmyk(transform: int) -> tuple[bytes, Pixels]:
    """A JPEG as Photoshop writes it, all four inks inverted; ``transform`` 2 is YCCK."""
    content = saved(Image.fromarray(scene()).convert("CMYK"), "JPEG", quality=95)
    marker = content.index(b"Adobe\0") + 11
    content = content[:marker] + bytes([transform]) + content[marker + 1 :]
    decoded = Image.open(io.BytesIO(content))
    inks = np.asarray(decoded).astype(float)
    return content, (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255


def animation(kind: str) -> bytes:
    first, second = Image.fromarray(scene()).quantize(16), Image.new("P", (WIDTH, HEIGHT), 3)
    second.putpalette(first.getpalette() or [])
    frames = first if kind == "GIF" else first.convert("RGB")
    other = second if kind == "GIF" else second.convert("RGB")
    return saved(frames, kind, save_all=True, append_images=[other], duration=100)


def sixteen_colours() -> Pixels:
    return np.asarray(Image.fromarray(scene()).quantize(16).convert("RGB"))


Kind = Callable[[], tuple[bytes, Pixels]]


def stored(content: bytes) -> Pixels:
    """What Pillow has of a lossy file, before anything is turned."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def _lossy(**how: Any) -> tuple[bytes, Pixels]:
    content = saved(Image.fromarray(scene()), "JPEG", quality=95, **how)
    return content, stored(content)


KINDS: dict[str, Kind] = {
    "colours, PNG": lambda: (saved(Image.fromarray(scene()), "PNG"), scene()),
    "colours, JPEG": _lossy,
    "turned by EXIF, JPEG": lambda: _lossy(exif=turned(6)),
    "turned by EXIF behind the pixels, PNG": lambda: (orientation_behind_the_pixels(), scene()),
    "transparency (RGBA), PNG": lambda: (
        saved(Image.fromarray(np.dstack([scene(), alpha()])), "PNG"),
        on_white(scene(), alpha()),
    ),
    "transparent grey (LA), PNG": lambda: (
        saved(Image.fromarray(np.dstack([grey(), alpha()])), "PNG"),
        on_white(three(grey()), alpha()),
    ),
    "palette with a transparent colour, PNG": lambda: palette(transparency=3),
    "one transparent colour (tRNS), PNG": lambda: (
        saved(Image.fromarray(scene()), "PNG", transparency=(230, 20, 30)),
        np.where((scene() == (230, 20, 30)).all(axis=2)[..., None], 255, scene()),
    ),
    "16-bit grey, PNG": lambda: (
        saved(Image.fromarray(deep(grey())), "PNG"),
        three(grey()),
    ),
    "16-bit colours, PNG": lambda: (
        png(16, 2, [big_endian(row) for row in deep(scene())]),
        scene(),
    ),
    "one bit, PNG": lambda: (
        saved(Image.fromarray(grey() > 128), "PNG"),
        three(np.where(grey() > 128, 255, 0)),
    ),
    "palette, PNG": palette,
    "CMYK as Photoshop inverts it, JPEG": lambda: cmyk(0),
    "YCCK, JPEG": lambda: cmyk(2),
    "animation, GIF": lambda: (animation("GIF"), sixteen_colours()),
    "animation, PNG": lambda: (animation("PNG"), sixteen_colours()),
    "transparency, WebP": lambda: (
        saved(Image.fromarray(np.dstack([scene(), alpha()])), "WEBP", lossless=True, exact=True),
        on_white(scene(), alpha()),
    ),
    "turned by its tag, TIFF": lambda: (
        saved(Image.fromarray(scene()), "TIFF", tiffinfo={ORIENTATION: 6}),
        scene(),
    ),
    "16-bit grey, big-endian TIFF": lambda: (
        saved(Image.frombytes("I;16B", (WIDTH, HEIGHT), big_endian(deep(grey()))), "TIFF"),
        three(grey()),
    ),
    "16-bit grey, 0 is white, TIFF": lambda: (
        saved(Image.fromarray(deep(grey())), "TIFF", tiffinfo={262: 0}),
        255 - three(grey()),
    ),
    "JPEG 2000": lambda: (saved(Image.fromarray(scene()), "JPEG2000"), scene()),
    "16-bit grey, PGM": lambda: (
        f"P5 {WIDTH} {HEIGHT} 65535\n".encode() + big_endian(deep(grey())),
        three(grey()),
    ),
}
"""By what they are called in the documentation."""


def write(folder: Path, kind: str) -> tuple[ImageFile, Pixels]:
    """The file of a kind, under a name that tells nothing, and the pixels that are right."""
    content, pixels = KINDS[kind]()
    path = folder / "image.bin"
    path.write_bytes(content)
    return ImageFile("images/image.bin", path), pixels


def vllm_decodes(image: Image.Image) -> Pixels:
    """As vLLM has done since June 2026: turned by EXIF, transparency on white, all else by Pillow.

    Source: ``ImageMediaIO.load_bytes`` and ``convert_image_mode`` of vLLM 0.32, which take what is
    RGB already as it is. `tests/in_vllm/test_images.py` holds this against them.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGB":
        return np.asarray(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        image = Image.new("RGB", image.size, (255, 255, 255))
        image.paste(layered, mask=layered.getchannel("A"))
    return np.asarray(image.convert("RGB"))
