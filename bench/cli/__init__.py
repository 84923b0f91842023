"""The command line. ``commands.py`` names the module of each command, which is imported when the command is called."""
