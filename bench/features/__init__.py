"""From images to patch features: frozen backbones, the feature cache, training sources and features of views."""
