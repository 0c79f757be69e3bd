"""Programs of users, for the type checker to read; they are never run."""
