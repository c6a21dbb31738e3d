"""Live streams: each a subscription row, a task and a cancel scope, which come and go together (SPEC 4.1)."""
