"""A few rows of every benchmark, in its published columns and the hub's own layout of files.

What is to be found is red: the image that a question asks for is the reddest of them, and a box to
ground is a red rectangle on grey. So a model that looks at its images in their order can tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value
from datasets import Image as Picture
from PIL import Image, ImageDraw

TEXT, NUMBER = Value("string"), Value("int64")
BLINK_CONFIGS = (
    *("Art_Style", "Counting", "Forensic_Detection", "Functional_Correspondence", "IQ_Test"),
    *("Jigsaw", "Multi-view_Reasoning", "Object_Localization", "Relative_Depth"),
    *("Relative_Reflectance", "Semantic_Correspondence", "Spatial_Relation"),
    *("Visual_Correspondence", "Visual_Similarity"),
)
LETTERS = "ABCD"


def shades(red: int, count: int = 3, seed: int = 0) -> list[Image.Image]:
    """Grey images of different sizes, the one at this place red."""
    return [
        Image.new("RGB", (40 + 8 * place + seed, 30), (220, 20, 20) if place == red else (90,) * 3)
        for place in range(count)
    ]


def with_box(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    """A grey image with a red rectangle: its edges in pixels, right and bottom outside."""
    image = Image.new("RGB", size, (90, 90, 90))
    left, top, right, bottom = box
    ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), fill=(220, 20, 20))
    return image


def write(folder: Path, splits: Mapping[str, str], rows: Any, features: Mapping[str, Any]) -> None:
    """Parquet files, one a split, and the card that tells splits by file names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(card({"default": splits}))
    for split, prefix in splits.items():
        parquet(folder / f"{prefix}-00000-of-00001.parquet", rows[split], features)


def parquet(path: Path, rows: Sequence[Mapping[str, Any]], features: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_list([*map(dict, rows)], features=Features(dict(features))).to_parquet(path)


def card(configs: Mapping[str, Mapping[str, str]]) -> str:
    lines = ["---", "configs:"]
    for name, splits in configs.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        for split, prefix in splits.items():
            lines += [f"  - split: {split}", f"    path: {prefix}-*"]
    return "\n".join([*lines, "---", ""])


def muirbench(folder: Path) -> None:
    rows = [
        {
            "idx": str(number),
            "task": "Counting",
            "image_relation": "Overall Similarity",
            "image_type": "Photography",
            "question": f"<image><image><image> Which of them is red? muir-{number}",
            "options": ["the first", "the second", "the third", "None of the choices provided"],
            "answer": LETTERS[number % 3],
            "image_list": shades(number % 3, seed=number),
            "counterpart_idx": str(number),
        }
        for number in range(4)
    ]
    features = dict.fromkeys(("idx", "task", "image_relation", "image_type", "question"), TEXT)
    features |= {"options": List(TEXT), "answer": TEXT, "image_list": List(Picture())}
    features |= {"counterpart_idx": TEXT}
    write(folder, {"test": "data/test"}, {"test": rows}, features)


def blink(folder: Path) -> None:
    features = dict.fromkeys(("idx", "question", "sub_task"), TEXT)
    features |= {f"image_{number}": Picture() for number in range(1, 5)}
    features |= {"choices": List(TEXT), "answer": TEXT, "prompt": TEXT}
    for config in BLINK_CONFIGS:
        rows = []
        for number in range(3 if config == "Counting" else 1):
            images: list[Image.Image | None] = [*shades(number % 2, count=2, seed=number), None]
            question = f"Which of them is red? blink-{config}-{number}"
            rows.append(
                {
                    "idx": f"val_{config}_{number}",
                    "question": question,
                    "sub_task": config,
                    **{f"image_{n}": image for n, image in enumerate([*images, None], start=1)},
                    "choices": ["the first", "the second"],
                    "answer": f"({LETTERS[number % 2]})",
                    "prompt": f"{question} Select from the following choices.\n(A) the first\n"
                    "(B) the second\n",
                }
            )
        parquet(folder / config / "val-00000-of-00001.parquet", rows, features)
    (folder / "README.md").write_text(
        card({name: {"val": f"{name}/val"} for name in BLINK_CONFIGS})
    )


def mibench(folder: Path) -> None:
    tasks = {
        "multi_image_instruction": ("general_comparison", "logical_reasoning"),
        "multimodal_knowledge_seeking": ("text_rich_images",),
    }
    for file, names in tasks.items():
        rows = []
        for task in names:
            for number in range(2):
                paths = []
                for place, image in enumerate(shades(number, count=2, seed=len(task))):
                    path = f"image/{task}/{number}-img{place}.png"
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    image.save(folder / path)
                    paths.append(path)
                rows.append(
                    {
                        "id": f"{task}_{number}",
                        "image": paths,
                        "question": f"<image> and <image>: which is red? mibench-{task}-{number} ",
                        "options": ["The first.", "The second."],
                        "answer": ["The first.", "The second."][number],
                        "task": task,
                        "type": "multiple-choice",
                        "context": None,
                    }
                )
        (folder / f"{file}.json").write_text(json.dumps(rows))
    # The set's third file has other columns, and is not asked.
    (folder / "multimodal_in_context_learning.json").write_text(json.dumps([{"shots": {}}]))


def mantis_eval(folder: Path) -> None:
    kinds = ["multi-choice", "multi-choice", "short-answer"]
    rows = [
        {
            "id": f"mantis_{number}",
            "question_type": kind,
            "question": f"<image> <image> Which is red? mantis-{number}",
            "images": shades(number % 2, count=2, seed=number),
            "options": ["(A) the first", "(B) the second"] if kind == "multi-choice" else [],
            "answer": LETTERS[number % 2] if kind == "multi-choice" else "the first",
            "data_source": "made",
            "category": "made",
        }
        for number, kind in enumerate(kinds)
    ]
    features = dict.fromkeys(("id", "question_type", "question"), TEXT)
    features |= {"images": List(Picture()), "options": List(TEXT)}
    features |= dict.fromkeys(("answer", "data_source", "category"), TEXT)
    write(folder, {"test": "data/test"}, {"test": rows}, features)


def mmiu(folder: Path) -> None:
    rows = []
    for task, count in (("face_retrieval", 1), ("spot_the_diff", 3)):
        for number in range(count):
            paths = []
            for place, image in enumerate(shades(number % 3, seed=number)):
                path = f"2D-spatial/{task}/{task}_{number}_{place}.png"
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                image.save(folder / path)
                paths.append(f"./{path}")
            options = "A: The first image\nB: The second image\nC: The third image"
            rows.append(
                {
                    "task": task,
                    "visual_input_component": "['natural_image']",
                    "source": "made",
                    "options": options,
                    "question": f"Which is red? mmiu-{task}-{number}",
                    "context": f"Select from the following choices.\n{options}",
                    "input_image_path": paths,
                    "output": LETTERS[number % 3],
                }
            )
    rows.append({**rows[0], "question": "without an answer", "output": None})
    features = dict.fromkeys(rows[0], TEXT) | {"input_image_path": List(TEXT)}
    parquet(folder / "all.parquet", rows, features)


def mme(folder: Path) -> None:
    rows = [
        {
            "question_id": f"{category}/{number}.png",
            "image": shades(0, count=1, seed=number)[0],
            "question": f"Is it {colour}? mme-{category}-{number} Please answer yes or no.",
            "answer": "Yes" if colour == "red" else "No",
            "category": category,
        }
        for category in ("existence", "code_reasoning")
        for number in range(2)
        for colour in ("red", "grey")
    ]
    features = {"question_id": TEXT, "image": Picture()}
    features |= dict.fromkeys(("question", "answer", "category"), TEXT)
    write(folder, {"test": "data/test"}, {"test": rows}, features)


def mmbench(folder: Path) -> None:
    rows = [
        {
            "index": number,
            "question": f"What colour is it? mmbench-{number}",
            "hint": "nan",
            "answer": LETTERS[number % 2],
            **dict(zip(LETTERS, ["grey", "red", "blue", "nan"], strict=True)),
            "category": "attribute_recognition",
            "image": shades(number % 2 - 1, count=1, seed=number)[0],
            "source": "made",
            "L2-category": "finegrained_perception",
            "comment": "nan",
            "split": "dev",
        }
        for number in range(4)
    ]
    features = {"index": NUMBER, "question": TEXT, "hint": TEXT, "answer": TEXT}
    features |= dict.fromkeys(LETTERS, TEXT) | {"category": TEXT, "image": Picture()}
    features |= dict.fromkeys(("source", "L2-category", "comment", "split"), TEXT)
    parquet(folder / "en" / "dev-00000-of-00001.parquet", rows, features)
    (folder / "README.md").write_text(card({"en": {"dev": "en/dev"}}))


V_STAR_BOXES = [(900, 30, 1000, 150), (80, 40, 180, 160), (1800, 90, 1900, 180)]


def v_star(folder: Path) -> None:
    rows = [
        {
            "image": with_box((2100, 200), box),
            "text": f"What shape is the red thing? vstar-{number}\n(A) round\n(B) square",
            "category": "direct_attributes" if number else "relative_position",
            "label": "B",
            "question_id": str(number),
        }
        for number, box in enumerate(V_STAR_BOXES)
    ]
    features = {"image": Picture()}
    features |= dict.fromkeys(("text", "category", "label", "question_id"), TEXT)
    write(folder, {"test": "data/test"}, {"test": rows}, features)


def refcoco(folder: Path, splits: Sequence[str]) -> None:
    """Two objects a split, the first with two expressions."""
    rows = {
        split: [
            {
                "question_id": f"{split}-{number}",
                "image": with_box((203, 151), (20, 30, 90 + 30 * number, 130)),
                "question": "Please carefully observe the area circled in the image",
                "answer": [f"the red one {split}-{number}", "what is red"][: 2 - number],
                "segmentation": [0.0, 1.0],
                "bbox": [20.0, 30.0, 70.0 + 30 * number, 100.0],
                "iscrowd": 0,
                "file_name": f"COCO_train2014_{number}_0.jpg",
            }
            for number in range(2)
        ]
        for split in splits
    }
    features = {"question_id": TEXT, "image": Picture(), "question": TEXT, "answer": List(TEXT)}
    features |= dict.fromkeys(("segmentation", "bbox"), List(Value("float32")))
    features |= {"iscrowd": Value("int8"), "file_name": TEXT}
    write(folder, {split: f"data/{split}" for split in splits}, rows, features)


def build(folder: Path) -> Path:
    """All of them, each in its sub-folder."""
    for make in (muirbench, blink, mibench, mantis_eval, mmiu, mme, mmbench, v_star):
        make(folder / make.__name__)
    refcoco(folder / "refcoco", ("val", "test", "testA", "testB"))
    refcoco(folder / "refcoco+", ("val", "testA", "testB"))
    refcoco(folder / "refcocog", ("val", "test"))
    return folder
