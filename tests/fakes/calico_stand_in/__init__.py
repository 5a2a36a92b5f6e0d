# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins for calico-felix and Calico's CNI plugin: what the form process of role calico rests on, and no policy.

python -m tests.fakes.calico_stand_in.install FOLDER      makes a folder as calico_bin_dir names one
"""
