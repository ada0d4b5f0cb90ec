"""Server-Sent Events out of bytes that were cut anywhere. Pure.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

BOM = b"\xef\xbb\xbf"
#: Some gateways wait for the whole reply and send it as one event: two megabytes of it, with
#: all that is not ASCII as \\u and four digits, must pass.
LARGEST_EVENT = 8 * 1024 * 1024


class EventTooLarge(ValueError):
    """One event was larger than anybody needs; `limit` in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"an event of more than {limit} bytes")
        self.limit = limit


class EventStream:
    """Feed it what came from the network, get the data of the events it completes.

    Only `data` matters to a stream of chat completions; names, ids, retry times and
    comments are read past. An event that the end of the stream cuts off is dropped, as
    the specification wants.
    """

    def __init__(self, max_event_bytes: int = LARGEST_EVENT) -> None:
        self._max = max_event_bytes
        self._partial: list[bytes] = []  # the line that has no end yet, in fragments
        self._data: list[bytes] = []  # the data lines of the event that has no end yet
        self._size = 0  # of both together
        self._kept = 0  # of the data lines alone
        self._first = True
        self._after_cr = False

    def receive_data(self, data: bytes) -> list[bytes]:
        """Return the data of each event completed by these bytes.

        Raises EventTooLarge once what is kept of one event passes the limit.
        """
        if self._after_cr and data[:1] == b"\n":
            # The second half of a CRLF whose first half ended the last bytes.
            data = data[1:]
            self._after_cr = False
        if not data:
            return []
        self._after_cr = data[-1:] == b"\r"
        events = []
        # On bytes, splitlines knows exactly the three line ends of the specification.
        for line in data.splitlines(keepends=True):
            self._grow(len(line))
            if line[-1:] not in b"\r\n":
                self._partial.append(line)
            elif (event := self._receive_line(line.rstrip(b"\r\n"))) is not None:
                events.append(event)
        return events

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._max:
            raise EventTooLarge(self._max)

    def _receive_line(self, line: bytes) -> bytes | None:
        if self._partial:
            line = b"".join([*self._partial, line])
            self._partial.clear()
        if self._first:
            line = line.removeprefix(BOM)
            self._first = False
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value[1:] if value[:1] == b" " else value)
            self._kept = self._size
        else:
            # Comments keep a connection alive for hours: they must not add up.
            self._size = self._kept
        return None

    def _dispatch(self) -> bytes | None:
        event = b"\n".join(self._data) if self._data else None
        self._data.clear()
        self._size = self._kept = 0
        return event
