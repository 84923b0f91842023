"""One order at work: what is asked for, the process that carries it out, and what it leaves for watchers.

``order``, ``process`` and ``progress`` need nothing of ``bench``: a run uses them too. ``failure`` makes a record of
what went wrong. ``worker`` is what the process does: it claims a run and calls ``bench.run``.
"""
