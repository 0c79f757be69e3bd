"""anyq in the place that other packages have for a driver: a folder, or a module, for each of them.

Knows the public API, and the packages that it is for, each of which is an optional extra. Must not be imported by the
rest of the package: nothing of it is loaded unless a program asks for it. Begin with `sqlalchemy`.
"""
