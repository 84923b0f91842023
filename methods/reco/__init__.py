"""Patches named by text and by images: each class has a prototype that images retrieved by its name agree on."""
