"""What is served over HTTP: read only."""
