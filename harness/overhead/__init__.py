# SPDX-License-Identifier: GPL-3.0-or-later
"""What isolating a GPU costs: from paired runs in blocks to a judged comparison."""
