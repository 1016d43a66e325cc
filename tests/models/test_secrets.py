"""A key in every place and spelling, in every command: no file and no output has it."""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path
from urllib.parse import quote

import pytest
from support.chat_format import completion, error
from support.command_line import Done, migbench
from support.local_server import LocalServer, Scripted

from migbench.mini import render

KEY = 'sk-live/4f9a"8b7c\\6d5e+3f2a&1b0c9d8e7f6a'

SPELLINGS = {
    "plain": KEY,
    "within a word": f"xx{KEY}yy",
    "cut in front": KEY[9:],
    "cut behind": KEY[:-9],
    "in capitals": KEY.upper(),
    "for a URL": quote(KEY, safe=""),
    "for a URL, twice": quote(quote(KEY, safe=""), safe=""),
    "in base64": base64.b64encode(KEY.encode()).decode(),
    "in basic authorization": base64.b64encode(f"user:{KEY}".encode()).decode(),
    "in JSON": json.dumps(KEY),
    "in JSON in JSON": json.dumps(json.dumps(KEY)),
    "in hexadecimal": KEY.encode().hex(),
    "in HTML": escape(KEY),
    "in Python": repr(KEY),
}


def traces() -> list[bytes]:
    """What must be nowhere: pieces of the key, plain and encoded, that are too long for chance."""
    spelled = [KEY, KEY.upper(), quote(KEY, safe=""), KEY.encode().hex()]
    spelled += [base64.b64encode(b"user:"[:n] + KEY.encode()).decode()[4:-4] for n in (0, 4, 5)]
    size = 12
    return sorted({s[at : at + size].encode() for s in spelled for at in range(len(s) - size + 1)})


def assert_nowhere(folder: Path, *done: Done) -> None:
    found = traces()
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png"]
    contents = {str(path): path.read_bytes() for path in files}
    for number, each in enumerate(done):
        contents[f"output {number}"] = (each.out + each.err).encode()
    assert {name for name, content in contents.items() if any(t in content for t in found)} == set()
    assert not [path for path in folder.rglob("*") if any(t in str(path).encode() for t in found)]


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=2)
    return folder


def asking(data: Path, out: Path, url: str, *more: str) -> Done:
    return migbench(
        *("run", "--model", "served", "--adapter", "openai", "--endpoint", url),
        *("--dialect", "qwen2-vl", "--data", data, "--out", out),
        *("--model-arg", "backoff=0.001", "--model-arg", "retries=0"),
        *("--model-arg", "api_key_env=MY_SERVER", *more),
    )


def test_a_key_that_a_server_repeats_reaches_no_file_and_no_terminal(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SERVER", KEY)
    out = tmp_path / "run"
    told = list(SPELLINGS.values())
    replies = [Scripted(error(f"no: {text} !"), 400) for text in told]
    replies += [Scripted(f"<p>{text}</p>".encode()) for text in told]
    replies += [Scripted(completion(f"(1,2),(3,4) {text}")) for text in told[:4]]
    replies += [
        Scripted(completion(None, finish_reason=f"x {KEY}")),
        Scripted(completion("no", refusal=f"not with {KEY}")),
        Scripted(status=307, headers={"Location": f"http://127.0.0.1/?code={quote(KEY)}"}),
        Scripted(error(f"{'x' * 480} {KEY}"), 500),
    ]
    with LocalServer(script=replies) as server:
        asked = asking(mini, out, server.base_url)
        again = migbench("rerun", out, "--out", tmp_path / "again")
    lines = (out / "answers.jsonl").read_text().splitlines()
    assert sum("[key]" in line for line in lines) >= 20
    done = [
        asked,
        again,
        migbench("score", out, "--json", tmp_path / "scores.json"),
        migbench("table", out, "--format", "markdown"),
        migbench("compare", out, tmp_path / "again"),
        migbench("verify", out),
        migbench("report", out, "--out", tmp_path / "page.html"),
        migbench("export", out, "--to", "csv", "--out", tmp_path / "table.csv"),
        migbench("merge", out, "--out", tmp_path / "merged"),
        migbench("doctor", out),
    ]
    assert_nowhere(tmp_path, *done)


PLACES = {
    "in place of a variable's name": ["api_key_env=sk_live_4f9a8b7c6d5e3f2a"],
    "as a short one": ["api_key_env=hf_4f9a8b7c6d"],
    "by its name": ["api_key=4f9a"],
    "in the body": ["extra_body={user: x, subscription_key: 4f9a}"],
    "deep in the body": ["extra_body={a: [{b: {pat: 4f9a}}]}"],
    "as a password that is a number": ["extra_body={pwd: 4096}"],
    "in headers": ["extra_body={headers: {X-Anything: 4f9a}}"],
    "as a bearer": ["extra_body={bearer: 4f9a}"],
    "by its form": ["extra_body={note: 'Bearer 4f9a8b7c6d5e'}"],
    "the one in use": ["extra_body={note: the-key-in-use-0123}"],
}
ADDRESSES = {
    "as the user": "http://sk-4f9a8b7c6d5e@127.0.0.1:9/v1",
    "as the password": "http://me:4f9a8b@127.0.0.1:9/v1",
    "in the path": "http://127.0.0.1:9/sk-4f9a8b7c6d5e/v1",
    "in the path, unmarked": "http://127.0.0.1:9/4f9a8b7c6d5e3f2a1b0c/v1",
    "the one in use": "http://127.0.0.1:9/the-key-in-use-0123/v1",
    "behind a word of the path": "http://127.0.0.1:9/token/4f9a/v1",
    "as code": "http://127.0.0.1:9/v1?code=4f9a8b",
    "as sig": "http://127.0.0.1:9/v1?api-version=1&sig=4f9a8b",
    "as key": "http://127.0.0.1:9/v1?key=4f9a8b",
    "as token": "http://127.0.0.1:9/v1?token=4f9a8b",
    "in the fragment": "http://127.0.0.1:9/v1#access_token=4f9a8b",
    "without a scheme": "me:4f9a8b@127.0.0.1:9/v1",
}
NOBODY = "http://127.0.0.1:9/v1"
REFUSED = {f"setting: {name}": (NOBODY, settings) for name, settings in PLACES.items()} | {
    f"address: {name}": (url, []) for name, url in ADDRESSES.items()
}


@pytest.mark.parametrize(("endpoint", "settings"), REFUSED.values(), ids=REFUSED)
def test_a_key_among_the_settings_is_refused_before_anything_is_written(
    endpoint: str,
    settings: list[str],
    mini: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "the-key-in-use-0123")
    done = migbench(
        *("run", "--model", "served", "--adapter", "openai", "--endpoint", endpoint),
        *("--dialect", "qwen2-vl", "--data", mini, "--out", tmp_path / "run"),
        *(part for setting in settings for part in ("--model-arg", setting)),
    )
    assert done.status == 2, done.err
    assert "4f9a" not in done.out + done.err
    assert "the-key-in-use" not in done.out + done.err
    assert "Traceback" not in done.err
    assert not any(tmp_path.iterdir())


def test_a_traceback_holds_no_key(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", KEY)
    adapter = tmp_path / "mine.py"
    adapter.write_text(f"class M:\n    def __init__(self):\n        raise OSError({KEY!r})\n")
    done = migbench(
        *("--debug", "run", "--model", "m", "--adapter", f"{adapter}:M", "--dialect", "qwen2-vl"),
        *("--data", mini, "--out", tmp_path / "run"),
    )
    adapter.unlink()
    assert "Traceback" in done.err
    assert done.status == 2
    assert_nowhere(tmp_path / "run", done)


@pytest.mark.parametrize(
    "argument", ["sk-4f9a8b7c6d5e", "http://h/4f9a8b", "extra_body={a: '4f9a8b7c"]
)
def test_a_setting_that_cannot_be_parsed_is_not_repeated(argument: str, tmp_path: Path) -> None:
    done = migbench("run", "--model", "m", "--data", tmp_path, "--model-arg", argument)
    assert done.status == 2
    assert "--model-arg" in done.err
    assert "4f9a8b" not in done.err


def test_an_address_of_a_deployment_is_no_secret(mini: Path, tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/openai/deployments/gpt-4o-mini-2024-07-18/v1"
    done = asking(mini, tmp_path / "run", url, "--limit", "1", "--tasks", "diff")
    assert done.status == 2, done.err
    assert "nothing listens at 127.0.0.1:9" in done.err
    assert "a secret were in it" not in done.err


def test_an_address_with_a_key_in_its_path_comes_from_the_environment(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hidden(LocalServer):
        """Serves at a path that is a key."""

        def page(self, path: str) -> object | None:
            return {"data": [{"id": "served"}]} if path == "/4f9a8b7c6d5e3f2a1b0c/models" else None

    with Hidden() as server:
        host = server.base_url.removesuffix("/v1")
        monkeypatch.setenv("MY_URL", f"{host}/4f9a8b7c6d5e3f2a1b0c")
        done = migbench(
            *("run", "--model", "served", "--adapter", "openai"),
            *("--model-arg", "base_url_env=MY_URL", "--model-arg", "retries=0"),
            *("--dialect", "qwen2-vl", "--data", mini, "--out", tmp_path / "run"),
        )
    assert done.status == 1, done.err
    assert f"{host}/[key]/chat/completions: 405" in done.err
    manifest = (tmp_path / "run" / "run.json").read_text()
    assert f"{host}/[key]" in manifest
    assert "4f9a8b" not in done.out + done.err + manifest
    assert "4f9a8b" not in (tmp_path / "run" / "answers.jsonl").read_text()
