# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to services: an open loop of real ones, each with the moment it was due, and whether the load was honest."""
