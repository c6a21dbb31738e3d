"""Commands in a sandbox, and trees of processes that end when they are told to.

Stands alone: the standard library and trio. See README.md; ``python -m sandbox -- CMD`` is the front.
"""
