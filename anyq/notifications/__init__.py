"""Notifications: who listens to which channel, and how each notification gets to all of them.

Knows LISTEN, UNLISTEN, subscriptions and what a full buffer does. Must not know cursors or how a connection is made.

Begin with `hub`.
"""
