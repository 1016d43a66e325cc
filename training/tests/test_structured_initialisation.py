"""Structured initialisation: a fresh language model whose heads compare tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from migbench.errors import UsageError
from migbench.mini.shapes import COLOURS, FAMILIAR
from migtrain.miniature.encoding import Encoder, TargetType
from migtrain.miniature.models import load_model, start_checkpoint
from migtrain.miniature.recipe import ModelChoice, find_recipe
from migtrain.miniature.train import MODEL, train

torch = pytest.importorskip("torch")

KINDS = len(FAMILIAR) + 4
CLASSES = 12.0
"""How far apart the classes of the made-up tokens are, in their noise."""


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("initialised")
    return start_checkpoint(find_recipe("mini-vision").model, folder, seed=0)


class MadeUp:
    """Tokens that show kind, colour and box in directions of their own, and noise in the others."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(5)
        basis, _ = torch.linalg.qr(torch.randn(256, 256, generator=generator))
        self.kinds, self.colours, self.edges = basis[:, :KINDS], basis[:, 30:38], basis[:, 40:44]
        self.generator = generator

    def draw(self, count: int) -> tuple[Any, Any, Any, Any]:
        classes = torch.randint(-1, KINDS, (count,), generator=self.generator)
        colours = torch.randint(0, len(COLOURS), (count,), generator=self.generator)
        corners = torch.rand(count, 2, generator=self.generator) * 0.6
        boxes = torch.cat([corners, corners + 0.3], 1)
        tokens = torch.randn(count, 256, generator=self.generator) + 4 * (boxes @ self.edges.T)
        shown = CLASSES * (self.kinds.T[classes.clamp(min=0)] + self.colours.T[colours])
        tokens += shown * (classes >= 0)[:, None]
        return tokens * 0.3, classes, colours.where(classes >= 0, -1), boxes


@pytest.fixture(scope="module")
def initialised(numbered: Path) -> tuple[Any, MadeUp, Encoder]:
    from migtrain.miniature.structured_initialisation import initialise

    recipe = find_recipe("mini-vision")
    model = load_model(recipe.model, numbered)
    encoder, made_up = Encoder(numbered, max_tokens=4096), MadeUp()
    language_model = model.model.language_model
    initialise(language_model, *made_up.draw(6000), token_id=encoder.token_id, seed=3)
    return model, made_up, encoder


def attended(model: Any, embeddings: Any, target_type: TargetType) -> Any:
    """What the head that takes a target attends to, shape (tokens, tokens)."""
    from migtrain.miniature.attention_supervision import HEADS

    layer, head = HEADS[target_type]
    with torch.no_grad():
        seen = model.model.language_model(inputs_embeds=embeddings[None], output_attentions=True)
    return seen.attentions[layer][0, head]


@pytest.mark.parametrize(
    ("target_type", "alike"),
    [
        (TargetType.KIND, (True, False)),
        (TargetType.COLOUR, (False, True)),
        (TargetType.MATCH, (True, True)),
    ],
)
def test_objects_alike_are_attended_to_from_the_start(
    initialised: tuple[Any, MadeUp, Encoder], target_type: TargetType, alike: tuple[bool, bool]
) -> None:
    """Far enough away: tokens beside an object are its own image's."""
    model, made_up, _ = initialised
    tokens, classes, colours, _ = made_up.draw(200)
    shares = attended(model, tokens, target_type)
    found = []
    for place in range(150, 200):
        kind, colour = (classes == classes[place], colours == colours[place])
        like = (kind | (not alike[0])) & (colour | (not alike[1])) & (classes >= 0)
        like[place - 50 :] = False
        if classes[place] >= 0 and like.any():
            far = shares[place, : place - 50]
            found.append(float(far[like[: place - 50]].sum() / far.sum()))
    assert len(found) > 5
    assert sum(found) / len(found) > 0.6


def test_names_attend_to_what_they_name(initialised: tuple[Any, MadeUp, Encoder]) -> None:
    model, made_up, encoder = initialised
    tokens, classes, colours, _ = made_up.draw(200)
    object_ = int(((classes >= 0) & (classes < len(FAMILIAR))).nonzero()[0])
    name = f"{list(COLOURS)[colours[object_]]} {list(FAMILIAR)[classes[object_]]}"
    words = encoder.tokenizer.encode(f"<|object_ref_start|>the {name}<|object_ref_end|>")
    embed = model.model.language_model.embed_tokens
    with torch.no_grad():
        shares = attended(model, torch.cat([tokens, embed(torch.tensor(words))]), TargetType.NAME)
    shares = shares[-1, : len(tokens)]
    kind, colour = classes == classes[object_], colours == colours[object_]
    assert shares[kind & colour].mean() > 4 * shares[~(kind | colour)].mean()


def test_the_same_seed_makes_the_same_model(numbered: Path) -> None:
    from migtrain.miniature.structured_initialisation import initialise

    recipe, encoder = find_recipe("mini-vision"), Encoder(numbered, max_tokens=4096)
    states = []
    for seed in (1, 1, 2):
        language_model = load_model(recipe.model, numbered).model.language_model
        initialise(language_model, *MadeUp().draw(3000), token_id=encoder.token_id, seed=seed)
        states.append(language_model.state_dict())
    first, again, other = (state["layers.3.mlp.up_proj.weight"] for state in states)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_model_too_small_is_refused(checkpoint: Path) -> None:
    from migtrain.miniature.structured_initialisation import initialise

    model = load_model(ModelChoice(checkpoint=str(checkpoint)), checkpoint)
    encoder = Encoder(checkpoint, max_tokens=4096)
    with pytest.raises(UsageError, match="structured_initialisation"):
        initialise(
            model.model.language_model, *MadeUp().draw(10), token_id=encoder.token_id, seed=0
        )


def test_dense_supervision_ends_with_an_initialised_language_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is initialised by is kept: digits and names have directions of their own."""
    monkeypatch.setattr("migtrain.miniature.dense_supervision.PROBED_SCENES", 4)
    monkeypatch.setattr("migtrain.miniature.objectives.WHITENING_SCENES", 16)
    monkeypatch.setattr("migtrain.miniature.objectives.INITIALISATION_SCENES", 40)
    recipe = msgspec.structs.replace(find_recipe("mini-vision").with_steps(1), workers=0)
    assert train(recipe, tmp_path).finished
    model = load_model(ModelChoice(checkpoint=str(tmp_path)), tmp_path / MODEL)
    encoder = Encoder(tmp_path / MODEL, max_tokens=1024)
    embeddings = model.model.language_model.embed_tokens.weight.detach()
    named = [encoder.token_id(token) for token in ("3", "Ġstar", "Ġgreen", "the", "Ġimage")]
    sizes = embeddings[named].norm(dim=1)
    assert sizes[:3].min() > 0.9
    assert sizes[3:].max() < 0.5


def test_it_goes_with_dense_supervision() -> None:
    with pytest.raises(ValueError, match="structured_initialisation"):
        msgspec.structs.replace(find_recipe("mini-all"), structured_initialisation=True)
