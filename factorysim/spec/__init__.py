"""What a user writes: frozen pydantic models of every file. No I/O."""
