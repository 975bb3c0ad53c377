"""How much a key may do within a minute, counted by one replica alone or by all of them together."""
