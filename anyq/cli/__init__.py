"""The commands of `anyq`: each module is one of them, or the server that the demo starts.

Knows the public API, as any user does. Must not know anything behind that.

Begin with `anyq.__main__`, which calls them.
"""
