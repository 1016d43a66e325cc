"""Reads what prompts have in common once: the state behind their images is kept, and gone on from.

A prompt is cut behind its last image. The model reads it up to there once, at batch size one, and
its keys and values are kept; a batch then starts from those of its prompts, padded on the left to
one width, and reads only what follows. Positions are the model's own for the whole prompt. So each
token attends to the very keys that it attends to when its prompt is read alone.

Whether a model can be used so is tried out, not looked up: it must keep plain keys and values for
all tokens, and its first prompt must continue alike both ways.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from migbench.messages import ModelError
from model_adapters.transformers.memory import is_out_of_memory
from model_adapters.transformers.prefixes import PrefixStore
from model_adapters.transformers.prompts import Prompt, joined, placed

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PrefixReuse"]

Layers = tuple[tuple["Tensor", "Tensor"], ...]
"""Keys and values of each layer, (1, heads, tokens, size) on the layer's device."""

_log = logging.getLogger(__name__)


class _Unsuitable(Exception):
    """Why a model cannot go on from a prefix."""


class PrefixReuse:
    """The prefixes that one loaded model has read, up to ``most_bytes`` of keys and values.

    Nothing more is read once ``stopped`` is set.
    """

    def __init__(
        self, model: Any, *, pad_id: int, most_bytes: int, stopped: threading.Event
    ) -> None:
        self._model = model
        self._pad_id = pad_id
        self._stopped = stopped
        self._store: PrefixStore[Layers] = PrefixStore(most_bytes)
        self._suits: bool | None = None
        self._rope_index = getattr(model.base_model, "get_rope_index", None)
        parameters = inspect.signature(model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}

    def suits(self, prompt: Prompt) -> bool:
        """Whether this prompt can be continued behind its images; tries it out on the first."""
        if not prompt.cuts:
            return False
        if self._suits is None:
            try:
                self._try_out(prompt)
            except _Unsuitable as reason:
                _log.warning("prefixes are not reused, each request is read whole: %s", reason)
                self._suits = False
                self._store.keep_only(())
            else:
                self._suits = True
        return self._suits

    def inputs(self, prompts: Sequence[Prompt]) -> dict[str, Any]:
        """Keywords for ``generate`` that go on from the prompts' prefixes.

        Raises `ModelError` when it is stopped before all are read.
        """
        positions = [self._positions(prompt) for prompt in prompts]
        read: dict[bytes, Layers] = {}
        for prompt, places in zip(prompts, positions, strict=True):
            key = prompt.cuts[-1].key
            if key in read:
                prompt.count_cached(prompt.prefix_length)
            else:
                read[key] = self._read(prompt, places)
        states = [read[prompt.cuts[-1].key] for prompt in prompts]
        width = max(prompt.prefix_length for prompt in prompts)
        return self._continuation(prompts, positions, states, width)

    def keep_only(self, prompts: Sequence[Prompt]) -> bool:
        """Let go of the prefixes that none of these prompts needs; whether there were any."""
        return self._store.keep_only([prompt.cuts for prompt in prompts])

    def _try_out(self, prompt: Prompt) -> None:
        """Compare what follows the prompt when it is read whole and when it is read in two parts.

        The second part is padded, as in a batch. Rounding may differ, by the square root of the
        precision's smallest step. Raises `_Unsuitable`; and whatever the model raises when it reads
        the prompt whole, since that is the prompt's fault or the memory's.
        """
        import torch

        whole = self._model(
            **placed(prompt.inputs, self._model), use_cache=False, **self._last_only
        )
        try:
            places = self._positions(prompt)
            parts = self._continuation(
                [prompt], [places], [self._read(prompt, places)], prompt.prefix_length + 1
            )
            rest = prompt.length - prompt.prefix_length
            for name in ("input_ids", "position_ids"):
                parts[name] = parts[name][..., -rest:]
            after = self._model(**parts, use_cache=True, **self._last_only)
        except Exception as error:
            if isinstance(error, (_Unsuitable, ModelError)) or is_out_of_memory(error):
                raise
            raise _Unsuitable(f"{type(error).__name__}: {error}") from error
        expected, found = whole.logits[0, -1].float(), after.logits[0, -1].float()
        allowed = torch.finfo(self._model.dtype).eps ** 0.5 * (expected - expected.mean()).norm()
        if not (found - expected).norm() <= allowed:
            raise _Unsuitable("it goes on otherwise when it reads a prompt in two parts")

    def _read(self, prompt: Prompt, positions: Tensor) -> Layers:
        """The state behind the last image, computed as far as it is not known."""
        if self._stopped.is_set():
            raise ModelError("the model was stopped")
        known, layers = self._store.longest(prompt.cuts)
        prompt.count_cached(known)
        end = prompt.prefix_length
        if layers is None or known < end:
            layers = self._forward(prompt, positions, layers and _first(layers, known), known)
            size = sum(tensor.nbytes for pair in layers for tensor in pair)
            self._store.put(prompt.cuts, layers, size)
        return _first(layers, end)

    def _forward(
        self, prompt: Prompt, positions: Tensor, layers: Layers | None, start: int
    ) -> Layers:
        """The state behind the last image, from that behind the first ``start`` tokens."""
        transformers = importlib.import_module("transformers.cache_utils")
        end = prompt.prefix_length
        rows = {name: row[:, start:end] for name, row in prompt.rows.items()}
        rows["attention_mask"] = _mask(prompt)[:, :end]
        images = prompt.images[sum(place.length <= start for place in prompt.cuts) :]
        inputs = rows | joined(images) | {"position_ids": positions[..., start:end]}
        cache = self._model(
            **placed(inputs, self._model),
            past_key_values=layers and _stacked([layers], start),
            use_cache=True,
            **self._last_only,
        ).past_key_values
        if any(type(layer) is not transformers.DynamicLayer for layer in cache.layers):
            raise _Unsuitable("it does not keep plain keys and values of every token")
        return tuple((layer.keys, layer.values) for layer in cache.layers)

    def _continuation(
        self,
        prompts: Sequence[Prompt],
        positions: Sequence[Tensor],
        states: Sequence[Layers],
        width: int,
    ) -> dict[str, Any]:
        """A batch whose first ``width`` columns have been read: padding, then each one's prefix."""
        import torch

        rest = max(prompt.length - prompt.prefix_length for prompt in prompts)

        def batch(rows: Sequence[Tensor], fill: int) -> Tensor:
            halves = (
                [
                    _padded(row[..., : prompt.prefix_length], width, fill)
                    for prompt, row in zip(prompts, rows, strict=True)
                ],
                [
                    _padded(row[..., prompt.prefix_length :], rest, fill)
                    for prompt, row in zip(prompts, rows, strict=True)
                ],
            )
            return torch.cat([torch.cat(half, dim=-2) for half in halves], dim=-1)

        tensors = {
            "input_ids": batch([prompt.rows["input_ids"] for prompt in prompts], self._pad_id),
            "attention_mask": batch([_mask(prompt) for prompt in prompts], 0),
            "position_ids": batch(positions, 0),
        }
        return placed(tensors, self._model) | {"past_key_values": _stacked(states, width)}

    def _positions(self, prompt: Prompt) -> Tensor:
        """The model's own positions in the whole prompt, (1, tokens) or (axes, 1, tokens)."""
        import torch

        if self._rope_index is None:
            return torch.arange(prompt.length)[None]
        known = inspect.signature(self._rope_index).parameters
        images = [
            {name: tensor for name, tensor in image.items() if name in known}
            for image in prompt.images
        ]
        rows = {name: row for name, row in prompt.rows.items() if name in known}
        positions: Tensor = self._rope_index(**rows, **joined(images))[0]
        return positions


def _mask(prompt: Prompt) -> Tensor:
    import torch

    return torch.ones_like(prompt.rows["input_ids"])


def _padded(row: Tensor, width: int, fill: int) -> Tensor:
    import torch

    return torch.nn.functional.pad(row, (width - row.shape[-1], 0), value=fill)


def _first(layers: Layers, length: int) -> Layers:
    """The state of the first ``length`` tokens."""
    return tuple((keys[:, :, :length], values[:, :, :length]) for keys, values in layers)


def _stacked(states: Sequence[Layers], width: int) -> Any:
    """One cache for a batch that goes on from these states, padded on the left to ``width``."""

    def batch(tensors: Sequence[Tensor]) -> Tensor:
        _, heads, _, size = tensors[0].shape
        stacked = tensors[0].new_zeros(len(tensors), heads, width, size)
        for row, tensor in zip(stacked, tensors, strict=True):
            row[:, width - tensor.shape[2] :] = tensor[0]
        return stacked

    cache = importlib.import_module("transformers").DynamicCache()
    for index, layer in enumerate(zip(*states, strict=True)):
        cache.update(
            batch([keys for keys, _ in layer]), batch([values for _, values in layer]), index
        )
    return cache
