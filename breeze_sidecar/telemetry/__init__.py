"""What the sidecar says of itself: logs with redaction, and metrics."""
