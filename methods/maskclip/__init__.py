"""Patches named by text: each goes to the class whose text vector its feature is nearest to."""
