"""The examples with curl in docs/protocol.md do what they say."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from chatproject.config import BASE_DIR
from conversations.models import Conversation
from streaming import process
from tests.conftest import LiveServer
from tests.scripts import Hold, Script
from tests.upstream import Upstream

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

PASSWORD = "a password of alice"


async def said_by(script: str, until: str) -> str:
    """What a script says up to a word. It is ended then: a curl that is not read any more notices that only later."""
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", script, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert shell.stdout is not None
    said = ""
    try:
        async with asyncio.timeout(60):
            while until not in said and (line := await shell.stdout.readline()):
                said += line.decode()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        await shell.wait()
    return said


async def go_on_when_somebody_looks(upstream: Upstream, who: User) -> None:
    while not (upstream.posts and process.start().hub.readers_of(who.pk)):
        await asyncio.sleep(0.02)
    upstream.posts[0].go_on()


async def test_curl_asks_follows_the_reply_and_goes_on(
    server: LiveServer, upstream: Upstream, alice: User, tmp_path: Path
) -> None:
    upstream.answer(Script(["Because ", Hold(), "of the air."]))
    alice.set_password(PASSWORD)
    await alice.asave()
    page = (BASE_DIR / "docs/protocol.md").read_text("utf-8")
    ask, go_on = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    ask = ask.replace("http://localhost:3000", server.url).replace("NAME", "alice").replace("PASSWORD", PASSWORD)
    ask = ask.replace("$(mktemp)", str(tmp_path / "cookies"))
    going_on = asyncio.create_task(go_on_when_somebody_looks(upstream, alice))
    said = await said_by(ask, '"reply_ended"')
    await going_on
    assert '"command_done"' in said
    texts = re.findall(r'"reply_(?:snapshot|delta)".*?"text":"(.*?)"', said)
    assert "".join(texts) == "Because of the air."
    # As if it had been cut off behind the first word.
    reply = re.findall(r'"reply_ended".*?"reply":"(\d+)"', said)[0]
    version = int(re.findall(r'"version":(\d+),"reply"', said)[0]) - 1
    conversation = await Conversation.objects.visible_to(alice).aget()
    go_on = go_on.replace("2,42.1200.0", f"{version},{reply}.8.0").replace('"$cookies"', f'"{tmp_path / "cookies"}"')
    told = await said_by(f"url={server.url}/conversations/{conversation.pk}/\n{go_on}", '"reply_ended"')
    assert re.findall(r'"reply_delta".*?"text":"(.*?)"', told) == ["of the air."]
