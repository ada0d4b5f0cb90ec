"""What a model might write: a long answer, and blocks that do not end. The same each time. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

SENTENCE = (
    "the answer depends on how often a value is read and how seldom it is written because a cache that nobody clears keeps "
    "what was true long after it has changed so measure first then choose the simple way and write down why it was chosen"
)
WORDS = SENTENCE.split()
SIGNS = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经"
#: Characters of a token, as the models count.
TOKEN = 4


def sentence(chance: random.Random) -> str:
    words = [*chance.choices(WORDS, k=chance.randint(9, 17))]
    marked = chance.randrange(len(words))
    words[marked] = chance.choice(("**{}**", "`{}`", "*{}*", "{}", "[{}](https://example.org/page)")).format(
        words[marked]
    )
    return f"{' '.join(words).capitalize()}."


def chinese(chance: random.Random, count: int) -> str:
    words = ["".join(chance.choices(SIGNS, k=chance.randint(8, 22))) for _ in range(count)]
    words[0] = f"**{words[0]}**"
    return "，".join(words) + "。"


def code(chance: random.Random, lines: int) -> str:
    body = (
        f"    {chance.choice(WORDS)}_{number} = load({chance.choice(WORDS)!r}, {number})" for number in range(lines)
    )
    return "```python\ndef work(load):\n" + "\n".join(body) + "\n```\n"


def parts_of_an_answer(chance: random.Random) -> Iterator[str]:
    for number in range(1, 1_000):
        yield f"## Part {number}\n"
        for _ in range(3):
            yield " ".join(sentence(chance) for _ in range(4)) + "\n"
        yield "".join(f"{place}. {sentence(chance)}\n   - {sentence(chance)}\n" for place in range(1, 5))
        yield code(chance, 18)
        yield "| name | size | note |\n| --- | ---: | --- |\n" + "".join(
            f"| `{chance.choice(WORDS)}` | {row * 17} | {sentence(chance)} |\n" for row in range(6)
        )
        yield f"The cost is $O(n^{number % 7})$, and\n\n$$\n\\sum_{{i=1}}^{{n}} x_i = {number}\n$$\n"


def answer(chance: random.Random) -> str:
    parts, length = [], 0
    for part in parts_of_an_answer(chance):
        parts.append(part)
        length += len(part) + 1
        if length > 30_000 * TOKEN:
            break
    return "\n".join(parts)


def nested(chance: random.Random) -> str:
    depths = [*range(40), *range(39, -1, -1)]
    return "".join(f"{'  ' * depth}- {sentence(chance)}\n" for _ in range(8) for depth in depths)


#: By name.
TEXTS: dict[str, Callable[[random.Random], str]] = {
    "answer": answer,
    "list": lambda chance: "".join(f"- {sentence(chance)}\n" for _ in range(2_000)),
    "table": lambda chance: "| name | size | note |\n| --- | ---: | --- |\n"
    + "".join(f"| `{chance.choice(WORDS)}` | {row} | {sentence(chance)} |\n" for row in range(1_000)),
    "code": lambda chance: code(chance, 5_000),
    "paragraph": lambda chance: " ".join(sentence(chance) for _ in range(1_250)),
    "maths": lambda chance: "".join(f"{sentence(chance)} $x_{{{row}}}^2 + \\sqrt{{{row}}}$\n" for row in range(600)),
    "nested": nested,
    "chinese": lambda chance: "\n\n".join(chinese(chance, 12) for _ in range(300)),
}  # fmt: skip


def text(name: str) -> str:
    return TEXTS[name](random.Random(name))
