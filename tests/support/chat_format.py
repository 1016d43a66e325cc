"""The chat-completions format as the test server takes and gives it.

Requests are checked more strictly than real servers do, down to the pixels behind every data URL.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from PIL import Image, UnidentifiedImageError


class BadRequest(Exception):
    """The request is not what an OpenAI-compatible server takes."""


def completion(content: object, finish_reason: str = "stop", **message: object) -> bytes:
    """The body of a successful reply."""
    choice = {
        "index": 0,
        "finish_reason": finish_reason,
        "message": {"role": "assistant", "content": content, **message},
    }
    usage = {"prompt_tokens": 1234, "completion_tokens": 21, "total_tokens": 1255}
    return json.dumps(
        {"id": "chatcmpl-0", "object": "chat.completion", "choices": [choice], "usage": usage}
    ).encode()


def error(message: str) -> bytes:
    """The body of a refusal, as OpenAI and vLLM write it."""
    return json.dumps({"error": {"message": message, "type": "BadRequestError"}}).encode()


def request_hash(body: Mapping[str, Any], images: tuple[str, ...]) -> str:
    """A hash of the request's texts and images, whatever its settings."""
    texts = [
        part["text"]
        for message in body.get("messages", [])
        for part in message_parts(message)
        if part["type"] == "text"
    ]
    return hashlib.sha256(json.dumps([texts, images]).encode()).hexdigest()


def message_parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def validated_images(
    body: Mapping[str, Any], served_model: str, max_images: int, media_folder: str = ""
) -> list[bytes]:
    """Check a request, and give the bytes of its images in order. Raises `BadRequest`.

    Files are opened below ``media_folder``, if there is one.
    """
    model = body["model"]
    _expect(isinstance(model, str) and model != "", "model: a name is expected")
    if served_model and model != served_model:
        raise BadRequest(f"The model `{model}` does not exist.")
    limits = [body.get("max_tokens"), body.get("max_completion_tokens")]
    _expect(any(isinstance(limit, int) and limit > 0 for limit in limits), "no limit on the tokens")
    _expect(0 <= body.get("temperature", 0) <= 2, "temperature: 0 to 2 is expected")
    _expect(0 < body.get("top_p", 1) <= 1, "top_p: above 0, up to 1 is expected")
    _expect(isinstance(body.get("seed", 0), int), "seed: an integer is expected")
    _expect(not body.get("stream"), "stream: not supported")
    roles = [message["role"] for message in body["messages"]]
    _expect(roles in (["user"], ["system", "user"]), f"roles {roles}: (system,) user is expected")
    images = []
    for part in (part for message in body["messages"] for part in message_parts(message)):
        if part["type"] == "image_url":
            images.append(_image_bytes(part["image_url"]["url"], media_folder))
        else:
            _expect(part["type"] == "text" and bool(part["text"]), "a part is no text or image")
    _expect(
        len(images) <= max_images,
        f"At most {max_images} image(s) may be provided in one prompt.",
    )
    return images


def _image_bytes(url: str, media_folder: str) -> bytes:
    if url.startswith("file:"):
        return _file_bytes(url, media_folder)
    declared = re.fullmatch(r"data:(image/[a-z]+);base64,([A-Za-z0-9+/=]*)", url)
    if declared is None:
        raise BadRequest(f"not a data URL: {url[:40]}")
    try:
        content = base64.b64decode(declared[2], validate=True)
        with Image.open(io.BytesIO(content)) as image:
            actual = image.get_format_mimetype()
            image.load()
    except (binascii.Error, UnidentifiedImageError, OSError) as reason:
        raise BadRequest(f"not an image: {reason}") from reason
    _expect(actual == declared[1], f"declared as {declared[1]}, but is {actual}")
    return content


def _file_bytes(url: str, media_folder: str) -> bytes:
    """What stands in a file, as servers do it that are told which folder may be read."""
    _expect(media_folder != "", "Cannot load local files without `--allowed-local-media-path`.")
    parts = urlsplit(url)
    _expect(not (parts.query or parts.fragment), f"{url}: a path without ? and # is expected")
    path = Path(url2pathname(parts.netloc + parts.path))
    _expect(Path(media_folder) in path.resolve().parents, f"{path} is not below {media_folder}")
    try:
        return path.read_bytes()
    except OSError as reason:
        raise BadRequest(str(reason)) from reason


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise BadRequest(otherwise)
