"""A fixed answer: the same text for everything, without a look at any image."""

from __future__ import annotations

import pytest

from migbench.messages import Adapter, AdapterError, Answer, ImageFile, Request
from model_adapters.baseline import FixedAnswer


@pytest.mark.asyncio
async def test_every_request_gets_the_same_text_and_absent_images_do_not_matter() -> None:
    baseline: Adapter = FixedAnswer(answer="(0,0),(999,999)")
    requests = [
        Request(("Find the dog.",)),
        Request((ImageFile("no/such.jpg"), "Find the cat."), system="Be brief."),
    ]
    answers = [await baseline.answer(request) for request in requests]
    await baseline.close()
    assert answers == [Answer("(0,0),(999,999)")] * 2
    assert not baseline.needs_images
    assert baseline.max_concurrency == 1


def test_an_answer_that_is_no_text_is_refused() -> None:
    with pytest.raises(AdapterError, match="put it in quotes"):
        FixedAnswer(answer=5)  # type: ignore[arg-type]
