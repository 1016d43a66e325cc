"""A page that a test has open in a browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


@dataclass
class Watched:
    """A page, with what its console said, what went wrong in it, and what it asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def state(self, name: str) -> str | None:
        """What the address says of one part of the state."""
        found: str | None = self.page.evaluate(
            "name => new URLSearchParams(location.hash.slice(1)).get(name)", name
        )
        return found

    def shown(self) -> list[str]:
        """The ids of the targets in the gallery, in their order."""
        found: list[str] = self.page.eval_on_selector_all(
            ".card", "cards => cards.map(card => card.dataset.target)"
        )
        return found


Open = Callable[..., Watched]
"""Opens a page, given its path or address and what its own address is to say."""
