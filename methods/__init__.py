"""The methods behind one interface, and the parts that they share."""
