"""What of a branch a model is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streaming.prompt import (
    CONTINUE,
    TOKENS_PER_MESSAGE,
    Prompt,
    Turn,
    build_prompt,
    estimated_tokens,
    shorter_budget,
)
from tests.cases import hundreds, whole_texts


def branch(*texts: str) -> list[Turn]:
    """Questions and answers in turn."""
    return [Turn(100 + number, "assistant" if number % 2 else "user", text) for number, text in enumerate(texts)]


def contents(prompt: Prompt) -> list[str]:
    return [message["content"] for message in prompt.messages]


def cost(*texts: str) -> int:
    return sum(estimated_tokens(text) + TOKENS_PER_MESSAGE for text in texts)


branches = st.lists(whole_texts(40), min_size=1, max_size=12).map(lambda texts: branch(*texts))
budgets = st.integers(-10, 300)
systems = st.just("") | whole_texts(40)


def test_a_branch_that_fits_is_shown_whole() -> None:
    prompt = build_prompt(branch("Hi", "Hello", "How are you?"), 1000, system="Be kind.")
    assert prompt.messages == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "How are you?"},
    ]
    assert prompt.sight is None


def test_at_the_budget_all_is_shown_and_one_token_less_drops_the_oldest() -> None:
    turns = branch("aaaa", "bbbb", "cccc")
    all_of_it = cost("aaaa", "bbbb", "cccc")
    assert contents(build_prompt(turns, all_of_it)) == ["aaaa", "bbbb", "cccc"]
    trimmed = build_prompt(turns, all_of_it - 1)
    assert (contents(trimmed), trimmed.sight) == (["cccc"], 102)


def test_a_context_never_begins_with_an_answer() -> None:
    turns = branch("aaaa", "bbbb", "cccc")
    assert contents(build_prompt(turns, cost("bbbb", "cccc"))) == ["cccc"]


def test_the_system_prompt_and_the_last_question_are_kept_whatever_they_cost() -> None:
    prompt = build_prompt(branch("old", "older", "new " * 100), 1, system="Be kind. " * 100)
    assert contents(prompt) == ["Be kind. " * 100, "new " * 100]


def test_the_system_prompt_is_paid_from_the_budget() -> None:
    turns = branch("aaaa", "bbbb", "cccc")
    assert len(build_prompt(turns, cost("aaaa", "bbbb", "cccc", "ssss"), system="ssss").messages) == 4
    assert len(build_prompt(turns, cost("aaaa", "bbbb", "cccc", "ssss") - 1, system="ssss").messages) == 2


def test_messages_without_words_are_not_sent() -> None:
    turns = branch("Hi", "", "Are you there?")
    prompt = build_prompt(turns, 1000)
    assert (contents(prompt), prompt.sight) == (["Hi", "Are you there?"], None)


def test_a_branch_that_was_not_read_from_its_root_has_a_sight() -> None:
    assert build_prompt(branch("Hi"), 1000, complete=False).sight == 100


def test_a_reply_that_goes_on_is_told_so_in_words() -> None:
    prompt = build_prompt(branch("Tell me a story."), 1000, prefix="Once upon")
    assert prompt.messages[-2:] == [
        {"role": "assistant", "content": "Once upon"},
        {"role": "user", "content": CONTINUE},
    ]


def test_an_empty_branch_has_an_empty_prompt() -> None:
    assert build_prompt([], 1000) == Prompt([], None, 0)


def test_tokens_are_estimated_from_bytes() -> None:
    assert [estimated_tokens(text) for text in ("", "a", "abcd", "abcde", "你好", "😀")] == [0, 1, 1, 2, 2, 1]


@hundreds
@given(branches, budgets, systems, whole_texts(20), st.booleans())
def test_the_newest_turns_are_shown_in_their_order(
    turns: list[Turn], budget: int, system: str, prefix: str, complete: bool
) -> None:
    prompt = build_prompt(turns, budget, system=system, prefix=prefix, complete=complete)
    shown = prompt.messages[bool(system) : len(prompt.messages) - 2 * bool(prefix)]
    spoken = [turn for turn in turns if turn.text]
    assert [(m["role"], m["content"]) for m in shown] == [(t.role, t.text) for t in spoken[len(spoken) - len(shown) :]]
    assert bool(shown) is bool(spoken)


@hundreds
@given(branches, budgets, systems, whole_texts(20))
def test_the_budget_is_kept_by_all_but_the_last_turn(turns: list[Turn], budget: int, system: str, prefix: str) -> None:
    prompt = build_prompt(turns, budget, system=system, prefix=prefix)
    assert prompt.tokens == cost(*contents(prompt))
    shown = len(prompt.messages) - bool(system) - 2 * bool(prefix)
    assert prompt.tokens <= budget or shown <= 1


@hundreds
@given(branches, budgets, systems, st.booleans())
def test_sight_is_the_oldest_turn_that_is_shown_unless_all_are(
    turns: list[Turn], budget: int, system: str, complete: bool
) -> None:
    prompt = build_prompt(turns, budget, system=system, complete=complete)
    spoken = [turn for turn in turns if turn.text]
    shown = len(prompt.messages) - bool(system)
    if not shown or (complete and shown == len(spoken)):
        assert prompt.sight is None
    else:
        assert prompt.sight == spoken[-shown].id


@hundreds
@given(branches, budgets, systems)
def test_a_larger_budget_never_shows_less(turns: list[Turn], budget: int, system: str) -> None:
    less, more = (build_prompt(turns, size, system=system) for size in (budget, budget + 5))
    assert len(less.messages) <= len(more.messages)


# What was too long for a server


def test_without_a_limit_half_of_what_was_sent_is_sent() -> None:
    assert shorter_budget(1000, None, 1300, 0) == 500


def test_a_limit_that_is_named_is_kept_with_room_for_the_reply() -> None:
    assert shorter_budget(1000, 800, None, 0) == 600
    assert shorter_budget(1000, 800, None, 500) == 300


def test_where_the_server_counts_more_the_budget_is_less() -> None:
    assert shorter_budget(1000, 800, 2000, 0) == 300


@hundreds
@given(
    st.integers(1, 10**7), st.none() | st.integers(1, 10**7), st.none() | st.integers(1, 10**7), st.integers(0, 10**6)
)
def test_what_is_sent_again_is_always_less(sent: int, limit: int | None, counted: int | None, reserved: int) -> None:
    assert shorter_budget(sent, limit, counted, reserved) < sent
