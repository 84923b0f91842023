"""Published numbers beside measured ones: what differs between their protocols is said number by number."""
