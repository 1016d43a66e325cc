"""What `engine.py` compares migbench with, each run in a process of its own; prints a record.

    python benchmarks/engine_steps.py one-by-one CHECKPOINT DATA --limit 10
    python benchmarks/engine_steps.py vllm CHECKPOINT DATA --limit 10
    python benchmarks/engine_steps.py build-7b FOLDER

``one-by-one`` is the published evaluator's way with transformers: decode the images, let the
processor prepare them, `generate`, and so on for every question in the file's order. ``vllm`` hands
all questions, their images already decoded, to vLLM's own `LLM.chat` in one call: as fast as the
engine goes. ``build-7b`` writes random weights in the shape of Qwen2-VL-7B.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from migbench.data.images import locate_data
from migbench.dialects import PromptSet, ask
from migbench.messages import Request
from migbench.models.resolving import Overrides, resolve_model
from migbench.runs.plan import make_plan, strategy_of
from model_adapters.tiny_qwen2_vl import Sizes, make_config, write_processing

SEVEN_B = Sizes(
    hidden=3584,
    layers=28,
    heads=28,
    key_value_heads=4,
    intermediate=18944,
    vision_hidden=1280,
    vision_layers=32,
    vision_heads=16,
    max_positions=32768,
    initializer_range=0.02,
    max_pixels=16384 * 28 * 28,
)
"""Qwen2-VL-7B but for its vocabulary, 270 tokens for 152,064: 7.2 of its 8.3 billion weights."""


@dataclass(frozen=True)
class Record:
    """Answers by question, in the time that asking took; the model was loaded before."""

    seconds: float
    peak_mb: float
    answers: dict[str, str]
    tokens_out: int


def requests_of(
    checkpoint: str, data: Path, options: argparse.Namespace
) -> Iterator[tuple[str, Request]]:
    """Questions' ids with their requests, in the file's order."""
    overrides = Overrides(max_new_tokens=options.max_new_tokens)
    model = resolve_model(checkpoint, overrides)
    plan = make_plan(model, locate_data(data), limit=options.limit)
    strategy = strategy_of(plan.settings)
    for question in plan.questions:
        images = [plan.data.image(name) for name in question.images]
        yield (
            question.id,
            ask(
                plan.settings.model.dialect,
                next(strategy(question)),
                images,
                prompts=PromptSet(plan.settings.prompts),
                generation=plan.settings.model.generation,
            ),
        )


def one_by_one(options: argparse.Namespace) -> Record:
    """Ask as the published evaluator does."""
    import torch

    from model_adapters.transformers.loading import load
    from model_adapters.transformers.settings import TransformersSettings

    loaded = load(TransformersSettings(checkpoint=str(options.checkpoint), dtype=options.dtype))
    asked = list(requests_of(str(options.checkpoint), options.data, options))
    answers, tokens = {}, 0
    started = time.perf_counter()
    for name, request in asked:
        inputs = loaded.processor.apply_chat_template(
            [{"role": "user", "content": _content(request, "image")}],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        ).to(loaded.model.device)
        with torch.inference_mode():
            output = loaded.model.generate(
                **inputs, max_new_tokens=options.max_new_tokens, do_sample=False
            )
        row = output[0, inputs["input_ids"].shape[1] :].tolist()
        tokens += len(row)
        if row[-1] in loaded.end_ids:
            row.pop()
        answers[name] = loaded.processor.tokenizer.decode(row, skip_special_tokens=False)
    return Record(time.perf_counter() - started, _peak_mb(), answers, tokens)


def vllm(options: argparse.Namespace) -> Record:
    """Ask vLLM's own entry point for everything at once."""
    from vllm import LLM, SamplingParams

    pairs = [pair.partition("=") for pair in options.engine_args]
    engine = LLM(
        model=str(options.checkpoint),
        dtype=options.dtype,
        seed=0,
        generation_config="vllm",
        limit_mm_per_prompt={"image": 6},
        **{key: yaml.safe_load(value) for key, _, value in pairs},
    )
    asked = list(requests_of(str(options.checkpoint), options.data, options))
    chats: Any = [
        [{"role": "user", "content": _content(request, "image_pil")}] for _, request in asked
    ]
    sampling = SamplingParams(temperature=0, max_tokens=options.max_new_tokens, detokenize=False)
    started = time.perf_counter()
    outputs = engine.chat(chats, sampling, use_tqdm=False)
    seconds = time.perf_counter() - started
    said = [output.outputs[0] for output in outputs]
    tokenizer = engine.get_tokenizer()
    answers = {
        name: tokenizer.decode(
            # The token that ends an answer is none of its text.
            one.token_ids[:-1] if one.finish_reason == "stop" else one.token_ids,
            skip_special_tokens=False,
        )
        for (name, _), one in zip(asked, said, strict=True)
    }
    record = Record(seconds, _peak_mb(), answers, sum(len(one.token_ids) for one in said))
    # Left to itself, it would keep the interpreter from ending.
    engine.llm_engine.engine_core.shutdown()
    return record


def _content(request: Request, kind: str) -> list[dict[str, Any]]:
    """A request's parts as chat templates take them, with decoded images."""
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": kind, kind: part.open()}
        for part in request.parts
    ]


def _peak_mb() -> float:
    """The peak memory of this process and of those that it started, in MiB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024


def build_7b(folder: Path, sizes: Sizes = SEVEN_B) -> None:
    """Write random weights in bfloat16, drawn on a GPU if there is one."""
    import torch
    from transformers import Qwen2VLForConditionalGeneration

    config = make_config(sizes)
    config.tie_word_embeddings = False
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen2VLForConditionalGeneration(config)
    model.save_pretrained(folder)
    write_processing(folder, sizes)


def main() -> None:
    """Read the options and do one step."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)
    for name in ("one-by-one", "vllm"):
        step = steps.add_parser(name)
        step.add_argument("checkpoint", type=Path)
        step.add_argument("data", type=Path)
        step.add_argument("--limit", type=int)
        step.add_argument("--max-new-tokens", type=int, default=32)
        step.add_argument("--dtype", default="auto")
        step.add_argument("--engine-args", action="append", default=[])
    steps.add_parser("build-7b").add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.step == "build-7b":
        build_7b(options.folder)
        return
    record = (one_by_one if options.step == "one-by-one" else vllm)(options)
    print(json.dumps(asdict(record)))


if __name__ == "__main__":
    main()
