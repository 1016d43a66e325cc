"""Whether an answer without a box says that there is none to give, in several languages."""

from __future__ import annotations

import re

_NOT = r"\s?(?:not|n?['’]t)"
_WORDS = (
    r"sorry\b",
    r"apologi[sz]e",
    r"as an ai\b",
    r"unable to\b",
    rf"(?:can|could){_NOT} (?:be )?(?:find|found|locate|identify|determine|provide|see|help|assist"
    r"|answer|detect|give|view|process|do)",
    rf"do(?:es)?{_NOT} (?:see|find|appear|exist|contain|detect|know)",
    rf"did{_NOT} (?:see|find|detect)",
    r"no (?:such|matching|visible|corresponding|differences?|object|target)\b",
    r"none of the (?:images|pictures)\b",
    r"not (?:able to|visible|present|possible)\b",
    r"there (?:is|are|was|were) no(?:ne|thing)?\b(?! of)",
    r"(?:none|nothing|no \w{1,30}(?: \w{1,30}){0,4}) (?:(?:is|are|was|were|could be|can be) )?"
    r"(?:found|detected|visible|present|located|identified)\b",
    r"(?:images|pictures) are (?:identical|the same)\b",
    r"lo siento|no puedo|no se (?:puede|encuentra|ve)\b|não (?:posso|consigo|há)",
    r"désolé|je ne (?:peux|vois)|leider|kann (?:ich )?nicht|non (?:posso|riesco|vedo)",
    r"к сожалению|извините|не (?:могу|вижу)",
)
_WORD = re.compile(rf"\b(?:{'|'.join(_WORDS)})")
_SIGN = re.compile(
    r"抱歉|对不起|无法|不能|没有|未找到|未发现|找不到|看不到|不存在"
    r"|申し訳|できません|見つかりません|죄송|없습니다|찾을 수 없"
)
_NOTHING = re.compile(
    r"(?:```(?:\w{1,10})?\s{0,8})?[\"'*]{0,2}"
    r"(?:\[[\s\[\]]{0,8}\]|\{\s{0,8}\}"
    r"|\[?\s{0,8}[\"']?(?:none|null|nothing|not found|n/a|nil|nan|no)[\"']?\s{0,8}\]?)"
    r"[\s.`\"'*!]{0,12}"
)
"""The whole answer: an empty list or object, or "none"."""


def is_refusal(text: str) -> bool:
    """Whether the text says that its writer cannot answer, or that there is nothing to find.

    Meant for answers in which no box was found; every other answer may apologise as it likes.

    >>> [is_refusal(text) for text in ("I can't locate it.", "图中没有狗。", "[]", "the left dog")]
    [True, True, True, False]
    """
    text = text.strip().lower()
    if _NOTHING.fullmatch(text) or _WORD.search(text):
        return True
    return not text.isascii() and _SIGN.search(text) is not None
