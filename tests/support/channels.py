"""Sending and receiving by a channel, until it is done."""

from __future__ import annotations

from anyq.transport.socket import Channel


async def send_all(channel: Channel, data: bytes) -> None:
    """Send everything before reading anything, as a client with a long pipeline does."""
    rest = memoryview(data)
    while rest:
        rest = rest[channel.try_send(rest) :]
        if rest:
            await channel.wait(False, True)
    await channel.wait(False, True)


async def receive_all(channel: Channel, size: int) -> bytes:
    """Return so many bytes."""
    data = bytearray()
    while len(data) < size:
        chunk = channel.try_receive(65536)
        if chunk is None:
            await channel.wait(True, False)
        else:
            assert chunk, "end of file"
            data += chunk
    return bytes(data)


async def receive_one(channel: Channel) -> bytes:
    """Return what arrives first, b"" at end of file."""
    while True:
        chunk = channel.try_receive(65536)
        if chunk is not None:
            return chunk
        await channel.wait(True, False)
