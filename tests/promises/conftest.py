"""Fixtures of this folder's tests."""

from __future__ import annotations

from tests.support.tlsproxies import connect, home, proxy

__all__ = ["connect", "home", "proxy"]
