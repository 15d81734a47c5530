"""The token's life: one value, one source, one kind of request, one cache."""
