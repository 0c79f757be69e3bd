"""What a connection can do about the notices that its server sends.

Knows functions that are called with them. Must not know who reads them, or when.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..errors import Diagnostic
from ..errors.arguments import check_functions

logger = logging.getLogger("anyq")

NoticeHandler = Callable[[Diagnostic], None]


class HearsNotices:
    """The part of a connection that has to do with notices."""

    notice_handlers: tuple[NoticeHandler, ...]
    """For this package: what is called with them."""

    def add_notice_handler(self, callback: NoticeHandler) -> None:
        """Have `callback` called with the :class:`Diagnostic` of each notice that the server sends.

        It is called by the task that reads at that moment, so it should be quick; what it raises is logged.
        """
        check_functions(callback=callback)
        self.notice_handlers = (*self.notice_handlers, callback)

    def remove_notice_handler(self, callback: NoticeHandler) -> None:
        """Remove a callback that was added.

        :raises ValueError: it was not.
        """
        handlers = list(self.notice_handlers)
        handlers.remove(callback)
        self.notice_handlers = tuple(handlers)

    def tell_notice(self, diagnostic: Diagnostic) -> None:
        """For this package: call them."""
        for handler in self.notice_handlers:
            try:
                handler(diagnostic)
            except Exception:
                logger.exception("a notice handler failed: %r", handler)
