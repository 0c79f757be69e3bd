"""What MkDocs needs to make a site of `docs/`: pages made of other files, links to them, docstrings as Markdown.

Knows MkDocs and griffe, which come with the extra `docs`. Must not know the driver, whose sources are only read. Begin
with `hooks`, which MkDocs calls.
"""
