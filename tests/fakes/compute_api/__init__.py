# SPDX-License-Identifier: GPL-3.0-or-later
"""A Compute API for tests: own process, own port, real HTTP, every message held against Google's own description."""
