from __future__ import annotations

import re
from pathlib import Path

import stylefleet
from stylefleet.reasons import BROKEN, REASONS, REFUSED

OTHERWISE = {
    "mask_shape": "becomes mask_invalid",
    "style_not_finite": "becomes style_invalid",
    "gone": "a gallery's, of a picture that it cannot show",
    "no_access": "the same",
    "replaced": "the same",
}
"""Words that no receipt has."""
NOUNS = {"word": ("content", "mask", "start"), "noun": ("mask", "start"), "companion.noun": ("mask", "start")}
WORD = re.compile(r'(?:ImageInvalid\(|LoadFailed\(|reason=|_refused\(\S+ )\s*(f?)"([a-z_{}.]+)"')


def said() -> set[str]:
    """Every word with which the code refuses a picture."""
    found = set()
    for path in Path(stylefleet.__file__).parent.rglob("*.py"):
        for template, word in WORD.findall(path.read_text()):
            name = re.search(r"\{(.+)\}", word) if template else None
            found |= {word.replace(name[0], noun) for noun in NOUNS[name[1]]} if name else {word}
    return found


def test_every_reason_that_the_code_gives_is_in_the_list_and_the_reverse() -> None:
    assert said() - OTHERWISE.keys() == set(REASONS)


def test_every_reason_is_somebodys_fault_and_nobody_elses() -> None:
    assert not set(REFUSED) & set(BROKEN)
    assert len(set(REASONS)) == len(REASONS)


def test_the_runbook_says_of_every_reason_what_to_do() -> None:
    page = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    for chapter, reasons in (("StylefleetErrorBudgetBurn", BROKEN), ("StylefleetInputRejectSpike", REFUSED)):
        text = page.partition(f"### {chapter}\n")[2].partition("\n### ")[0]
        assert [reason for reason in reasons if f"`{reason}`" not in text] == []
