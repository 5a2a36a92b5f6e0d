# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures one GPU from inside one process, with Python 3.9 and nothing else; packed into one file by its module."""

from __future__ import annotations

VERSION = 1
