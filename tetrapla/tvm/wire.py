"""What two processes of one program say to each other: pickles behind their lengths.

Both ends are this package's own code, started by it; nothing else writes into the pipes.
"""

from __future__ import annotations

import pickle
from typing import IO, Any

_HEAD = 8  # bytes of a length


def send(stream: IO[bytes], message: object) -> None:
    """Write one message."""
    data = pickle.dumps(message, protocol=5)
    stream.write(len(data).to_bytes(_HEAD, "big"))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next message.

    Raises:
        EOFError: the other end is gone.
    """
    head = stream.read(_HEAD)
    if len(head) < _HEAD:
        raise EOFError
    size = int.from_bytes(head, "big")
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)
