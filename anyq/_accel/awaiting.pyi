from collections.abc import Coroutine
from typing import Any

DONE: Coroutine[Any, Any, None]
