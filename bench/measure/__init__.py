"""What stages cost, and on what machine, with what packages and numerics they ran."""
