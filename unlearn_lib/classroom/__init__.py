"""What only notebooks use: sessions, charts, exercises, panels."""
