"""A stand-in Breeze on real HTTP, for demos and tests. Imports nothing of the rest of the package."""
