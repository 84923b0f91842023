"""The gallery: which images are shown, of which fits, by a rule that is stated; and the panels that show them."""
