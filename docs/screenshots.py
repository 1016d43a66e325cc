"""Takes the screenshots of docs/images from a page that `migbench report` has written.

    python docs/screenshots.py report.html docs/images

`make screenshots` does it for the demo's own runs.
"""

from __future__ import annotations

import argparse
import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from PIL.ImageColor import getrgb

from migbench.reporting import palette

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
COLOURS = 240
"""Of a PNG's palette, besides those of boxes: what keeps it small."""


@dataclass(frozen=True)
class Shot:
    """One screenshot: what the page's address says, the window, and keys to press before."""

    name: str
    state: str
    width: int = 1280
    height: int = 800
    scheme: str = "light"
    keys: tuple[str, ...] = ()


SHOTS = (
    Shot("report-summary", "view=summary"),
    Shot("report-gallery", "view=gallery&task=multi_view,object_tracking&sort=best"),
    Shot("report-target", "view=gallery&task=object_tracking&sort=best", keys=("j", "f")),
    Shot("report-dark", "view=gallery&task=common_object&sort=best", scheme="dark"),
    Shot("report-compare", "view=compare"),
    Shot("report-phone", "view=gallery&task=region&sort=best", width=390, height=780),
)


def take(browser: Browser, page: Path, shot: Shot, folder: Path) -> Path:
    """One screenshot, as a PNG with a palette."""
    window = {"width": shot.width, "height": shot.height}
    scheme = "dark" if shot.scheme == "dark" else "light"
    opened = browser.new_page(viewport=window, color_scheme=scheme)  # type: ignore[arg-type]
    opened.goto(f"{page.resolve().as_uri()}#{shot.state}")
    for key in shot.keys:
        opened.keyboard.press(key)
    opened.wait_for_function("() => [...document.images].every(image => image.complete)")
    opened.wait_for_timeout(300)  # Until the last frame is painted.
    taken = Image.open(io.BytesIO(opened.screenshot())).convert("RGB")
    opened.close()
    path = folder / f"{shot.name}.png"
    with_palette(taken).save(path, optimize=True)
    return path


def with_palette(image: Image.Image) -> Image.Image:
    """The image in few colours; those that mean something are among them."""
    named = (palette.TRUTH, palette.YELLOW, *palette.MODELS)
    found = image.quantize(COLOURS).getpalette() or []
    chosen = Image.new("P", (1, 1))
    chosen.putpalette(found[: 3 * COLOURS] + [part for each in named for part in getrgb(each)])
    return image.quantize(palette=chosen, dither=Image.Dither.NONE)


def main() -> None:
    """Take them all."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path, help="the page that migbench report has written")
    parser.add_argument("folder", type=Path, help="where the screenshots go")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium is needed (Debian: apt-get install chromium)")
    options.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for shot in SHOTS:
            path = take(browser, options.page, shot, options.folder)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
