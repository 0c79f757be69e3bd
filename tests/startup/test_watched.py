"""Those who watch are told of connecting, and with whom the connection is."""

from __future__ import annotations

import pytest

from anyq import AsyncConnection, errors
from tests.support.activity import PATIENCE
from tests.support.tracers import Recorder

pytestmark = pytest.mark.anyio


async def test_connecting_is_told(dsn: str) -> None:
    recorder = Recorder()
    async with AsyncConnection.connect(dsn, tracer=recorder) as connection:
        assert [told.hook for told in recorder.told] == ["connect_start", "connect_end"]
        connect = recorder.only("connect_end").what
        assert connect.server.pid == connection.info.backend_pid and connect.pool is None
        assert 0 < connect.seconds < PATIENCE
    recorder.clear()
    with pytest.raises(errors.OperationalError) as failed:
        await AsyncConnection.connect("host=/nowhere password=hunter2", tracer=recorder)
    assert recorder.only("connect_error").error is failed.value
    assert recorder.only("connect_error").what.server is None
    with pytest.raises(TypeError, match="tracer"):
        await AsyncConnection.connect(dsn, tracer=object())  # type: ignore[arg-type]
