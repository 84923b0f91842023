"""Which code a record depends on, and the code of methods of the user's own."""
