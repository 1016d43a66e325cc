"""How often a model has to look at an image: counted, not timed.

    python benchmarks/prefill.py MIG_data.json --json prefill.json
    python benchmarks/prefill.py MIG_data.json --vllm-python .venv-vllm/bin/python

Every form of asking is run on the whole annotation file, with a tiny checkpoint and stand-ins for
the images. Each answer says how many of its prompt's tokens a prefix cache served; an image whose
tokens are not among them had to be computed. Ideally that happens once for every image of every
image set; without a cache, whenever an image is shown. A cache of whole blocks (vLLM's) serves an
image when it serves all blocks but the one in which the image ends.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from measuring import measured, recorded, table

from migbench.data.annotations import read_annotations
from migbench.messages import Answer
from migbench.runs.plan import strategy_of
from migbench.runs.replay import replay
from migbench.runs.selection import questions_of
from migbench.runs.store import Run

HERE = Path(__file__).parent
EDGE = 224
"""Pixels: 64 tokens of Qwen2-VL, two blocks of vLLM's cache on a CPU."""

FORMS = {
    "polling": (),
    "all-at-once": ("--evaluator=all-at-once",),
    "polling, cot": ("--strategy=cot",),
    "polling, mcot": ("--strategy=mcot",),
    "all-at-once, mcot": ("--evaluator=all-at-once", "--strategy=mcot"),
}


@dataclass(frozen=True)
class Engine:
    """An adapter of the comparison; ``missing`` says why it cannot take part.

    Its cache gives out blocks of ``block`` tokens.
    """

    adapter: str
    python: str
    block: int = 1
    missing: str = ""

    @property
    def settings(self) -> tuple[str, ...]:
        """Options that the adapter is run with."""
        if self.block == 1:
            return ()
        return (f"--engine-args=block_size={self.block}", "--engine-args=enforce_eager=true")


@dataclass(frozen=True)
class Layout:
    """Where images stand in a prompt: behind ``head`` tokens, each between two tokens of its own.

    ``image`` are the tokens of one.
    """

    head: int
    image: int

    def served(self, cached_tokens: int, images: int, block: int) -> int:
        """How many of a prompt's images a cache served that gives out blocks of ``block`` tokens.

        The block in which an image ends is served only where the same tokens follow.
        """
        ends = (self.head + number * (self.image + 2) - 1 for number in range(1, images + 1))
        return sum(cached_tokens >= end - end % block for end in ends)


@dataclass(frozen=True)
class Counts:
    """What one form of asking took.

    ``shown`` counts an image for every request that shows it, ``once`` for every list of images
    that requests show, ``prefixes`` are the distinct beginnings of these lists: no prefix cache
    can do with fewer prefills.
    """

    adapter: str
    form: str
    requests: int
    shown: int
    prefilled: int
    once: int
    prefixes: int
    prompt_tokens: int
    cached_tokens: int
    seconds: float

    @property
    def to_ideal(self) -> float:
        """Prefilled images, as a multiple of showing each list of images once."""
        return self.prefilled / self.once


def engines(vllm_python: Path | None) -> list[Engine]:
    """The adapters that are compared, those that are not installed too."""
    has_vllm = vllm_python is not None or find_spec("vllm") is not None
    return [
        Engine("transformers", sys.executable),
        Engine(
            "vllm",
            str(vllm_python or sys.executable),
            # The CPU's default of 128 tokens would hide whole images; 16 is a GPU's.
            block=32,
            missing="" if has_vllm else "not installed",
        ),
    ]


def run(engine: Engine, form: str, model: Path, data: Path, images: Path, out: Path) -> None:
    """Ask everything in this form."""
    command = [
        *(
            engine.python,
            "-m",
            "migbench",
            "run",
            f"--model={model}",
            f"--adapter={engine.adapter}",
        ),
        *(f"--data={data}", f"--images={images}", f"--out={out}", "--max-new-tokens=2"),
        *(*FORMS[form], *engine.settings),
    ]
    # An untrained model's answers hold no box, which a run warns of with status 1.
    measured(command, out.with_suffix(".err"), accepted=(0, 1))


def counts(engine: Engine, form: str, out: Path, layout: Layout) -> Counts:
    """Read from the stored answers what was computed, and what a cache served."""
    stored = Run(out)
    shown = prefilled = prompt = cached = requests = 0
    lists: set[tuple[str, ...]] = set()
    for images, answer in answered(stored):
        if answer.cached_tokens is None or answer.prompt_tokens is None:
            raise RuntimeError(f"{engine.adapter}: says nothing of cached tokens")
        requests += 1
        shown += len(images)
        prefilled += len(images) - layout.served(answer.cached_tokens, len(images), engine.block)
        prompt += answer.prompt_tokens
        cached += answer.cached_tokens
        lists.add(images)
    return Counts(
        adapter=engine.adapter,
        form=form,
        requests=requests,
        shown=shown,
        prefilled=prefilled,
        once=sum(map(len, lists)),
        prefixes=len({images[:end] for images in lists for end in range(1, len(images) + 1)}),
        prompt_tokens=prompt,
        cached_tokens=cached,
        seconds=stored.manifest.wall_seconds or 0.0,
    )


def answered(stored: Run) -> Iterator[tuple[tuple[str, ...], Answer]]:
    """Every answer that was asked for, with the images shown. Raises RuntimeError for failures."""
    settings = stored.settings
    strategy = strategy_of(settings)
    annotations = read_annotations(Path(settings.annotations.path))
    for question in questions_of(settings, annotations):
        for turn, line in replay(strategy(question), question.id, stored.lines):
            if line is None or line.answer is None:
                raise RuntimeError(f"{question.id}: {line.error if line else 'not asked'}")
            if not line.reused:
                yield tuple(question.images[place] for place in turn.images), line.answer


def layout_of(model: Path) -> Layout:
    """Measure where images stand in this checkpoint's prompts; the stand-ins are all alike."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    content = [{"type": "image"}]
    text = tokenizer.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
    before, _, behind = text.partition("<|image_pad|>")
    # `before` ends with the token that opens an image, `behind` begins with the one that closes it.
    if not (before.endswith("<|vision_start|>") and behind.startswith("<|vision_end|>")):
        raise RuntimeError(f"{model}: not a template of the Qwen2-VL family")
    head = len(tokenizer(before)["input_ids"]) - 1
    return Layout(head=head, image=(EDGE // 28) ** 2)


def show(found: Sequence[Counts], absent: Sequence[Engine]) -> str:
    """The table, and what its columns are."""
    header = [
        *("Adapter, form", "Requests", "Shown", "Prefilled", "Once a set", "Prefixes"),
        *("x once", "Tokens in", "Cached", "Hit rate", "Req/s"),
    ]
    rows = [
        [
            f"{one.adapter}, {one.form}",
            *(f"{count:,}" for count in (one.requests, one.shown, one.prefilled, one.once)),
            f"{one.prefixes:,}",
            f"{one.to_ideal:.3f}",
            *(f"{one.prompt_tokens:,}", f"{one.cached_tokens:,}"),
            f"{one.cached_tokens / one.prompt_tokens:.1%}",
            f"{one.requests / one.seconds:.0f}" if one.seconds else "",
        ]
        for one in found
    ]
    rows += [[one.adapter, one.missing, *[""] * (len(header) - 2)] for one in absent]
    return (
        f"{table(header, rows)}\n\n"
        "Shown: images, once for every request that shows them: prefills without a cache.\n"
        "Once a set: once for every list of images that requests show; Prefixes: beginnings of "
        "these lists, which some share.\n"
        "Prefilled: images that the prefix cache did not serve; Hit rate: tokens that it served, "
        "of all tokens in prompts."
    )


def compare(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Draw the stand-ins, ask in every form, print the table; the JSON record."""
    images, model = folder / "images", folder / "tiny"
    drawing = [sys.executable, str(HERE / "stand_ins.py"), str(options.annotations), str(images)]
    measured([*drawing, f"--edge={EDGE}"], folder / "images.err")
    measured([sys.executable, "-m", "model_adapters.tiny_qwen2_vl", str(model)], folder / "m.err")
    layout = layout_of(model)
    every = engines(options.vllm_python)
    absent = [engine for engine in every if engine.missing]
    found = []
    for engine in every:
        for form in options.forms if not engine.missing else ():
            out = folder / f"{engine.adapter}-{form}"
            run(engine, form, model, options.annotations, images, out)
            found.append(counts(engine, form, out, layout))
    print(show(found, absent))
    return {
        "annotations": options.annotations.name,
        "counts": [asdict(one) | {"to_ideal": one.to_ideal} for one in found],
        "absent": {engine.adapter: engine.missing for engine in absent},
    }


def main() -> None:
    """Read the options, count, and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("annotations", type=Path, help="the paper's annotation file, or another")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=[*FORMS])
    parser.add_argument("--vllm-python", type=Path, help="an interpreter that has vLLM")
    parser.add_argument("--json", type=Path, help="write the record to this file")
    options = parser.parse_args()
    recorded("prefill", options, compare)


if __name__ == "__main__":
    main()
