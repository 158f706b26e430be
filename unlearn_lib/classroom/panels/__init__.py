"""Live panels."""
