# SPDX-License-Identifier: GPL-3.0-or-later
"""A small stand-in for the KAI scheduler: five processes that speak PodGroup, BindRequest and Queue with an API server.

It is test code. It shows that what measures KAI measures rightly: its client limits are those it is told, and every
fault of faults.py can be planted. Its figures say nothing about KAI.

    python -m tests.fakes.kai_stand_in.install FOLDER      makes a folder as kai_scheduler_bin_dir names one

What it knows: queues with quota, limit and weight in a tree; gangs (minMember); required and preferred levels of a
topology; allocation, consolidation and reclaim. What it does not: preemption inside a queue, eviction of stale gangs,
shared GPUs, subgroups, partitions by node pool, webhooks.
"""
