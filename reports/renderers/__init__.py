"""Renderers: each turns the one table model into text."""
