"""The way of one call: handler reads, admission admits, exchange sends and judges."""
