"""What every other room may use: errors, ids, documents, progress, processes, secrets."""
