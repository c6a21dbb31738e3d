"""The settings of one command: its flags over the environment and the files of its directory."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from plurnk.cli.arguments import flags_of
from plurnk.config import Settings, load_settings


def load(options: argparse.Namespace) -> Settings:
    """Load them.

    Raises:
        BadConfiguration: as ``load_settings``.
    """
    return load_settings(os.environ, flags_of(options), cwd=Path.cwd(), config=options.config)


def settings_of(options: argparse.Namespace) -> Settings:
    """Load them, and say on standard error what is odd about them."""
    settings = load(options)
    for warning in settings.warnings:
        print(f"plurnk: warning: {warning}", file=sys.stderr)
    return settings
