"""Which event loop is running."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import anyio
import pytest

from anyq.backends import current_backend
from tests.support.loops import ALL_LOOPS

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=ALL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_current_backend_is_the_running_one(anyio_backend_name: str) -> None:
    backend = current_backend()
    assert backend.name == anyio_backend_name
    assert backend.is_here()
    backend.check_here()
    assert backend.cancelled_exc_class is anyio.get_cancelled_exc_class()


def test_current_backend_needs_an_event_loop() -> None:
    with pytest.raises(RuntimeError, match=r"no event loop .*asyncio\.run"):
        current_backend()


def test_asyncio_does_not_import_trio() -> None:
    code = """if True:
        import asyncio, sys
        import anyq.transport.dialing
        async def main():
            assert anyq.backends.current_backend().name == "asyncio"
        asyncio.run(main())
        assert "trio" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)
