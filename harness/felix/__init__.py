# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts of Felix: how long each part of one takes, and what a probe of some period makes of it."""
