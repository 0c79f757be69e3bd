"""Fixtures of this folder's tests."""

from __future__ import annotations

from tests.support.tlsproxies import home, proxy

__all__ = ["home", "proxy"]
