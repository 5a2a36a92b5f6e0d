# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies: how long after the API server's answer pods obey one, seen on the wire."""
