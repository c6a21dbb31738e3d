"""Child processes that do what may take too long: matchers and previews, over text that others wrote.

A thread cannot be stopped; a process can be killed, whatever it is doing, and takes the interpreter lock
of nobody. ``tasks`` is what may be asked, ``pool`` asks, ``process`` is the child.
"""
