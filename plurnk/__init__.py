"""plurnk: a local daemon through which language models work for people."""

__version__ = "0.1.0"
