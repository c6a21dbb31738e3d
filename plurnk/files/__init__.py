"""Project files: paths that stay beneath the root, reading, finding, and writes that are whole or not at all (SPEC 5).

Sync, for threads, but for what asks git. Knows nothing of entries, proposals or the store.
"""
