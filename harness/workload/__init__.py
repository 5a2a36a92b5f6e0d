# SPDX-License-Identifier: GPL-3.0-or-later
"""Workload patterns: what the cluster does after each step, and the guide to patterns that is made of the records."""
