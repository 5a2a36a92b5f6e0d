# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the nightly stage by stage, judges what they observed and reports it."""

from __future__ import annotations
