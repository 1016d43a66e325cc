"""One running engine: chats in, token by token, answers out; all of it vLLM's public interface."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from migbench.messages import Answer, Finish, ModelError, Request, finish_of
from model_adapters.structure import refuse_structure, structural_tokens
from model_adapters.vllm.engine_log import EngineLog, bottom, shortened
from model_adapters.vllm.guard import Guard

__all__ = ["Engine"]

_SHUTDOWN_SECONDS = 30.0
"""For the engine's processes to end by themselves."""

_STOPPED = "the model was stopped"

_TOO_LONG = ("maximum model length", "maximum context length", "encoder cache size")
"""In vLLM's words for a prompt that is too long."""


class Engine:
    """Answers chats. Used from one event loop, with any number of chats under way.

    ``engine`` is vLLM's ``AsyncLLMEngine``, ``vllm`` and ``renderers`` the modules ``vllm`` and
    ``vllm.renderers``; ``guard`` watches its processes; ``lora`` is a ``LoRARequest`` that all
    chats are answered with.
    """

    def __init__(
        self,
        engine: Any,
        *,
        vllm: Any,
        renderers: Any,
        log: EngineLog,
        guard: Guard,
        lora: Any = None,
    ) -> None:
        self._engine = engine
        self._tokenizer = engine.renderer.get_tokenizer()
        self._structure = structural_tokens(
            self._tokenizer, getattr(self._tokenizer, "chat_template", None)
        )
        self._longest = engine.model_config.max_model_len
        self._vllm = vllm
        self._renderers = renderers
        self._log = log
        self._lora = lora
        self._numbers = itertools.count()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._guard = guard

    def check(self, request: Request) -> None:
        """Raise `ModelError` where the text holds what the checkpoint does not take for text."""
        refuse_structure(request, self._structure)

    def image_processor(self) -> Any:
        """The checkpoint's image processor, as vLLM has loaded it; None where it shows none."""
        try:
            return self._running().renderer.get_mm_processor().info.get_image_processor()
        except (AttributeError, ValueError):  # of families whose processor is vLLM's own
            return None

    async def prepare(
        self, chat: Sequence[Mapping[str, Any]], template_settings: Mapping[str, Any]
    ) -> Any:
        """The chat as the engine takes it: tokens, by the checkpoint's template, and pixels.

        Raises `ModelError` when the processor refuses the chat or it is too long.
        """
        renderer = self._running().renderer
        settings = {"add_generation_prompt": True, "tokenize": False, **template_settings}
        try:
            _, (prompt,) = await renderer.render_chat_async(
                [list(chat)],
                self._renderers.ChatParams(chat_template_kwargs=settings),
                # A template writes every special token that belongs into a chat.
                renderer.default_chat_tok_params.with_kwargs(add_special_tokens=False),
            )
        except Exception as error:  # processors raise nearly every kind of exception
            raise ModelError(self._refusal(error)) from error
        return prompt

    async def generate(self, prompt: Any, sampling: Mapping[str, Any], most: int) -> Answer:
        """The answer, of at most ``most`` tokens, without its time. Raises `ModelError`.

        Given up, it leaves nothing behind in the engine.
        """
        engine = self._running()
        parameters = self._vllm.SamplingParams(max_tokens=most, **sampling)
        outputs = engine.generate(
            prompt, parameters, f"request-{next(self._numbers)}", lora_request=self._lora
        )
        # A task of its own, which `close` can end: vLLM leaves it waiting.
        generation = asyncio.create_task(_last(outputs))
        self._under_way.add(generation)
        generation.add_done_callback(self._under_way.discard)
        try:
            output = await generation
        except asyncio.CancelledError:
            if _is_given_up():
                raise
            raise ModelError(_STOPPED) from None
        except Exception as error:
            reason = self._end() if engine.errored else self._refusal(error)
            raise ModelError(reason) from error
        return self._answer(output, most)

    async def close(self) -> None:
        """End the engine's processes and forget its log. Chats under way end with an error."""
        if (engine := self._engine) is None:
            return
        self._engine = None
        for generation in self._under_way:
            generation.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._log.mute()
        engine.shutdown(timeout=_SHUTDOWN_SECONDS)
        self._guard.dismiss()
        self._log.remove()
        del engine
        gc.collect()  # it is part of a cycle, and must not be left for the interpreter's end

    def _running(self) -> Any:
        if self._engine is None:
            raise ModelError(_STOPPED)
        if self._engine.errored:
            raise ModelError(self._end())
        return self._engine

    def _answer(self, output: Any, most: int) -> Answer:
        (completion,) = output.outputs
        tokens = list(completion.token_ids)
        length = len(output.prompt_token_ids)
        finish = finish_of(completion.finish_reason)
        match finish:
            case Finish.ANSWERED:
                said = tokens[:-1]  # the end token is none of the answer's text
            case Finish.TRUNCATED if len(tokens) == most:
                said = tokens
            case Finish.TRUNCATED:
                raise ModelError(
                    f"max_model_len {self._longest} leaves a prompt of {length} tokens room for "
                    f"an answer of {len(tokens)}, and {most} may be needed: raise it, or lower "
                    "max_pixels"
                )
            case _:
                raise ModelError(f"vLLM broke the answer off ({completion.finish_reason})")
        return Answer(
            text=self._tokenizer.decode(said, skip_special_tokens=False),
            truncated=finish is Finish.TRUNCATED,
            prompt_tokens=length,
            cached_tokens=output.num_cached_tokens,
            completion_tokens=len(tokens),
        )

    def _refusal(self, error: Exception) -> str:
        """Why one chat gets no answer, and what to do about it."""
        message = shortened(bottom(error))
        if any(words in message for words in _TOO_LONG):
            return (
                f"{message.rstrip('.')}: raise --engine-args max_model_len, or lower --max-pixels"
            )
        return f"vLLM refuses the request: {message}"

    def _end(self) -> str:
        """Why the engine has ended."""
        killed = "one of its processes was killed, by hand or for want of memory"
        reason = shortened(self._log.reason() or killed)
        return f"vLLM's engine has ended ({reason}); the same command starts it anew and goes on"


def _is_given_up() -> bool:
    """Whether the current task is being cancelled, rather than one that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _last(outputs: AsyncIterator[Any]) -> Any:
    """The last of the outputs, which is the whole answer."""
    output = None
    async for output in outputs:  # noqa: B007, the last is what is wanted
        pass
    return output
