# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh: connections between every pair of pods, each with the proof of its path."""
