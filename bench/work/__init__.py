"""One order at work: what is asked for, the process that carries it out, and what it leaves for watchers."""
