"""Text that streams: whatever way it comes in, it ends as if it had come at once. Fed to the scripts of the real page."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from chatproject.config import BASE_DIR
from tests.browser.conftest import Visit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]

FEED = (Path(__file__).parent / "feeding.js").read_text("utf-8").split("\n", 1)[1]
GROW = (Path(__file__).parent / "appending.js").read_text("utf-8").split("\n", 1)[1]
SPEC = BASE_DIR / "node_modules/commonmark-spec/spec.txt"


def examples() -> list[str]:
    """The examples of CommonMark's own text."""
    if not SPEC.exists():
        if os.environ.get("CI"):
            pytest.fail("commonmark-spec is not installed: manage.py setup --for-checks")
        pytest.skip("commonmark-spec is not installed: manage.py setup --for-checks")
    found = re.findall(r"^`{32} example\n(.*?)^\.\n.*?^`{32}$", SPEC.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [example.replace("→", "\t") for example in found]


#: A text, and what must not be visible of it at any of its beginnings.
MARKS: list[tuple[str, list[str]]] = [
    ("So **bold** and *soft*, __bold__ and _soft_, ***both*** and ~~gone~~, that is all.", ["*", "_", "~"]),
    ("Then **bold with `code` and *soft* in it** behind.", ["*", "`"]),
    ("Run `make test`, then ``a ` b`` and `x`.", ["make test`", "`make", "``"]),
    ("See [the page](https://example.org/a_b?c=d) and [this](<https://example.org/>).", ["[", "](", "https", "_b"]),
    ("[one]: https://example.org/\n\nA [word][one] and [one] more.", ["[", "]", "https"]),
    ("An ![image](https://example.org/x.png) here.", ["!", "[", "](", "https"]),
    ("At <https://example.org/> it stands.", ["<", ">"]),
    ("# One\n\n## Two\n\ntext\n\n### Three\ntext", ["#"]),
    ("One\n===\n\nTwo\n---\n\ntext", ["=", "-"]),
    ("- one\n- two\n  - three\n    - four\n      - five\n- six\n\n1. a\n2. b\n   1. c\n10. d", ["-", "1", "2", "."]),
    ("* one\n* two\n\n+ three\n+ four", ["*", "+"]),
    ("- [ ] open\n- [x] done\n- [X] done\n  - [ ] inside", ["[", "]", "x"]),
    ("> quoted\n> more\n>\n> - one\n> - two\n\n> > twice", [">", "-"]),
    ("text\n\n---\n\nmore\n\n***\n\nend", ["-", "*"]),
    ("| name | size |\n| --- | ---: |\n| **one** | `1` |\n| two | 2 |\n\ntext", ["|", "-", "*", "`"]),
    ("text before\n\n|a|b|\n|:-|-:|\n|c|d|\n", ["|", "-", ":"]),
    ("```python\nprint(1)\n```\n\nthen\n\n~~~\nx\n~~~\n", ["`", "~"]),
    ("1. Do\n\n   ```sh\n   ls\n   ```\n\n2. Then\n   ```\n   cd\n   ```\n", ["`", "2"]),
    ("Then $x^2$ is, ($a_1$) and $\\frac{a}{b}$.", ["$"]),
    ("Then \\(x^2\\) is, and \\[y\\] and $$z$$ too.", ["\\(", "\\)", "\\[", "\\]", "$"]),
    ("$$\nx = 1\n$$\n\ntext\n\n\\[\ny\n\\]\n\n$$z$$\n", ["$", "\\[", "\\]"]),
    ("Not \\*soft\\* but \\_plain\\_.", ["\\"]),
    ("他说**“重点”**文字，**中文：**后面，*强调*与~~删除~~。", ["*", "~"]),
    ("说明[链接](https://example.org/)后面`代码`与$x$。", ["[", "]", "https", "`", "$"]),
    ("A claim[^1] and another[^note].\n\n[^1]: The first.\n[^note]: The **other**, with `code`.\n", ["[", "]", "^", ":", "*"]),
]  # fmt: skip

#: What CommonMark does not know.
EXTENDED = [
    "| a | b |\n|---|:-:|\n| 1 | `2|3` |\n| 4 |\n| 5 | 6 | 7 |\n\ntext",
    "text\na | b\n-|-\n1 | 2\nend",
    "- | a | b |\n  |---|---|\n  | 1 | 2 |\n- [x] done\n  1. [ ] **open**\n\n     more\n",
    "A claim[^1], [^a-z] and [^long-name].\n\n[^1]: One\n    two\n\n    - three\n[^long-name]: Four\nfive\n\nsix",
    "> [^2]: quoted $x$\n> more[^2]\n",
    "$$\nx = 1\n$$\n\\[ y \\] and \\(z\\), $5 and $10, $a$ and US$ 7\n\n$$\nnever closed\n- list\n",
    "1. $$\n   x\n   $$\n2. **“重点”**文字，*强调*。\n\n   ~~删~~除 https://example.org/。后\n",
    "`open *code\n\n[open](http://x\n\n![open\n\n**open _marks\n\n$x^\n\n\\(y\n\n<https://exam",
    "[late] and [^late].\n\npara\n\n[late]: https://example.org/\n",
]


def long_texts(chance: random.Random) -> Iterable[str]:
    """Blocks that are long enough to be taken apart, each of them a little different."""
    words = [
        "plain",
        "**bold**",
        "`code`",
        "*soft*",
        "~~gone~~",
        "[link](https://example.org/)",
        "中文，",
        "**“重点”**文字。",
        "$x$",
        "2*3",
        "a_b_c",
        "one\\*",
    ]

    def line(count: int) -> str:
        return " ".join(chance.choices(words, k=count))

    for _ in range(2):
        yield "\n".join(line(9) for _ in range(40))
        yield "。".join(line(5) for _ in range(60))
        yield "\n".join(f"{chance.choice(('-', '-', '-', '  -', '    -'))} {line(3)}" for _ in range(60))
        yield ("\n" * chance.choice((1, 2))).join(f"{number}. {line(4)}" for number in range(7, 60)) + "\n\nend"
        yield "- tight\n" * 30 + "\n- loose\n" + "- again\n\n  ```js\n  let a\n  ```\n" * 20
        yield "| a | b |\n| --- | :-: |\n" + "\n".join(f"| {line(2)} | {line(1)} |" for _ in range(50)) + "\n\nend"
        yield line(300) + chance.choice(
            ("\n===", "\n# head", "\n| a |\n| - |\n| b |", "\n- list", "\n\n[x]: https://e.org/")
        )


async def fed(visit: Visit, texts: Iterable[str], long: int | None = None, cuts: int = 1, links: bool = False) -> Any:
    """Feed each text in pieces of up to `cuts` characters; blocks of over `long` characters are taken apart."""
    found = await visit.page.evaluate(
        FEED, {"cases": [{"text": text} for text in texts], "long": long, "cuts": cuts, "links": links}
    )
    for each in found:
        assert each["same"], f"{each['text']!r}\n{each['found']}\n{each['wanted']}"
    return found


async def test_the_examples_of_commonmark_end_as_if_they_had_come_at_once(visit: Visit) -> None:
    texts = examples()
    assert len(texts) == 652
    for long, cuts in ((None, 1), (0, 5)):
        await fed(visit, texts, long, cuts)
    # With their own addresses, which are no safe links: a definition that comes late takes one last rendering.
    found = await fed(visit, texts, links=True)
    assert 0 < sum(each["late"] for each in found) <= 2


async def test_what_commonmark_does_not_know_ends_as_if_it_had_come_at_once(visit: Visit) -> None:
    texts = [*EXTENDED, *(text for text, _ in MARKS)]
    chance = random.Random(5)  # the same texts each time
    mixed = ["\n\n".join(chance.choices(texts, k=3)) for _ in range(150)]
    for long, cuts in ((None, 1), (0, 5)):
        await fed(visit, [*texts, *mixed[: 30 if cuts == 1 else 100]], long, cuts)


async def test_long_blocks_that_are_taken_apart_end_as_if_they_had_come_at_once(visit: Visit) -> None:
    texts = list(long_texts(random.Random(6)))  # the same texts each time
    for long, cuts in ((0, 12), (None, 150)):
        await fed(visit, texts, long, cuts)


async def test_marks_that_are_half_written_do_not_show(visit: Visit) -> None:
    cases = [{"text": text, "hidden": hidden} for text, hidden in MARKS]
    found = await visit.page.evaluate(FEED, {"cases": cases, "long": None, "cuts": 1, "links": False})
    assert [raw for each in found for raw in each["raw"]] == []


async def test_a_giant_block_grows_by_appending(visit: Visit) -> None:
    for block in await visit.page.evaluate(GROW):
        assert block["count"] >= 590
        assert block["early"] == 0
        assert block["touched"] > 90
