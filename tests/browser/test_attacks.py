"""Words of a model or of a person become no script, no style and no request to a foreign host, at any moment of the stream."""

from __future__ import annotations

from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from playwright.async_api import Page, expect

from conversations.models import Conversation
from tests.attacks import ATTACKS
from tests.browser.conftest import OpenPage, Visit
from tests.browser.test_finding import say
from tests.conftest import Chat

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]

# What a reply may be made of: what DOMPurify lets through, our own heads of code, and what KaTeX draws, which has styles that
# are set by its script, and drawings without any address.
WATCHING = """
const PLAIN = new Set(("A B BLOCKQUOTE BR CODE DEL DIV EM H1 H2 H3 H4 H5 H6 HR I INPUT LABEL LI OL P PRE S SPAN STRONG SUB SUP TABLE TBODY TD TH THEAD TR UL").split(" "));
const NAMES = new Set("aria-label aria-pressed checked class data-act data-coloured data-tex disabled href rel start tabindex target title type".split(" "));
const faultOf = (element) => {
  const name = element.nodeName;
  const drawn = element.closest(".katex"), ours = element.closest(".code-head");
  if (drawn ? /^(script|a|image|use|foreignobject|iframe|img|style|link|form|input)$/i.test(name) : ours ? !/^(DIV|SPAN|BUTTON|svg|use)$/.test(name) : !PLAIN.has(name))
    return `element ${element.outerHTML.slice(0, 200)}`;
  for (const { name: attribute, value } of element.attributes) {
    const isOurs = ours && element.nodeName === "use" && attribute === "href" && value.startsWith("/static/");
    if (/^on|src|^(id|name|action|formaction|ping|poster|background|srcdoc|xlink:href)$/i.test(attribute)) return `attribute ${attribute} in ${element.outerHTML.slice(0, 200)}`;
    if (!drawn && !ours && !NAMES.has(attribute)) return `attribute ${attribute} in ${element.outerHTML.slice(0, 200)}`;
    if (attribute === "style" && !(drawn && !/url|image/i.test(value))) return `style ${value}`;
    if (attribute === "href" && !isOurs && !/^(https?:\\/\\/|mailto:)/.test(value)) return `link ${value}`;
    if (attribute === "title" && /[\\u202a-\\u202e\\u2066-\\u2069]/.test(value)) return `title ${value}`;
  }
  if (name === "A" && (element.target !== "_blank" || !element.relList.contains("noopener"))) return `link that keeps its opener: ${element.outerHTML}`;
  if (name === "INPUT" && !(element.type === "checkbox" && element.disabled)) return `field ${element.outerHTML}`;
  return null;
};
const faultsIn = (root) => (root.nodeType === 1 ? [root, ...root.querySelectorAll("*")].map(faultOf).filter(Boolean) : []);
"""

# Feeds each attack a character at a time. Frames and rests are left out, so that each of them is rendered at once; what has been
# put into the page, if only for a moment, the observer tells.
STREAM = (
    """async ({ attacks, harm }) => {"""
    + WATCHING
    + """
  const { GrowingMarkdown } = await import("/static/js/markdown.js");
  const place = document.querySelector(".messages");
  globalThis.requestAnimationFrame = (paint) => paint(0);
  performance.now = () => 0;
  const found = [];
  let moments = 0, changes = 0;
  const observer = new MutationObserver(() => {});
  const options = { subtree: true, childList: true, attributes: true };
  const look = (attack) => {
    for (const { type, target, addedNodes } of observer.takeRecords()) {
      changes++;
      const faults = type === "attributes" ? [faultOf(target)].filter(Boolean) : [...addedNodes].flatMap(faultsIn);
      for (const fault of faults) found.push(`${attack}: ${fault}`);
    }
  };
  for (const attack of attacks) {
    const article = document.createElement("article");
    article.className = "message assistant";
    const body = document.createElement("div");
    body.className = "message-text markdown";
    article.append(body);
    place.append(article);
    observer.observe(article, options);
    const growing = new GrowingMarkdown(body, () => {});
    // Half an emoji is never sent: what comes are whole characters.
    let text = "";
    for (const character of attack) {
      text += character;
      growing.update(text, false);
      look(attack);
      moments++;
      await null;
    }
    if (harm) body.append(document.createElement(harm));
    growing.update(text, true);
    for (let wait = 0; wait < 500 && body.querySelector(".maths[data-tex]:not(.drawn)"); wait++) await new Promise((resolve) => setTimeout(resolve, 10));
    look(attack);
    observer.disconnect();
    article.remove();
  }
  return { found: [...new Set(found)].slice(0, 40), moments, changes };
}"""
)

# What stands in a page that the server has rendered and the scripts have taken over.
STANDING = (
    "(selector) => {"
    + WATCHING
    + "return [...document.querySelectorAll(selector)].flatMap((root) => faultsIn(root).filter((fault) => fault)); }"
)


#: What none of our pages has, nor the administration.
HARM = "img:not([src^='/static/']), iframe, object, embed, base, video, audio, svg svg, [onerror], [onload], [onclick], [style]"


def hearing_alerts(visit: Visit) -> None:
    visit.page.on("dialog", lambda dialog: visit.problems.append(f"a script has run: {dialog.message}"))


async def stream(page: Page, attacks: list[str], harm: str = "") -> dict[str, Any]:
    told: dict[str, Any] = await page.evaluate(STREAM, {"attacks": attacks, "harm": harm})
    return told


async def test_no_attack_does_anything_at_any_moment_of_the_stream(visit: Visit) -> None:
    """The fixture judges the requests that were made, and what the Content-Security-Policy had to forbid."""
    hearing_alerts(visit)
    await visit.ask("Hello")
    await expect(visit.reply).to_contain_text("You said: Hello")
    seen = await stream(visit.page, ["a"], harm="iframe")
    assert len(seen["found"]) == 1
    told = await stream(visit.page, list(ATTACKS))
    assert told["found"] == []
    assert told["moments"] == sum(len(attack) for attack in ATTACKS)
    assert told["changes"] > len(ATTACKS)


@database_sync_to_async
def said_by(user: User, attacks: tuple[str, ...]) -> Conversation:
    """A conversation in which each of them is answered and thought, and some are asked, and titles of others."""
    user.first_name, user.last_name = "<img src=//evil.example>", "\u202eecila"
    user.save()
    conversation = Conversation.start(user)
    for number, attack in enumerate(attacks):
        kept = attack.replace("\x00", "")
        if number % 5 == 0:
            say(conversation, "user", kept, author=user)
        say(conversation, "assistant", kept, reasoning=kept, model=kept[:200], finish_reason="stop")
    for attack in attacks[:: len(attacks) // 40]:
        Conversation.start(user).rename(user, attack.replace("\x00", "")[:200])
    conversation.rename(user, "<svg/onload=alert(1)>\u202e")
    return conversation


async def test_no_attack_does_anything_where_it_is_kept(
    visit: Visit, admin_user: User, open_page: OpenPage, chat: Chat
) -> None:
    """In the page as the server renders it, with and without scripts; in titles, among what is found, and in the
    administration. Here, too, the fixture judges requests and violations."""
    chat(page_messages=1000)
    conversation = await said_by(admin_user, ATTACKS)
    plain = await open_page(java_script_enabled=False)
    plain.until_alive = plain.page.wait_for_load_state  # type: ignore[method-assign]
    hearing_alerts(visit)
    await visit.sign_in("admin")
    await plain.sign_in("admin")
    await visit.goto(f"/conversations/{conversation.pk}/")
    await expect(visit.reply.locator(".code-head, p").first).to_be_visible()
    articles = visit.page.locator("article .markdown")
    assert await articles.count() == len(ATTACKS)
    await expect(visit.page.locator(".maths[data-tex]:not(.drawn)")).to_have_count(0)
    assert await visit.page.evaluate(STANDING, ".markdown > *") == []
    history = f"/admin/conversations/conversation/{conversation.pk}/change/"
    for path in (
        f"/conversations/{conversation.pk}/",
        "/search/?q=evil",
        "/search/?q=" + "%3Cimg%20src%3D%2F%2Fevil.example%3E",
        history,
        "/admin/conversations/message/",
        "/admin/conversations/conversation/",
        "/admin/",
    ):
        await plain.goto(path)
        assert await plain.page.locator(HARM).evaluate_all("all => all.map((each) => each.outerHTML)") == []
        if path != f"/conversations/{conversation.pk}/":
            await visit.page.goto(visit.server.url + path)
    await visit.goto("/")
    await visit.page.keyboard.press("Control+k")
    await visit.page.keyboard.type("evil")
    options = visit.page.get_by_role("dialog").get_by_role("option")
    await expect(options.locator("mark").first).to_be_visible()


# Where the words of a paragraph stand: those behind a link, one after the other.
ORDER = """(paragraph) => {
  const text = [...paragraph.childNodes].findLast((node) => node.nodeType === 3);
  return [..."behind it".split(" ")].map((word) => {
    const range = document.createRange();
    range.setStart(text, text.data.indexOf(word));
    range.setEnd(text, text.data.indexOf(word) + word.length);
    return range.getBoundingClientRect().left;
  });
}"""


async def test_a_link_that_turns_the_direction_of_writing_round_leaves_the_words_behind_it(
    visit: Visit, alice: User
) -> None:
    conversation = await said_by(alice, ("[turned \u202e round](https://evil.example) and behind it",) * 40)
    await visit.goto(f"/conversations/{conversation.pk}/")
    behind, it = await visit.reply.locator(".markdown p").evaluate(ORDER)
    assert behind < it
    await expect(visit.reply.get_by_role("link")).to_have_attribute("title", "evil.example")
