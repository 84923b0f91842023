"""Plans: what a grid asks for, what of it is done already, and what the rest will take."""
