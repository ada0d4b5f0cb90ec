"""The built-in demo model: a small OpenAI-compatible server inside the product.

With no key configured it answers, over real HTTP on the loopback, so that a fresh
installation shows how everything works and takes the same way as with any provider.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from .prompt import estimated_tokens

MODEL = "parley-demo"
#: About the speed at which hosted models speak.
SECONDS_PER_DELTA = 0.02

ENGLISH = """\
Hello! I am Parley's **built-in demo model**. I am not a language model and know \
nothing; I am here so that you can try the chat before you have a key. You asked:

{question}

### Connect a real model

Put a key into `config.yaml` and start again:

```yaml
appKey: sk-…
```

or point it at a server of your own, which needs no key:

```yaml
baseUrl: http://localhost:11434/v1   # Ollama, llama.cpp, vLLM, LM Studio
```

An administrator can also add providers and keys on the pages under *Administration*
in the menu at the lower left.

### What to try

| Do this | and see |
| --- | --- |
| Reload the page while I speak | not a word is lost |
| Open this address in a second tab | both tabs follow |
| Press **Stop** or Esc | what I said so far is kept |
| Edit your question | a new branch; the arrows lead back |

I can also show you a formula, $e^{{i\\pi}} + 1 = 0$, and some code:

```python
async for delta in reply:
    print(delta, end="")
```

- [x] Streams while you read
- [ ] Knows the answer: that is up to you. 祝你使用愉快！
"""

CHINESE = """\
你好！我是 Parley 的**内置演示模型**。我并不是语言模型，什么都不懂；在你还没有密钥之前，\
可以先用我来试试聊天。你问的是：

{question}

### 连接真正的模型

把密钥写进 `config.yaml`，然后重新启动：

```yaml
appKey: sk-…
```

或者使用你自己的服务器，不需要密钥：

```yaml
baseUrl: http://localhost:11434/v1   # Ollama、llama.cpp、vLLM、LM Studio
```

管理员也可以从左下角的菜单进入“管理后台”，在那里添加模型服务和密钥。

### 可以试试

| 这样做 | 你会看到 |
| --- | --- |
| 在我说话时刷新页面 | 一个字也不会丢 |
| 用第二个标签页打开这个地址 | 两边同步显示 |
| 点击**停止**或按 Esc | 已经说的内容会保留 |
| 编辑你的问题 | 产生新的分支，可用箭头切换 |

我还能显示公式 $e^{{i\\pi}} + 1 = 0$ 和代码：

```python
async for delta in reply:
    print(delta, end="")
```

- [x] 边生成边显示
- [ ] 知道答案：这要靠你来连接模型了。Enjoy!
"""

CJK = re.compile("[\u3400-\u9fff]")
#: A word with the blank before it, or one Chinese character, or a run of blanks.
TOKEN = re.compile("[\u3000-\u9fff\uff00-\uffef]|\\s?[^\\s\u3000-\u9fff\uff00-\uffef]+|\\s")
LONGEST_ECHO = 500


def answer_to(question: str) -> str:
    """Return what the demo says to a question, in the language of the question."""
    template = CHINESE if CJK.search(question) else ENGLISH
    echo = question.strip()[:LONGEST_ECHO]
    if len(question.strip()) > LONGEST_ECHO:
        echo += "…"
    quoted = "\n".join(f"> {line}" for line in echo.splitlines() or ["…"])
    return template.format(question=quoted)


def deltas(text: str) -> Iterator[str]:
    """Cut a text the way a model would say it."""
    return (match.group() for match in TOKEN.finditer(text))


class Server:
    """The demo's endpoint, on a port of the loopback that the system chooses."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self._url = ""
        self._starting = asyncio.Lock()

    async def base_url(self) -> str:
        """Return its address, and start it if it does not run yet."""
        async with self._starting:
            if self._runner is None:
                await self._start()
        return self._url

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", complete)
        app.router.add_get("/v1/models", list_models)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._runner = runner
        host, port = runner.addresses[0][:2]
        self._url = f"http://{host}:{port}/v1"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


async def list_models(request: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})


async def complete(request: web.Request) -> web.StreamResponse:
    """Stream a chat completion as https://platform.openai.com/docs/api-reference/chat
    describes it."""
    try:
        body = await request.json()
        messages = body["messages"]
        question = next(m["content"] for m in reversed(messages) if m["role"] == "user")
    except (ValueError, KeyError, TypeError, StopIteration):
        error = {"message": "a chat completion needs messages", "code": "bad_request"}
        return web.json_response({"error": error}, status=400)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    answer = answer_to(str(question))
    for delta in deltas(answer):
        await _send(response, {"choices": [_choice({"content": delta})]})
        await asyncio.sleep(SECONDS_PER_DELTA)
    await _send(response, {"choices": [_choice({}, "stop")]})
    asked = sum(estimated_tokens(str(m.get("content", ""))) for m in messages)
    said = estimated_tokens(answer)
    usage = {"prompt_tokens": asked, "completion_tokens": said}
    await _send(response, {"choices": [], "usage": usage})
    await response.write(b"data: [DONE]\n\n")
    return response


def _choice(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


async def _send(response: web.StreamResponse, fields: dict[str, Any]) -> None:
    chunk = {
        "id": "demo",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": MODEL,
        **fields,
    }
    data = json.dumps(chunk, ensure_ascii=False)
    await response.write(f"data: {data}\n\n".encode())
