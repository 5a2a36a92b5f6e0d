# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure logic behind the bench_ modules: the standard library and the kubernetes package, nothing of Ansible."""
