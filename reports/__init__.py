"""One table model and its renderers."""
