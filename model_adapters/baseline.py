"""A baseline that looks at nothing: what an accuracy is worth is seen beside it."""

from __future__ import annotations

from migbench.messages import AdapterError, Answer, Request


class FixedAnswer:
    """Gives the same text to every request, and needs no images.

    With ``(0,0),(999,999)``, the whole image, it is the paper's "random guess" (Table 10): large
    objects alone give that box 26.47 on common object. Any other box is a setting away.
    """

    needs_images = False

    def __init__(self, *, answer: str) -> None:
        """Take the text to answer with. Raises `AdapterError` when it is not a text."""
        if not isinstance(answer, str):
            raise AdapterError(f"answer: a text is expected, not {answer!r}; put it in quotes")
        self._answer = Answer(answer)

    @property
    def max_concurrency(self) -> int:
        """One: nothing is waited for, so nothing is gained by asking several at once."""
        return 1

    async def answer(self, request: Request) -> Answer:
        """The same text, whatever is asked."""
        return self._answer

    async def close(self) -> None:
        """Nothing is held."""
