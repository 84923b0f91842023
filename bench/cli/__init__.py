"""The command line. Importing it imports no torch, and each command imports what it needs when it is called."""
