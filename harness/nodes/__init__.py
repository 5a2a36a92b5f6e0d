# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of nodes: asked for, existing, Ready and streaming from Typha, and how fast they come."""
