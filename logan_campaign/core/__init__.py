"""Shared foundation: errors, ids, documents, progress, processes, secrets."""
