# SPDX-License-Identifier: GPL-3.0-or-later
"""Churn: gangs of pods that come and go, what reaches whom meanwhile, and what it costs others."""
