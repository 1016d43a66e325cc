"""A dry run: what a training will need, and whether it can work, before anyone pays for it.

The model is built on torch's meta device: its exact shape, none of its weights. Memory is estimated
for the longest example that the recipe admits. The estimates name what they count; a GPU's own
overhead (context, fragmentation) is put at a fixed share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migbench.boxes import SmartResized
from migbench.errors import DataError, ModelError
from migbench.util.yaml_files import read_yaml
from migtrain.miniature.data import SourceReport, TrainingData, open_data
from migtrain.miniature.importing import untyped
from migtrain.miniature.models import freeze
from migtrain.miniature.recipe import ModelChoice, Recipe
from migtrain.miniature.vocabulary import read_merges
from model_adapters.tiny_qwen2_vl import make_config

SHAPES = Path(__file__).parent / "shapes"

GIB = 1 << 30
OVERHEAD = 0.1
"""Share of a GPU's memory that is not to be had for tensors."""
SAMPLED = 64
"""So many examples are looked at to estimate lengths."""
BYTES_A_TOKEN = 3.6
"""Of English text with Qwen2-VL's vocabulary, boxes among it."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """How many numbers the model has, by part, and how many of them are trained."""

    language: int
    merger: int
    vision: int
    trained: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.language + self.merger + self.vision


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on each GPU, by what they are for."""

    weights: int
    gradients: int
    optimiser: int
    gathered: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """At the peak, all of them together."""
        return (
            self.weights
            + self.gradients
            + self.optimiser
            + self.gathered
            + self.activations
            + self.logits
        )


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of an example: the mean and the longest of some that were looked at."""

    mean: float
    longest: int
    looked_at: int


@dataclass(frozen=True)
class DryRun:
    """What a recipe will need. ``problems`` are the reasons why it cannot work as it stands."""

    parameters: Parameters
    memory: Memory
    available: int
    steps: int
    examples: int
    most_tokens: int
    lengths: Lengths | None
    checkpoint_bytes: int
    reports: tuple[SourceReport, ...]
    problems: tuple[str, ...]


def dry_run(recipe: Recipe, data: Path | None) -> DryRun:
    """Look at model, memory, steps and data of a recipe; nothing is written or downloaded."""
    config = model_config(recipe.model)
    model = empty_model(config)
    freeze(model, recipe.model)
    parameters = count_parameters(model)
    memory = estimate_memory(recipe, model, parameters)
    opened = open_data(recipe, data)
    available = round((1 - OVERHEAD) * recipe.machine.gpu_memory_gib * GIB)
    complete = not any(report.problem for report in opened.reports)
    return DryRun(
        parameters=parameters,
        memory=memory,
        available=available,
        steps=recipe.steps,
        examples=len(opened.mixture),
        most_tokens=len(opened.mixture) * recipe.max_tokens,
        lengths=_sample_lengths(recipe, opened) if complete else None,
        # Weights in float32 and two moments, in each of the checkpoints that are kept.
        checkpoint_bytes=recipe.keep * (4 * parameters.total + 8 * parameters.trained),
        reports=opened.reports,
        problems=tuple(_problems(recipe, memory, available, opened)),
    )


def model_config(choice: ModelChoice) -> Any:
    """The model's configuration: of a new model, of a folder, or the packaged shape of a hub id.

    Raises `DataError` where none of them is there.
    """
    transformers = untyped("transformers")
    if choice.sizes is not None:
        return make_config(choice.sizes, read_merges(choice.merges))
    assert choice.checkpoint is not None
    folder = Path(choice.checkpoint).expanduser()
    if (folder / "config.json").is_file():
        return transformers.Qwen2VLConfig.from_pretrained(folder)
    if choice.shape is None:
        raise DataError(
            f"{choice.checkpoint}: is no folder here; a dry run of a hub checkpoint needs a "
            "'shape' in the recipe"
        )
    return transformers.Qwen2VLConfig(**read_yaml(SHAPES / f"{Path(choice.shape).name}.yaml"))


def empty_model(config: Any) -> Any:
    """The model without memory for its weights."""
    with untyped("torch").device("meta"):
        return untyped("transformers").Qwen2VLForConditionalGeneration(config)


def count_parameters(model: Any) -> Parameters:
    """Parameters by part; a tied output layer counts once."""
    counts = {"language": 0, "merger": 0, "vision": 0}
    trained = 0
    for name, parameter in model.named_parameters():
        part = "language"
        if ".visual." in f".{name}":
            part = "merger" if ".merger." in name else "vision"
        counts[part] += parameter.numel()
        trained += parameter.numel() if parameter.requires_grad else 0
    return Parameters(**counts, trained=trained)


def estimate_memory(recipe: Recipe, model: Any, parameters: Parameters) -> Memory:
    """Bytes at the peak of a step whose examples all have the most tokens.

    Weights, gradients and Adam's two moments are float32: 16 bytes a trained parameter, shared out
    under FSDP or ZeRO-3. ``gathered`` are the bfloat16 copies to compute with: of all weights, or
    under sharding of the two largest layers and of what lies outside of layers, with gradients.
    With checkpointing, what is kept of a layer is its input, and all else of one layer at a time.
    """
    text = model.config.text_config
    total, trained = parameters.total, parameters.trained
    parts = recipe.machine.gpus if is_sharded(recipe) else 1
    layer = max(
        sum(p.numel() for p in each.parameters()) for each in model.model.language_model.layers
    )
    gathered = 2 * total
    if parts > 1:
        outside = total - layer * text.num_hidden_layers - parameters.vision - parameters.merger
        gathered = 2 * (2 * (layer + outside) + layer)
    tokens = recipe.batch.per_device * recipe.max_tokens
    width, narrow = text.hidden_size, text.hidden_size // text.num_attention_heads
    heads = text.num_attention_heads + 2 * text.num_key_value_heads
    # Two norms' inputs and outputs, attention's in- and output, queries, keys and values; the MLP's
    # gate, activated gate, up projection and product; in bfloat16, the residual in float32.
    inside = tokens * (2 * (5 * width + heads * narrow + 4 * text.intermediate_size) + 4 * width)
    kept = 4 * tokens * width
    layers = text.num_hidden_layers
    activations = layers * kept + inside if is_checkpointed(recipe) else layers * inside
    if "vision" not in recipe.model.frozen:
        activations += _vision_activations(recipe, model)
    return Memory(
        weights=4 * total // parts,
        gradients=4 * trained // parts,
        optimiser=8 * trained // parts,
        gathered=gathered,
        activations=activations,
        # In bfloat16 and float32, and their gradient.
        logits=tokens * text.vocab_size * (2 + 4 + 4),
    )


def _vision_activations(recipe: Recipe, model: Any) -> int:
    vision = model.config.vision_config
    patches = recipe.batch.per_device * recipe.max_tokens * int(vision.spatial_merge_size) ** 2
    depth, width, ratio = int(vision.depth), int(vision.embed_dim), int(vision.mlp_ratio)
    inside = 2 * patches * width * (8 + 2 * ratio)
    return depth * 2 * patches * width + inside if is_checkpointed(recipe) else depth * inside


def is_sharded(recipe: Recipe) -> bool:
    """Whether weights, gradients and optimiser are shared out among the GPUs."""
    deepspeed = recipe.trainer.get("deepspeed")
    if isinstance(deepspeed, dict):
        return bool(deepspeed.get("zero_optimization", {}).get("stage") == 3)
    return bool(recipe.trainer.get("fsdp"))


def is_checkpointed(recipe: Recipe) -> bool:
    """Whether activations are computed again on the way back instead of being kept."""
    fsdp = recipe.trainer.get("fsdp_config")
    in_fsdp = isinstance(fsdp, dict) and bool(fsdp.get("activation_checkpointing"))
    return in_fsdp or bool(recipe.trainer.get("gradient_checkpointing"))


def _sample_lengths(recipe: Recipe, data: TrainingData) -> Lengths | None:
    lengths = list(_lengths(recipe, data))
    if not lengths:
        return None
    return Lengths(sum(lengths) / len(lengths), max(lengths), len(lengths))


def _lengths(recipe: Recipe, data: TrainingData) -> Iterator[int]:
    """About how many tokens some examples, spread over the training, have."""
    sizes = recipe.model.sizes
    resized = SmartResized(
        factor=28,
        min_pixels=sizes.min_pixels if sizes else recipe.model.min_pixels or 56 * 56,
        max_pixels=sizes.max_pixels if sizes else recipe.model.max_pixels or 1280 * 28 * 28,
    )
    # A new model's vocabulary, if it has merges at all, was made for the texts it reads.
    bytes_a_token = 1.0 if sizes and not recipe.model.merges else BYTES_A_TOKEN
    count = min(SAMPLED, len(data.mixture))
    for sample in range(count):
        name, number = data.mixture.draw(sample * len(data.mixture) // count)
        try:
            example = data.sources[name].example(number)
            canvases = [resized.canvas(*image.size) for image in example.images]
        except (ModelError, ValueError):
            continue  # named in the training itself, which takes another
        area = sum(int(canvas.width) * int(canvas.height) for canvas in canvases)
        texts = [
            text for each in example.conversation.rounds for text in (each.question, each.answer)
        ]
        text = sum(len(each.encode()) for each in texts) / bytes_a_token
        yield round(area / resized.factor**2 + text + 10 * len(texts))


def _problems(recipe: Recipe, memory: Memory, available: int, data: TrainingData) -> Iterator[str]:
    at_once = recipe.machine.gpus * recipe.batch.per_device
    if recipe.batch.size % at_once:
        yield (
            f"a batch of {recipe.batch.size} cannot be shared by {recipe.machine.gpus} GPUs with "
            f"{recipe.batch.per_device} examples each at once"
        )
    if memory.total > available:
        yield (
            f"needs about {memory.total / GIB:.1f} GiB on each GPU, and {available / GIB:.1f} are "
            "to be had: lower batch.per_device or max_tokens, or share the model out (fsdp)"
        )
    for report in data.reports:
        if report.problem:
            yield f"source {report.name}: {report.problem}"
