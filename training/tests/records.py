"""Conversation records for tests: sound ones of every kind, and every way in which one is bad."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_files import write_images
from PIL import Image

from migtrain.records.parsing import ErrorKind

Record = dict[str, Any]

FOLDER = "MGrounding-630k"


def box(*edges: int) -> str:
    x1, y1, x2, y2 = edges
    return f"<|box_start|>({x1},{y1}),({x2},{y2})<|box_end|>"


def record(*turns: str, images: int = 2, **changes: Any) -> Record:
    """A sound record: questions and answers in turn, the images shown by the first question."""
    shown = "<image>\n" * images
    return {
        "id": "5229016_8929009",
        "images": [f"./{FOLDER}/Group_Grounding/SA-1B/sa_{n}.jpg" for n in range(images)],
        "conversations": [
            {"from": ("human", "gpt")[n % 2], "value": (shown if n == 0 else "") + turn}
            for n, turn in enumerate(turns or ("Where is the statue?", box(316, 58, 764, 999)))
        ],
        "type": "group_grounding",
    } | changes


PHRASE = "<|object_ref_start|>a statue of a man<|object_ref_end|>"

# One of each kind, worded as such data are: one box and several, one turn and several, answers in
# words, and boxes within questions.
EVERY_KIND = [
    ("common_train", "Common_Object/COCO", 4, [
        ("Find their common object.", f"It is a cat. Image-1: {box(1, 2, 3, 4)} Image-2: "
         f"{box(10, 20, 300, 400)} Image-3: {box(0, 0, 999, 999)} Image-4: {box(5, 5, 6, 1000)}"),
    ]),
    ("diff_train", "Difference/magicbrush", 2, [
        ("What has changed?", "A hat was added."),
        ("Locate it in the second image.", box(120, 80, 240, 200)),
    ]),
    ("free_form_grounding", "Free-Form/Object365", 5, [
        (f"Image-1 shows a bottle at {box(906, 717, 931, 851)}. Is there one like it in Image-3?",
         "No; but papers lie at (0,753) to (224,932) in Image-3."),
        ("And in Image-4?", f"<ref>a bottle</ref>{box(186, 133, 821, 719)}"),
    ]),
    ("gg_train", "Group_Grounding/SA-1B", 4, [
        (f"Give the bounding box of the region that this sentence refers to: {PHRASE}.",
         f"It's in the third image. {box(316, 58, 764, 999)}"),
        ("Recognize the target region: a woman in orange.",
         f"It's in the first image. {box(408, 656, 578, 997)}"),
    ]),
    ("ot_train", "Object_Tracking/GOT-10k", 6, [
        (f"Track the object at {box(100, 100, 200, 300)} of the first frame.",
         " ".join(f"Frame-{n}: {box(100 + n, 100, 200 + n, 300)}" for n in range(2, 7))),
    ]),
    ("refer_train", "Referring_Grounding/ImageNet", 2, [
        ("Find the object of Image-1 in Image-2.", f"一只狗 is at {box(492, 387, 726, 792)}"),
    ]),
    ("region_train", "Region_Locating/Object365", 3, [
        ("Locate the first region.", box(0, 1, 2, 3)),
        ("Locate the second.", box(500, 501, 502, 503)),
        ("What is in it?", "A chair."),
    ]),
]  # fmt: skip

KINDS = {
    "common_object",
    "diff",
    "free_form_grounding",
    "group_grounding",
    "object_tracking",
    "refer_grounding",
    "region",
}


def sound_record(number: int) -> Record:
    """Record number n of a large file: the kinds in turn, with ids and images of their own."""
    kind, folder, images, rounds = EVERY_KIND[number % len(EVERY_KIND)]
    turns = [text for each in rounds for text in each]
    return record(*turns, images=images, id=f"{kind}_{number}", type=kind) | {
        "images": [f"./{FOLDER}/{folder}/{number % 50}_{n}.jpg" for n in range(images)]
    }


def answered(sound: Record, answer: str) -> Record:
    return sound | {"conversations": [sound["conversations"][0], {"from": "gpt", "value": answer}]}


def first_image(sound: Record, path: str) -> Record:
    return sound | {"images": [path, *sound["images"][1:]]}


CORRUPT, CUT_OFF = "corrupt.jpg", "cut_off.jpg"

Spoil = Callable[[Record], object]

BAD: dict[str, tuple[Spoil, ErrorKind]] = {
    "no object": (lambda sound: ["not", "an", "object"], ErrorKind.NOT_AN_OBJECT),
    "images are no list": (lambda sound: sound | {"images": "a.jpg"}, ErrorKind.IMAGE_LIST),
    "path upwards": (lambda sound: first_image(sound, "../outside.jpg"), ErrorKind.OUTSIDE),
    "absolute path": (lambda sound: first_image(sound, "/etc/passwd"), ErrorKind.OUTSIDE),
    "missing image": (lambda sound: first_image(sound, "./nowhere.jpg"), ErrorKind.MISSING_IMAGE),
    "corrupt image": (lambda sound: first_image(sound, CORRUPT), ErrorKind.CORRUPT_IMAGE),
    "image cut off": (lambda sound: first_image(sound, CUT_OFF), ErrorKind.CORRUPT_IMAGE),
    "odd number of turns": (
        lambda sound: sound | {"conversations": sound["conversations"][:1]}, ErrorKind.TURNS),
    "no turns": (lambda sound: sound | {"conversations": []}, ErrorKind.TURNS),
    "wrong role": (
        lambda sound: sound | {
            "conversations": [sound["conversations"][0], {"from": "bot", "value": "Yes."}]},
        ErrorKind.TURNS),
    "empty answer": (lambda sound: answered(sound, " "), ErrorKind.EMPTY),
    "no answer": (
        lambda sound: sound | {"conversations": [sound["conversations"][0], {"from": "gpt"}]},
        ErrorKind.EMPTY),
    "an image too few": (
        lambda sound: sound | {"images": sound["images"][1:]}, ErrorKind.PLACEHOLDERS),
    "an answer with an image": (lambda sound: answered(sound, "<image>!"), ErrorKind.PLACEHOLDERS),
    "forged turn": (lambda sound: answered(sound, "no<|im_end|>"), ErrorKind.TOKENS),
    "half a box": (lambda sound: answered(sound, "<|box_start|>(1,2)"), ErrorKind.BOXES),
    "misspelt box token": (
        lambda sound: answered(sound, "<box_start|>(1,2),(3,4)<box_end|>"), ErrorKind.BOXES),
    "box upside down": (lambda sound: answered(sound, box(9, 1, 3, 4)), ErrorKind.BOXES),
    "box beyond a thousand": (lambda sound: answered(sound, box(9, 1, 1003, 4)), ErrorKind.BOXES),
    "longer than cutoff_len": (
        lambda sound: answered(sound, "a long story " * 3000), ErrorKind.TOO_LONG),
}  # fmt: skip
"""Ways to spoil a sound record of two images or more, and what each is reported as."""


def write_record_images(root: Path) -> Path:
    """The images of all sound records, in the published layout, and two damaged ones."""
    names = {image for number in range(350) for image in sound_record(number)["images"]}
    write_images(root, sorted(names))
    (root / CORRUPT).write_bytes(b"no picture")
    Image.effect_noise((200, 200), 60).save(root / CUT_OFF)
    whole = (root / CUT_OFF).read_bytes()
    (root / CUT_OFF).write_bytes(whole[: len(whole) // 2])
    return root
