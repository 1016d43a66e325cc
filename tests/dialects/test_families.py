"""What model families are known to write, answer by answer, each with its source.

The answers are literal: they stand in the source named, or in its form where the source shows the
form alone (then the numbers are ours).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from migbench.boxes import Box
from migbench.dialects import ParseFailure, Reason, find_dialect, load_dialects, parse
from migbench.messages import Size
from migbench.models.resolving import load_profiles

SIZE = Size(840, 560)
"""Pixels; multiples of 28, so that it is what most processors leave of itself."""


class Known(NamedTuple):
    """A family's literal answer, where it is from, and what it means.

    ``box`` is its first box in the numbers as written, left, top, right and bottom, ``whole`` what
    these are written for at the image's right and bottom edge.
    """

    family: str
    source: str
    dialect: str
    answer: str
    box: tuple[float, float, float, float] | None = None
    whole: tuple[float, float] = (1000, 1000)
    count: int = 1
    failure: ParseFailure | None = None
    reason: Reason | None = None
    image: int | None = None


KNOWN = [
    Known(
        "qwen3-vl",
        "QwenLM/Qwen3-VL cookbooks/omni_recognition.ipynb",
        "qwen3-vl",
        '```json\n[{"bbox_2d": [0, 614, 224, 825], "name_en": "Rice"}]\n```',
        (0, 614, 224, 825),
    ),
    Known(
        "qwen3-vl",
        "QwenLM/Qwen3-VL issue #2020 (user, 235B)",
        "qwen3-vl",
        '```json\n[\n    {"bbox_2d": [323, 118, 444, 825], "label": "watch"},\n'
        '    {"bbox_2d": [444, 118, 565, 825], "label": "watch"}\n]\n```',
        (323, 118, 444, 825),
        count=2,
    ),
    Known(
        "qwen3-vl (point)",
        "QwenLM/Qwen3-VL cookbooks/spatial_understanding.ipynb",
        "qwen3-vl",
        '{"point_2d": [925, 618], "label": "point_1"}',
        failure=ParseFailure.UNREADABLE,
        reason=Reason.POINT,
    ),
    Known(
        "qwen2.5-vl",
        "Tajamul21/MIG-Agent eval/results/qwen2_5_vl",
        "qwen2.5-vl",
        "[59,268,187,443]",
        (59, 268, 187, 443),
        whole=SIZE,
    ),
    Known(
        "qwen2.5-vl",
        "Tajamul21/MIG-Agent eval/results/qwen2_5_vl",
        "qwen2.5-vl",
        "(423,442),(588,920)",
        (423, 442, 588, 920),
        whole=SIZE,
    ),
    Known(
        "qwen2.5-vl",
        "Tajamul21/MIG-Agent eval/results/qwen2_5_vl",
        "qwen2.5-vl",
        "59,180,307,526",
        (59, 180, 307, 526),
        whole=SIZE,
    ),
    Known(
        "qwen2.5-vl",
        "Tajamul21/MIG-Agent eval/results/qwen2_5_vl",
        "qwen2.5-vl",
        "[423,442),(588,920)",
        (423, 442, 588, 920),
        whole=SIZE,
    ),
    Known(
        "qwen2.5-vl (point)",
        "Tajamul21/MIG-Agent eval/results/qwen2_5_vl",
        "qwen2.5-vl",
        '<points x1="485" y1="607" alt="',
        failure=ParseFailure.UNREADABLE,
        reason=Reason.POINT,
    ),
    Known(
        "qwen2.5-vl (refusal)",
        "Tajamul21/MIG-Agent eval/results/qwen2_5_vl (507 of 4,276 answers)",
        "qwen2.5-vl",
        "There are none.",
        failure=ParseFailure.REFUSED,
    ),
    Known(
        "qwen2-vl",
        "Tajamul21/MIG-Agent eval/results/qwen2_vl group_grounding",
        "qwen2-vl",
        "[0.32, 0.19, 0.57, 0.56]",
        (0.32, 0.19, 0.57, 0.56),
        whole=(1, 1),
    ),
    Known(
        "univg-r1",
        "AMAP-ML/UniVG-R1 README",
        "univg-r1",
        "<think> … </think><answer>(123,456),(789,987)</answer>",
        (123, 456, 789, 987),
    ),
    Known(
        "mimo-vl",
        "XiaomiMiMo/MiMo-VL examples/grounding.ipynb",
        "mimo-vl",
        '<think>\n</think>\n```json\n[{"bbox_2d": [222, 253, 348, 535], "label": "Poodle"}]\n```',
        (222, 253, 348, 535),
        whole=SIZE,
    ),
    Known(
        "glm-4.1v/4.5v/4.6v",
        "zai-org/GLM-V README (form)",
        "glm-v",
        "<|begin_of_box|>[[100,200,300,400]]<|end_of_box|>",
        (100, 200, 300, 400),
    ),
    Known(
        "glm-4.6v",
        "zai-org/GLM-skills glmv-grounding (CLI raw_result example)",
        "glm-v",
        "1. Person 1: box [100, 200, 300, 400]\n2. Person 2: box [500, 600, 700, 800]",
        (100, 200, 300, 400),
        count=2,
    ),
    Known(
        "glm-4.5v",
        "zai-org/GLM-V README: bracket style varies",
        "glm-v",
        "<bbox>100,200,300,400</bbox>",
        (100, 200, 300, 400),
    ),
    Known(
        "glm-4.5v",
        "zai-org/GLM-V README: bracket style varies",
        "glm-v",
        "<100,200,300,400>",
        (100, 200, 300, 400),
    ),
    Known(
        "glm-4.5v",
        "zai-org/GLM-V README: bracket style varies",
        "glm-v",
        "{100,200,300,400}",
        (100, 200, 300, 400),
    ),
    Known(
        "internvl2/2.5/3",
        "OpenGVLab/InternVL issue #227",
        "internvl",
        "<ref>XXX</ref><box>[[253, 231, 733, 787]]</box>",
        (253, 231, 733, 787),
    ),
    Known(
        "minicpm-v-4.5",
        "OpenBMB/MiniCPM-V issue #982 (maintainer; form)",
        "minicpm-v",
        "<box>100 200 300 400</box>",
        (100, 200, 300, 400),
    ),
    Known(
        "ovis2.5",
        "AIDC-AI/Ovis2.5 model card",
        "ovis2.5",
        "<box>(0.401,0.526),(0.430,0.557)</box>",
        (0.401, 0.526, 0.43, 0.557),
        whole=(1, 1),
    ),
    Known(
        "ovis2.5 (point)",
        "AIDC-AI/Ovis2.5 model card (form)",
        "ovis2.5",
        "<point>(0.401,0.526)</point>",
        failure=ParseFailure.UNREADABLE,
        reason=Reason.POINT,
    ),
    Known(
        "seed1.5-vl / doubao-seed",
        "volcengine docs/82379/1616136",
        "seed-vl",
        "<bbox>175 98 791 476</bbox>",
        (175, 98, 791, 476),
    ),
    Known(
        "seed1.5-vl (point)",
        "volcengine docs/82379/1616136",
        "seed-vl",
        "<point>723 417</point>",
        failure=ParseFailure.UNREADABLE,
        reason=Reason.POINT,
    ),
    Known(
        "rex-omni",
        "IDEA-Research/Rex-Omni rex_omni/parser.py",
        "rex-omni",
        "<|object_ref_start|>person<|object_ref_end|>"
        "<|box_start|><0><35><980><987>, <646><0><999><940><|box_end|>",
        (0, 35, 980, 987),
        whole=(999, 999),
        count=2,
    ),
    Known(
        "deepseek-vl2",
        "deepseek-ai/DeepSeek-VL2 README:168",
        "deepseek-vl2",
        "<|ref|>The giraffe at the back.<|/ref|><|det|>[[580, 270, 999, 900]]<|/det|>",
        (580, 270, 999, 900),
        whole=(999, 999),
    ),
    Known(
        "deepseek-vl2 (junk)",
        "deepseek-ai/DeepSeek-VL2 issue #123",
        "deepseek-vl2",
        "[[2, 311, 99999, 98]]",
        (2, 311, 99999, 98),
        whole=(999, 999),
    ),
    Known(
        "kimi-vl",
        "MoonshotAI/Kimi-VL issue #56",
        "kimi-vl",
        '{"bbox_2d": [0.280, 0.500, 0.520, 0.700]}',
        (0.28, 0.5, 0.52, 0.7),
        whole=(1, 1),
    ),
    Known(
        "ernie-4.5-vl",
        "PaddlePaddle/ERNIE issue #1364 (user's form; maintainer confirms the scale)",
        "ernie-4.5-vl",
        "{\"res\":[{'text':'A', 'pos':[100,200,300,400]}]}",
        (100, 200, 300, 400),
    ),
    Known(
        "lfm2-vl",
        "Liquid4All/leap-finetune cookbook/visual-grounding/prepare_data.py (form)",
        "lfm2-vl",
        '[{"label": "dog", "bbox": [0.12, 0.3, 0.5, 0.9]}]',
        (0.12, 0.3, 0.5, 0.9),
        whole=(1, 1),
    ),
    Known(
        "visionreasoner",
        "dvlab-research/VisionReasoner vision_reasoner_model.py:46",
        "vision-reasoner",
        '<think>t</think><answer>[{"bbox_2d": [10,100,200,210], "point_2d": [30,110]}]</answer>',
        (10, 100, 200, 210),
        whole=(840, 840),
    ),
    Known(
        "mg-thinker",
        "arXiv 2609.37374 (form)",
        "mg-thinker",
        '<think>t</think><answer>[{"image_id": 2, "bbox_2d": [10, 20, 110, 220]}]</answer>',
        (10, 20, 110, 220),
        whole=SIZE,
        image=2,
    ),
    Known(
        "gemini 2.x/3",
        "google-gemini/cookbook quickstarts/Spatial_understanding.ipynb",
        "gemini",
        '[{"box_2d": [393, 67, 574, 206], "label": "red sprinkle topping"}]',
        (67, 393, 206, 574),
    ),
    Known(
        "claude",
        "platform.claude.com docs vision-coordinates (form)",
        "claude",
        "[135, 165, 687, 619]",
        (135, 165, 687, 619),
        whole=SIZE,
    ),
    Known(
        "paligemma2",
        "roboflow/supervision tests; google-gemini/gemma-cookbook",
        "paligemma",
        "<loc0256><loc0256><loc0768><loc0768> cat",
        (256, 256, 768, 768),
        whole=(1023, 1023),
    ),
    Known(
        "florence-2",
        "modelscope/ms-swift microsoft.py (form)",
        "florence-2",
        "dog<loc_52><loc_332><loc_932><loc_774>",
        (52.5, 332.5, 932.5, 774.5),
    ),
    Known(
        "molmo2 (point)",
        "allenai/molmo2 olmo/preprocessing/point_formatter.py",
        "molmo",
        '<points coords="1 1 123 456;2 1 234 567">dog</points>',
        failure=ParseFailure.UNREADABLE,
        reason=Reason.POINT,
    ),
    Known(
        "isaac 0.2 / perceptron mk1.5",
        "PyPI perceptron 0.4.0, README and perceptron/pointing/parser.py",
        "isaac",
        '<collection mention="cars" asset_idx="0">'
        "<point_box> (10,10) (50,60) </point_box></collection>",
        (10, 10, 50, 60),
        image=1,
    ),
    Known(
        "isaac (bare numbers)",
        "PyPI perceptron 0.4.0, parser.py docstring",
        "isaac",
        "<point_box> 10 20 30 40 </point_box>",
        (10, 20, 30, 40),
    ),
    Known(
        "moondream",
        "docs.moondream.ai /detect; rubydoc moondream-client (form)",
        "moondream",
        '{"objects": [{"x_min": 0.1, "y_min": 0.2, "x_max": 0.3, "y_max": 0.4}]}',
        (0.1, 0.2, 0.3, 0.4),
        whole=(1, 1),
    ),
]


@pytest.mark.parametrize(
    "known", KNOWN, ids=[f"{each.family} {each.answer[:24]!r}" for each in KNOWN]
)
def test_a_known_answer_means_what_the_family_says(known: Known) -> None:
    parsed = parse(find_dialect(known.dialect), known.answer, sizes=[SIZE, SIZE, SIZE])
    assert (parsed.failure, parsed.reason) == (known.failure, known.reason), known.source
    if known.box is None:
        assert parsed.boxes == ()
        return
    (width, height), (left, top, right, bottom) = known.whole, known.box
    expected = Box(left / width, top / height, right / width, bottom / height)
    assert len(parsed.boxes) == known.count
    assert parsed.boxes[0].box == pytest.approx(expected, abs=1e-9)
    assert parsed.boxes[0].label == (None if known.image is None else known.image - 1)


def test_every_known_answer_is_among_these(shared: Path) -> None:
    lines = (shared / "families" / "examples.jsonl").read_text(encoding="utf-8").splitlines()
    published = [json.loads(line)["raw_answer"] for line in lines]
    assert sorted(published) == sorted(known.answer for known in KNOWN)


def test_every_family_names_its_source_and_none_claims_anothers_checkpoints() -> None:
    claims = [claim for each in load_dialects().values() for claim in each.model_types]
    assert len(claims) == len(set(claims))
    for dialect in load_dialects().values():
        assert dialect.source
        assert dialect.status != "declared", dialect.name


def test_every_family_on_the_hub_has_a_profile() -> None:
    profiled = {profile.dialect for profile in load_profiles().values()}
    for dialect in load_dialects().values():
        if dialect.model_types and not dialect.unsupported and dialect.name != "cogvlm":
            assert dialect.name in profiled, dialect.name
